"""``arbsim shrink``: from a scenario and a design that breaks to a few lines that show it, and what is free in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import wrap
from typing import Any

from arbsim import __version__
from arbsim.audit import audit
from arbsim.audit.explain import first_finding
from arbsim.explore.search import explore_design
from arbsim.explore.slices import slice_of
from arbsim.model import FindingKind, Verdict, Workload
from arbsim.results import DesignResult
from arbsim.runner import card_of, designs_failing, settings_of
from arbsim.scenario import Scenario
from arbsim.scenario.load import parse_scenario
from arbsim.scenario.models import without_nothing
from arbsim.scenario.parameter_paths import as_texts
from arbsim.scenario.source import Source
from arbsim.scenario.writing import as_yaml
from arbsim.shrinking.bench import MOST_RUNS, Bench, Case
from arbsim.shrinking.document import Fact, Shrunk, Size
from arbsim.shrinking.probing import facts_of
from arbsim.shrinking.reduce import leaps_of, settings_in, shrink
from arbsim.workload import build_workload
from arbsim.worlds.api import Design
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_design


class NothingToShrink(Exception):
    """The design was not seen to break."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be shrunk. ``own``: the design is a class of the user's own, which no scenario can list."""

    scenario: Scenario
    seed: int
    name: str
    design: Design
    own: bool
    operations: int
    """How many operations are tried in every order, where the run itself shows nothing."""


def shrink_run(
    asked: Asked, replay: Callable[[bool], str], on_run: Callable[[str, int], None] = lambda what, runs: None
) -> Shrunk:
    """Shrink a violating run, and find out what does not matter to it.

    ``replay`` gives the command that shows the small scenario; it is told whether that takes every order. Raises
    NothingToShrink where neither the run nor, in some order, a few of its operations violate.
    """
    card = card_of(asked.name, asked.design)
    settings = settings_of(asked.scenario, asked.seed)
    whole = build_workload(asked.scenario, asked.seed)
    with designs_failing(asked.name):
        history = run_design(asked.design, card, whole, settings)
    result = audit(history)
    bench = Bench(asked.name, FindingKind.OVERDRAFT, own=asked.design if asked.own else None)
    bench.on_run = lambda runs: on_run("shrinking", runs)
    workload, leaps = whole, leaps_of(Case(_setup(asked), whole), history, result)
    if result.verdict is not Verdict.VIOLATED:
        workload, result = _broken_in_some_order(asked, whole, settings)
        bench.any_order, leaps = True, iter(())
    found = first_finding(result)
    assert found is not None
    bench.kind = found[0]
    case = Case(_setup(asked), workload)
    small = shrink(case, bench, leaps)
    if bench.any_order:
        # With the times that are left its own run may show it, too; that says more.
        timed = replace(bench, any_order=False, _known={})
        if timed.shows(small):
            bench, small = timed, shrink(small, timed, iter(()))
    bench.on_run = lambda runs: on_run("asking what matters", runs)
    facts = tuple(facts_of(small, bench))
    text = _text(asked, small, bench, facts, replay(bench.any_order))
    _verify(text, small, bench)
    return Shrunk(
        arbsim=__version__,
        design=asked.name,
        kind=bench.kind,
        world="exhaustive" if bench.any_order else "virtual",
        before=_size(Case(case.setup, whole)),
        after=_size(small),
        runs=bench.runs,
        facts=facts,
        scenario=text,
        replay=replay(bench.any_order),
    )


def _broken_in_some_order(asked: Asked, whole: Workload, settings: Settings) -> tuple[Workload, DesignResult]:
    """The first few operations that some order breaks, and what the audit says of that order."""
    part = slice_of(whole, asked.operations)
    card = card_of(asked.name, asked.design)
    with designs_failing(asked.name):
        explored = explore_design(
            asked.design, card, part.workload, settings, most_cuts=0,
            stop=lambda progress: "enough" if progress.runs + progress.redundant >= MOST_RUNS else None,
        )  # fmt: skip
    if explored.shortest is None:
        orders = "any order" if explored.stopped is None else f"any of {explored.classes:,} orders"
        raise NothingToShrink(
            f"{asked.name} is not violated in this run, nor in {orders} of {len(part.workload)} of its operations:"
            " there is nothing to shrink"
        )
    return part.workload, explored.shortest.result


def _setup(asked: Asked) -> dict[str, Any]:
    """Everything but accounts and workload, without what is a default or decides no verdict."""
    scenario = asked.scenario
    data = scenario.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for key in ("accounts", "workload", "expect", "sweep", "silence", "question"):
        data.pop(key, None)
    entries = [entry.written for entry in scenario.designs if entry.name == asked.name]
    setup = {
        **data,
        "seed": asked.seed,
        # A scenario must list a design, and cannot list a class.
        "designs": ["db/atomic-update"] if asked.own else entries,
    }
    # A region may have nothing to say of itself.
    return {
        key: as_texts(value if key == "regions" else without_nothing(value)) for key, value in setup.items()
    }


def _size(case: Case) -> Size:
    return Size(
        regions=len(case.setup["regions"]),
        accounts=len(case.workload.accounts),
        operations=len(case.workload),
        settings=len(settings_in(case.setup)),
    )


# -- writing -------------------------------------------------------------------------------------------------


def _text(asked: Asked, case: Case, bench: Bench, facts: tuple[Fact, ...], replay: str) -> str:
    """The scenario, with what is known of it above."""
    lines = [
        f"Shrunk from: {asked.scenario.name}. It shows: {bench.kind.value}"
        + (" in some order of its steps." if bench.any_order else "."),
        f"Replay: {replay}",
        *(f"- {fact.text}" for fact in facts),
    ]
    head = "\n".join(line for text in lines for line in _comment(text))
    data = case.data
    if not asked.own:
        data["expect"] = {asked.name: {"verdict": "violated", **_count(case, bench)}}
    return f"{head}\n{as_yaml(data)}"


def _count(case: Case, bench: Bench) -> dict[str, str]:
    if bench.any_order:
        return {}
    return {bench.kind.value: str(bench.judge(case).findings[bench.kind].count)}


def _comment(text: str) -> Iterator[str]:
    yield from wrap(text, 110, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)


def _verify(text: str, case: Case, bench: Bench) -> None:
    """Read what is to be written as anybody would, and run it: it must show the same."""
    from arbsim.worlds.virtual.sql import check_statement

    scenario = parse_scenario(Source("the shrunk scenario", text), folder=Path(), check_sql=check_statement)
    workload = build_workload(scenario, scenario.seed)
    assert workload == case.workload, "the scenario that was written has other operations"
    fresh = Bench(bench.name, bench.kind, bench.any_order, bench.own)
    assert fresh.shows(Case(case.setup, workload)), "the scenario that was written does not show it"
