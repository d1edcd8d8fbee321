"""Cases, and the bench on which each is tried: does it still show the same kind of violation?"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from arbsim.audit import audit
from arbsim.explore.search import MOST_STEPS
from arbsim.history import History
from arbsim.model import DesignCard, FindingKind, Operation, Verdict, Workload
from arbsim.results import DesignResult
from arbsim.runner import card_of, designs_failing, designs_of, settings_of
from arbsim.scenario import Scenario
from arbsim.scenario.parameter_paths import as_texts
from arbsim.scenario.quantities import Money
from arbsim.scenario.standalone import listed
from arbsim.scenario.sweep_check import at_point
from arbsim.worlds.api import Design
from arbsim.worlds.exhaustive.kernel import Learned, LearnedMore
from arbsim.worlds.exhaustive.search import Search
from arbsim.worlds.exhaustive.steps import Footprints
from arbsim.worlds.exhaustive.world import ChoiceWorld
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_design

MOST_RUNS = 500
"""Orders that are tried of one case, before it counts as one that does not break."""


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario with one design and listed operations.

    ``setup`` is everything but accounts and workload, as a scenario writes it: texts, without defaults.
    """

    setup: Mapping[str, Any]
    workload: Workload

    @property
    def data(self) -> dict[str, Any]:
        """The whole scenario as texts."""
        return {**self.setup, **_accounts_and(self.workload)}

    def with_operations(self, operations: list[Operation]) -> Case:
        """The case with other operations, numbered anew in order of time, on the accounts that they touch."""
        ordered = sorted(operations, key=lambda op: (op.at_ns, op.id))
        numbered = tuple(op._replace(id=number) for number, op in enumerate(ordered, start=1))
        touched = {account for op in numbered for account in (op.account, op.to_account)}
        accounts = {account: cents for account, cents in self.workload.accounts.items() if account in touched}
        return replace(self, workload=Workload(numbered, accounts))

    def with_accounts(self, accounts: Mapping[int, int]) -> Case:
        """The case with other opening balances."""
        return replace(self, workload=replace(self.workload, accounts=dict(accounts)))


def _accounts_and(workload: Workload) -> dict[str, Any]:
    accounts = {str(account): Money().write(cents) for account, cents in workload.accounts.items()}
    return {
        "accounts": accounts,
        "workload": {"operations": [as_texts(listed(op)) for op in workload]},
    }


@dataclass(slots=True)
class Bench:
    """Runs cases and remembers what came of each.

    ``kind`` is what a case must show. ``any_order``: in some order of its steps, else in the run with its own times.
    ``own`` is a design of the user's own; without it the case's scenario lists the design.
    """

    name: str
    kind: FindingKind
    any_order: bool = False
    own: Design | None = None
    on_run: Callable[[int], None] = lambda runs: None
    runs: int = 0
    _known: dict[str, bool] = field(default_factory=dict)
    _prepared: dict[str, tuple[Design, DesignCard, Settings] | None] = field(default_factory=dict)

    def shows(self, case: Case) -> bool:
        """Whether the case can be run, and is violated in the same way."""
        if not case.workload.operations:
            return False
        key = json.dumps(case.data, sort_keys=True)
        if key not in self._known:
            self._known[key] = self._try(case)
        return self._known[key]

    def scenario(self, case: Case) -> Scenario:
        """The case as a scenario. Raises pydantic's ValidationError where it is none."""
        return at_point(case.data, {})

    def sections(self, case: Case) -> set[str]:
        """The sections of a scenario that have to do with the design."""
        prepared = self._prepare(case)
        assert prepared is not None
        needs = prepared[0].resources()
        used = {"database": needs.accounts_table, "kafka": bool(needs.topics), "cdc": needs.change_stream}
        return {"designs", "network", *(section for section, uses in used.items() if uses)}

    def judge(self, case: Case) -> DesignResult:
        """Run a case with its own times."""
        prepared = self._prepare(case)
        assert prepared is not None
        with designs_failing(self.name):
            return audit(run_design(prepared[0], prepared[1], case.workload, prepared[2]))

    def is_same(self, result: DesignResult) -> bool:
        """Whether a run is violated in the way that is looked for."""
        return result.verdict is Verdict.VIOLATED and result.findings[self.kind].count > 0

    def _try(self, case: Case) -> bool:
        prepared = self._prepare(case)
        if prepared is None:
            return False
        if not self.any_order:
            self.runs += 1
            self.on_run(self.runs)
            return self.is_same(self.judge(case))
        with designs_failing(self.name):
            return self._breaks_in_some_order(*prepared, case.workload)

    def _prepare(self, case: Case) -> tuple[Design, DesignCard, Settings] | None:
        """The design and the world of a case; None where its parts do not fit together."""
        cache = self._prepared
        first = case.workload.operations[0]
        few = Workload((first,), {one: 1 for one in (first.account, first.to_account) if one is not None})
        key = json.dumps(case.setup, sort_keys=True)
        if key not in cache:
            cache[key] = None
            try:
                scenario = at_point({**case.setup, **_accounts_and(few)}, {})
            except ValidationError:
                return None
            design = self.own or designs_of(scenario, [self.name])[self.name]
            cache[key] = (design, card_of(self.name, design), settings_of(scenario, scenario.seed))
        found = cache[key]
        regions = {op.region for op in case.workload}
        return found if found is not None and regions <= set(found[2].client_regions) else None

    def _breaks_in_some_order(
        self, design: Design, card: DesignCard, settings: Settings, workload: Workload
    ) -> bool:
        learned, footprints = Learned(), Footprints()
        while True:
            footprints.begin()
            search: Search[History] = Search(
                lambda: ChoiceWorld(design, card, workload, settings, learned),
                most_steps=MOST_STEPS,
                footprints=footprints,
            )
            try:
                shown = self._some_run_shows(search)
            except LearnedMore:
                continue
            if shown or not footprints.void:
                return shown

    def _some_run_shows(self, search: Search[History]) -> bool:
        for tried, run in enumerate(search.runs(), start=1):
            self.runs += 1
            self.on_run(self.runs)
            if run is not None and run.result is not None and self.is_same(audit(run.result)):
                return True
            if tried == MOST_RUNS:
                break
        return False
