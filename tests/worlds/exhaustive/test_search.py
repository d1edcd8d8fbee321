"""The search by itself, on toys: everything is reached, nothing twice, and the counts are right."""

from __future__ import annotations

from collections import Counter
from math import factorial, prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbsim.worlds.exhaustive.orders import count_orders
from arbsim.worlds.exhaustive.search import Finished, Search
from arbsim.worlds.exhaustive.steps import Names, Step
from tests.worlds.exhaustive.toys import Instruction, Outcome, Toy, complete, predecessors

Programs = list[list[Instruction]]


def search(programs: Programs, reduced: bool, begins: list[int] | None = None) -> Search[Outcome]:
    names = Names()
    first = list(range(len(programs))) if begins is None else begins
    return Search(lambda: Toy(programs, first, names), reduced=reduced)


def reduced_runs(programs: Programs, begins: list[int] | None = None) -> list[Finished[Outcome]]:
    """The runs of the reduced search."""
    names = Names()
    first = list(range(len(programs))) if begins is None else begins
    return complete(lambda footprints: Search(lambda: Toy(programs, first, names), footprints=footprints))


def outcomes_and_orders(programs: Programs, begins: list[int] | None = None) -> tuple[Counter[Outcome], int]:
    """What the reduced search finds: for each outcome how many orders lead to it; and how many classes there are."""
    orders: Counter[Outcome] = Counter()
    classes = 0
    for run in reduced_runs(programs, begins):
        assert run.result is not None
        assert run.before == predecessors(run.steps)
        count = count_orders(run.before)
        assert count is not None
        orders[run.result] += count
        classes += 1
    return orders, classes


@pytest.mark.parametrize("lengths", [(1,), (3,), (2, 2), (1, 2, 3), (2, 2, 2), (1, 1, 1, 1), (2, 2, 2, 2)])
def test_independent_processes_have_as_many_orders_as_the_multinomial_coefficient(
    lengths: tuple[int, ...],
) -> None:
    programs: Programs = [[("l", 0)] * length for length in lengths]
    expected = factorial(sum(lengths)) // prod(map(factorial, lengths))
    assert sum(1 for _ in search(programs, False).runs()) == expected
    assert outcomes_and_orders(programs) == (Counter({((0,) * 4, *((),) * len(lengths)): expected}), 1)


def test_two_increments_by_reading_and_writing_lose_one_in_four_of_six_orders() -> None:
    programs: Programs = [[("r", 0), ("w", 0)], [("r", 0), ("w", 0)]]
    orders, classes = outcomes_and_orders(programs)
    assert sum(orders.values()) == 6
    assert classes == 4
    blind = [outcome for outcome in orders if outcome[1] == outcome[2] == (0,)]
    assert sum(orders[outcome] for outcome in blind) == 4


def test_two_writers_and_a_reader_of_both_have_four_outcomes() -> None:
    """With rows alone as objects; the snapshot's own object is tested where there are snapshots."""
    programs: Programs = [[("w", 0)], [("w", 1)], [("r", 0), ("r", 1)]]
    orders, _ = outcomes_and_orders(programs)
    assert {outcome[3] for outcome in orders} == {(0, 0), (1, 0), (0, 11), (1, 11)}


def test_a_process_that_starts_another_comes_before_it() -> None:
    programs: Programs = [[("w", 0), ("s", 1)], [("r", 0)], [("w", 0)]]
    orders, _ = outcomes_and_orders(programs, begins=[0, 2])
    assert {outcome[2] for outcome in orders} == {(1,), (21,)}


def test_a_run_that_does_not_end_is_cut() -> None:
    runs = list(Search(lambda: Toy([[("l", 0)] * 10], [0], Names()), most_steps=5).runs())
    assert [run is not None and run.result for run in runs] == [None]


def test_the_share_of_the_plain_tree_that_is_done_grows_to_one() -> None:
    found = search([[("w", 0)] * 2, [("w", 0)] * 2, [("r", 0)]], False)
    shares = [found.progress.share_done for _ in found.runs()]
    assert shares == sorted(shares)
    assert found.progress.share_done == 1.0


def test_two_that_begin_meet_only_where_somebody_goes_by_which_was_first() -> None:
    begins_and_queues: list[Instruction] = [("b", 0), ("q", 0)]
    orders, classes = outcomes_and_orders([begins_and_queues, begins_and_queues])
    assert (sum(orders.values()), classes) == (6, 4)
    orders, classes = outcomes_and_orders([begins_and_queues, [("b", 0), ("w", 1)]])
    assert (sum(orders.values()), classes) == (6, 1)
    orders, classes = outcomes_and_orders([*[begins_and_queues] * 2, [("b", 0), ("w", 1)]])
    assert (sum(orders.values()), classes) == (90, 4)


def test_who_was_first_is_decided_only_where_nothing_else_orders_the_two() -> None:
    """The second begins after it has read what the first wrote after its beginning, or does not know of it."""
    programs: Programs = [[("b", 0), ("w", 1), ("q", 0)], [("r", 1), ("b", 0), ("q", 0)]]
    compare_with_plain(programs, [0, 1])


def test_what_three_in_a_queue_were_found_to_be_stays_so_in_the_next_one() -> None:
    one: list[Instruction] = [("b", 0), ("q", 0), ("q", 1)]
    compare_with_plain([one, one, [("b", 0), ("q", 1)]], [0, 1, 2])


def test_who_has_nothing_to_ask_any_more_could_have_asked_before() -> None:
    """The third stands behind the second, unless the first has let that out; only there it asks."""
    programs: Programs = [[("s", 3), ("o", 1)], [("q", 1), ("q", 0)], [("q", 1)], [("q", 0)]]
    compare_with_plain(programs, [0, 1, 2])


def test_who_would_touch_more_if_it_came_first_is_tried_after_everybody_else_as_well() -> None:
    """Who claims second writes one variable less, so the race for that shows in no run in which it is second."""
    compare_with_plain(
        [[("w", 3), ("l", 0)], [("c", 0)], [("r", 3), ("w", 0)], [("r", 1), ("r", 3)]], [0, 1, 2, 3]
    )


def compare_with_plain(programs: Programs, begins: list[int]) -> None:
    """Every outcome by the same number of orders, and every class once."""
    plain = [run for run in search(programs, False, begins).runs() if run is not None]
    reduced, classes = outcomes_and_orders(programs, begins)
    assert Counter(run.result for run in plain) == reduced
    seen = {tuple(sorted_class(run.steps)) for run in reduced_runs(programs, begins)}
    assert len(seen) == classes
    assert seen == {tuple(sorted_class(run.steps)) for run in plain}


_instructions = st.one_of(
    st.tuples(st.sampled_from("wrilc"), st.integers(0, 3)),
    st.tuples(st.sampled_from("bqow"), st.integers(0, 1)),
)
_programs = st.lists(st.lists(_instructions, min_size=1, max_size=3), min_size=2, max_size=3)


@settings(max_examples=300, deadline=None)
@given(_programs, st.data())
def test_reduced_and_plain_reach_the_same_outcomes_by_the_same_number_of_orders(
    programs: Programs, data: st.DataObject
) -> None:
    begins = list(range(len(programs)))
    if data.draw(st.booleans(), label="the last is started by the first"):
        last = begins.pop()
        at = data.draw(st.integers(0, len(programs[0])))
        programs[0].insert(at, ("s", last))
    compare_with_plain(programs, begins)


def sorted_class(steps: tuple[Step, ...]) -> list[tuple[int, tuple[int, ...]]]:
    """What all orders of a class have in common: each step with those before it, by name."""
    return sorted(
        (step.name, tuple(sorted(steps[place].name for place in range(len(steps)) if mask >> place & 1)))
        for step, mask in zip(steps, predecessors(steps), strict=True)
    )
