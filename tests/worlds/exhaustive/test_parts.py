"""A search in parts finds what it finds as a whole, in whatever order the parts are explored."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from arbsim.worlds.exhaustive.parts import Left, Part, Tree
from arbsim.worlds.exhaustive.search import Search
from arbsim.worlds.exhaustive.steps import Footprints, Names
from tests.worlds.exhaustive.test_search import Programs, reduced_runs, sorted_class
from tests.worlds.exhaustive.toys import Instruction, Outcome, Toy


def classes_in_parts(programs: Programs, reduced: bool, runs: int, rng: random.Random) -> list[object]:
    """Explore part after part for a few runs each; what is handed out together comes back in any order."""
    names, footprints = Names(), Footprints()
    while True:
        footprints.begin()
        found = _in_parts(programs, reduced, runs, rng, names, footprints)
        if not footprints.void:
            return found


def _in_parts(
    programs: Programs,
    reduced: bool,
    runs: int,
    rng: random.Random,
    names: Names,
    footprints: Footprints,
) -> list[object]:
    found: list[object] = []

    def explore(part: Part | None) -> Search[Outcome]:
        path, sleeping = (part.path, part.sleeping) if part else ((), {})
        search = Search(
            lambda: Toy(programs, list(range(len(programs))), names),
            reduced,
            1_000,
            path,
            sleeping,
            footprints=footprints,
        )
        for run in search.runs():
            if run is not None:
                found.append(tuple(sorted_class(run.steps)) if reduced else tuple(s.name for s in run.steps))
            if search.progress.runs + search.progress.redundant == runs:
                break
        return search

    tree = Tree(reduced, explore(None).left())
    under_way: list[Part] = []
    while True:
        while len(under_way) < 3 and (part := tree.next_part()) is not None:
            under_way.append(part)
        if not under_way:
            assert tree.share_done > 0.999
            return found
        part = under_way.pop(rng.randrange(len(under_way)))
        search = explore(part)
        tree.add(part, Left(search.first_step, search.left(), search.reversals))
        assert 0 < tree.share_done < 1.001


_instructions: st.SearchStrategy[Instruction] = st.one_of(
    st.tuples(st.sampled_from("wrilc"), st.integers(0, 3)),
    st.tuples(st.sampled_from("bqow"), st.integers(0, 1)),
)
_programs = st.lists(st.lists(_instructions, min_size=1, max_size=3), min_size=2, max_size=3)


@settings(max_examples=150, deadline=None)
@given(_programs, st.integers(1, 5), st.randoms(use_true_random=False))
def test_every_class_is_run_once_whoever_runs_which_part(
    programs: Programs, runs: int, rng: random.Random
) -> None:
    expected = sorted(repr(sorted_class(run.steps)) for run in reduced_runs(programs))
    parts = [repr(list(one)) for one in classes_in_parts(programs, True, runs, rng)]  # type: ignore[call-overload]
    assert sorted(parts) == expected


@settings(max_examples=30, deadline=None)
@given(_programs, st.integers(1, 50), st.randoms(use_true_random=False))
def test_every_order_is_run_once_in_a_plain_search_too(
    programs: Programs, runs: int, rng: random.Random
) -> None:
    whole = Search(lambda: Toy(programs, list(range(len(programs))), Names()), reduced=False)
    orders = {tuple(step.name for step in run.steps) for run in whole.runs() if run is not None}
    parts = classes_in_parts(programs, False, runs, rng)
    assert len(parts) == len(orders)
    assert set(parts) == orders
