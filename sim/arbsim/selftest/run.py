"""Run every planted bug past the audit, and every safe design beside its mutants."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from arbsim.audit import audit
from arbsim.designs import catalogue
from arbsim.history import History
from arbsim.model import VIOLATIONS, Fate, FindingKind, Workload
from arbsim.runner import card_of, settings_of
from arbsim.scenario.load import parse_scenario
from arbsim.scenario.source import Source
from arbsim.selftest.histories import GOOD, planted
from arbsim.selftest.mutants import mutants
from arbsim.workload import build_workload
from arbsim.worlds.api import Design
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_design

SCENARIO = """\
name: self-test
regions:
  east: {location: us-east-1}
  west: {location: us-west-2}
  central: {location: us-east-2, clients: false}
accounts: {1: 100.00, 2: 100.00}
workload:
  operations:
    - {at: 0 ms, region: east, withdraw: 70.00, account: 1}
    - {at: 5 ms, region: west, withdraw: 60.00, account: 1}
    - {at: 10 ms, region: east, deposit: 20.00, account: 2}
    - {at: 15 ms, region: west, deposit: 30.00, account: 2}
    - {at: 2 s, region: east, transfer: 40.00, account: 2, to_account: 1}
    - {at: 2.005 s, region: west, withdraw: 90.00, account: 2}
    - {at: 5 s, region: west, read: true, account: 1}
    - {at: 5 s, region: east, read: true, account: 2}
designs: [db/atomic-update]
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was tried. ``expected`` is None where nothing may be found."""

    name: str
    planted: str
    expected: FindingKind | None
    found: tuple[FindingKind, ...]
    passed: bool


def run_selftest(on_case: Callable[[Case], None] = lambda case: None) -> list[Case]:
    """Try every case; ``on_case`` is told of each as it is done."""
    cases = []
    for case in _cases():
        on_case(case)
        cases.append(case)
    return cases


def _cases() -> Iterable[Case]:
    yield _clean("history/good", "nothing", GOOD.history())
    for bug in planted():
        found = _found(bug.story().history())
        passed = set(found) == {bug.kind, *bug.also}
        yield Case(f"history/{bug.kind.value}", bug.sentence, bug.kind, found, passed)
    settings, workload = _world()
    for name, design in catalogue().items():
        if set(VIOLATIONS) <= set(design.claims):
            yield _clean(name, "nothing", _run(name, design(), workload, settings))
    for mutant in mutants():
        found = _found(_run(mutant.design.name, mutant.design, workload, settings))
        yield Case(mutant.design.name, mutant.sentence, mutant.kind, found, mutant.kind in found)


def _world() -> tuple[Settings, Workload]:
    scenario = parse_scenario(Source("self-test", SCENARIO), folder=Path())
    return settings_of(scenario, scenario.seed), build_workload(scenario)


def _run(name: str, design: Design, workload: Workload, settings: Settings) -> History:
    return run_design(design, card_of(name, design), workload, settings)


def _clean(name: str, sentence: str, history: History) -> Case:
    """Nothing may be found, and something must have happened."""
    found = _found(history)
    accepted = any(answer.fate is Fate.ACCEPTED for answer in history.answers())
    return Case(name, sentence, None, found, not found and accepted)


def _found(history: History) -> tuple[FindingKind, ...]:
    return tuple(kind for kind, finding in audit(history).findings.items() if finding.count)
