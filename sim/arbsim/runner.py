"""One run, from a scenario to results: the only place that brings designs, worlds, audit and comparison together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from arbsim import __version__
from arbsim.audit import audit, judge_orders
from arbsim.compare import Expected, Facts, compare, run_facts
from arbsim.designs import catalogue
from arbsim.designs.own_sql import OwnSql
from arbsim.explaining import Subject, explain
from arbsim.explanation import Explanation
from arbsim.history import History
from arbsim.history_file import SavedRun
from arbsim.hot_key import ceiling_per_s
from arbsim.model import DesignCard, Nanoseconds, Verdict, Workload, from_cents
from arbsim.own_design import told
from arbsim.parameters import PARAMETERS
from arbsim.results import DesignResult, EveryOrder, FamilyFacts, ParameterRow, Results
from arbsim.scenario import DesignEntry, Scenario
from arbsim.scenario.expectations import CountRange
from arbsim.transaction import Condition, SqlTransaction, Statement, Think
from arbsim.worlds.api import Design
from arbsim.worlds.virtual.kafka.cluster import KafkaTimings
from arbsim.worlds.virtual.kernel import TaskFailed
from arbsim.worlds.virtual.settings import CdcSettings, DatabaseSettings, Settings
from arbsim.worlds.virtual.world import run_design


class DesignFailed(Exception):
    """A design raised what is no outcome: a bug in it (or in its world). The error is the ``__cause__``."""

    def __init__(self, design: str, error: BaseException) -> None:
        super().__init__(f"design {design} ended with {told(error)}")
        self.design = design


@dataclass(frozen=True, slots=True)
class Judged:
    """One design that has been run: its history and what the audit says of it."""

    name: str
    history: History
    result: DesignResult


Search = Callable[[Design, DesignCard, Workload, Settings], EveryOrder | None]
"""Tries the operations of a run in every order; None where that decides nothing."""


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that one run gives."""

    results: Results
    saved: SavedRun


Told = Callable[[str, DesignResult | None], None]
"""Is told when a design begins (result None), when it is judged, and when it is explained (result None again)."""


def run_scenario(
    scenario: Scenario,
    workload: Workload,
    seed: int,
    designs: Mapping[str, Design],
    replay: str,
    on_design: Told = lambda name, result: None,
    search: Search | None = None,
) -> Run:
    """Run every design on the workload, judge each, compare them, and explain those that are violated.

    ``search`` is asked about every design whose run had contention and no violation: one run is no proof.
    """
    runs = _Runs(designs, workload, settings_of(scenario, seed), on_design, search)
    judged = [runs.judged(name) for name in designs]
    broken = [one.name for one in judged if one.result.verdict is Verdict.VIOLATED]
    return finish(
        scenario, workload, facts_of(scenario, seed, replay), designs, judged, runs.explanations(broken)
    )


def explain_design(
    scenario: Scenario,
    workload: Workload,
    seed: int,
    name: str,
    designs: Mapping[str, Design],
    replay: str,
    on_design: Told = lambda name, result: None,
    search: Search | None = None,
) -> Results:
    """Run one of the designs, and explain it where it is violated, as ``run_scenario`` does.

    Of the others, only those are run that come into question to stand beside it.
    """
    runs = _Runs(designs, workload, settings_of(scenario, seed), on_design, search)
    violated = runs.judged(name).result.verdict is Verdict.VIOLATED
    explanations = runs.explanations([name] if violated else [])
    ran = {key: design for key, design in designs.items() if key in runs.done}
    judged = [runs.done[key] for key in ran]
    return finish(scenario, workload, facts_of(scenario, seed, replay), ran, judged, explanations).results


@dataclass(frozen=True, slots=True)
class _Runs:
    """Runs and judges designs when they are asked for, each once."""

    designs: Mapping[str, Design]
    workload: Workload
    settings: Settings
    on_design: Told
    search: Search | None
    done: dict[str, Judged] = field(default_factory=dict)
    cures: dict[str, Subject] = field(default_factory=dict)
    """Shipped designs that no scenario lists, by their name in the catalogue."""

    def judged(self, name: str) -> Judged:
        if name not in self.done:
            self.on_design(name, None)
            self.done[name] = one = self._judge(name, self.designs[name])
            self.on_design(name, one.result)
        return self.done[name]

    def explanations(self, broken: Sequence[str]) -> dict[str, Explanation]:
        explained = {}
        for name in broken:
            self.on_design(name, None)
            explanation = explain(self._subject(name), self._beside(name), self.workload, self.settings)
            if explanation is not None:
                explained[name] = explanation
        return explained

    def _beside(self, name: str) -> Iterator[Subject]:
        """What may stand beside a violated design: its cure, the scenario's or the shipped one, then others."""
        broken = self.designs[name]
        others = [other for other in self.designs if other != name]
        yield from (self._subject(other) for other in others if self.designs[other].name == broken.cure)
        if broken.cure in catalogue():
            yield self._shipped(broken.cure)
        others.sort(key=lambda other: self.designs[other].family != broken.family)
        yield from map(self._subject, others)

    def _subject(self, name: str) -> Subject:
        one = self.judged(name)
        return Subject(self.designs[name], one.history, one.result)

    def _shipped(self, name: str) -> Subject:
        if name not in self.cures:
            design = catalogue()[name]()
            one = self._judge(name, design)
            self.cures[name] = Subject(design, one.history, one.result)
        return self.cures[name]

    def _judge(self, name: str, design: Design) -> Judged:
        card = card_of(name, design)
        with designs_failing(name):
            history = run_design(design, card, self.workload, self.settings)
            result = _judge(history, ceiling_per_s(design, card, self.settings), None)
            if self.search is not None and result.verdict is Verdict.NONE_SEEN:
                found = self.search(design, card, self.workload, self.settings)
                result = result if found is None else judge_orders(result, found)
        return Judged(name, history, result)


def finish(
    scenario: Scenario,
    workload: Workload,
    facts: Facts,
    designs: Mapping[str, Design],
    judged: Sequence[Judged],
    explanations: Mapping[str, Explanation] | None = None,
) -> Run:
    """Put judged designs side by side, and keep what is needed to judge them again.

    ``explanations``, by design, are there where the world can be watched: not on real servers.
    """
    saved = SavedRun(
        facts,
        tuple(_expected(scenario, designs)),
        tuple(one.history for one in judged),
        {one.name: one.result.costs.hot_key_ceiling_per_s for one in judged},
        {one.name: found for one in judged if (found := one.result.evidence.every_order) is not None},
        dict(explanations or {}),
    )
    return Run(_compare(saved, workload, {one.name: one.result for one in judged}), saved)


def _compare(saved: SavedRun, workload: Workload, results: Mapping[str, DesignResult]) -> Results:
    results = {
        name: result.model_copy(update={"explanation": saved.explanations.get(name)})
        for name, result in results.items()
    }
    facts = {history.card.name: run_facts(history) for history in saved.histories}
    compared = compare(saved.facts, workload, results, saved.expected, facts)
    silence = saved.facts.scenario.get("silence", ())
    warnings = tuple(caution for caution in compared.warnings if caution.id not in silence)
    return compared.model_copy(update={"warnings": warnings})


@contextmanager
def designs_failing(name: str) -> Iterator[None]:
    """Raise DesignFailed for what a design raises that is no outcome."""
    try:
        yield
    except Exception as error:
        cause = error.__cause__ if isinstance(error, TaskFailed) and error.__cause__ else error
        raise DesignFailed(name, cause) from cause


def _judge(history: History, ceiling: float | None, found: EveryOrder | None) -> DesignResult:
    result = audit(history)
    costs = result.costs.model_copy(update={"hot_key_ceiling_per_s": ceiling})
    result = result.model_copy(update={"costs": costs})
    return result if found is None else judge_orders(result, found)


def judge_again(saved: SavedRun) -> Results:
    """Audit saved histories again, and compare them again."""
    workload = saved.histories[0].workload if saved.histories else Workload((), {})
    results = {}
    for history in saved.histories:
        name = history.card.name
        results[name] = _judge(history, saved.ceilings.get(name), saved.orders.get(name))
    return _compare(saved, workload, results)


# -- from a scenario to what the parts need ------------------------------------------------------------


def designs_of(scenario: Scenario, only: Sequence[str] = ()) -> dict[str, Design]:
    """Return the scenario's designs by name, or those of them that are asked for.

    Raises KeyError with the name of a design that the scenario does not list.
    """
    listed = {entry.name: entry for entry in scenario.designs}
    for name in only:
        if name not in listed:
            raise KeyError(name)
    return {name: _design(entry) for name, entry in listed.items() if not only or name in only}


def _design(entry: DesignEntry) -> Design:
    if entry.sql is not None:
        return OwnSql(transaction=entry.sql)
    assert entry.design is not None
    return catalogue()[entry.design](**entry.parameters)


def settings_of(scenario: Scenario, seed: int) -> Settings:
    """Return the scenario as a virtual world needs it."""
    database, kafka, cdc = scenario.database, scenario.kafka, scenario.cdc
    return Settings(
        seed=seed,
        regions=scenario.region_names,
        client_regions=scenario.client_regions,
        round_trip_ns=scenario.round_trips_ns(),
        jitter_ppm=scenario.network.jitter,
        database=DatabaseSettings(
            dialect="yugabyte" if database.dialect == "yugabyte" else "postgres",
            leader=scenario.database_leader,
            gateway="nearest" if database.gateway == "nearest" else "leader",
            table=database.table,
            read_committed=database.read_committed,
            statement_ns=database.statement,
            deadlock_timeout_ns=database.deadlock_timeout,
            deadlock_probe_ns=database.deadlock_probe,
            query_layer_retries=database.query_layer_retries,
            pool_size=database.pool_size,
            xcluster_lag_ns=database.xcluster_lag,
        ),
        kafka_leader=scenario.kafka_leader,
        kafka=KafkaTimings(
            append_ns=kafka.append,
            linger_ns=kafka.linger,
            fetch_max_wait_ns=kafka.fetch_max_wait,
            transaction_ns=kafka.transaction_overhead,
            mirror_lag_ns=kafka.mirror_lag,
            rebalance_ns=kafka.session_timeout,
            max_poll_records=kafka.max_poll_records,
        ),
        cdc=CdcSettings(
            lag_ns=cdc.lag,
            poll_interval_ns=cdc.poll_interval,
            offset_flush_interval_ns=cdc.offset_flush_interval,
            restart_time_ns=cdc.restart_time,
            restart_at_ns=cdc.restart_at,
        ),
    )


def card_of(name: str, design: Design) -> DesignCard:
    """Return what a design says of itself, under the scenario's name for it."""
    return DesignCard(
        name=name,
        design=design.name,
        family=design.family,
        agreement=design.agreement,
        claims=tuple(design.claims),
        summary=design.summary,
        cure=design.cure,
        fresh_reads=design.fresh_reads,
        own_order=design.own_order,
        steps=tuple(_steps(design)),
        parameters=tuple(_parameters(design)),
    )


def _steps(design: Design) -> Iterator[str]:
    """The code (or the SQL) that decides."""
    if isinstance(design, OwnSql):
        for kind, steps in design.transaction.steps.items():
            yield "\n".join((f"{kind}:", *(f"  {_step_text(step)}" for step in steps)))
        return
    for function in design.judged_steps():
        try:
            yield inspect.cleandoc("\n" + inspect.getsource(function)).rstrip()
        except OSError:  # a design that was typed in, or frozen
            yield getattr(function, "__qualname__", "?")


def _step_text(step: Statement | Condition | Think) -> str:
    if isinstance(step, Statement):
        return step.text
    if isinstance(step, Condition):
        return f"{step.outcome} {'if' if step.when else 'unless'} {step.text}"
    return f"think {step.pause / 1_000_000:g} ms"


def _parameters(design: Design) -> Iterator[tuple[str, str]]:
    parameters: Any = design
    for name in [one.name for one in fields(parameters)] if is_dataclass(parameters) else ():
        value = getattr(design, name)
        if isinstance(value, SqlTransaction):
            yield "isolation", value.isolation
        elif value is not None:
            yield name, _as_text(value, _hint(type(design), name))


def _hint(design: type, name: str) -> Any:
    for base in design.__mro__:
        if name in getattr(base, "__annotations__", {}):
            return base.__annotations__[name]
    return None


def _as_text(value: object, hint: Any) -> str:
    if hint in ("Nanoseconds", Nanoseconds) and isinstance(value, int):
        return f"{value / 1_000_000:g} ms"
    return str(value).lower() if isinstance(value, bool) else str(value)


# -- facts for the report ------------------------------------------------------------------------------


def facts_of(scenario: Scenario, seed: int, replay: str) -> Facts:
    """Return what the report tells of the scenario itself."""
    described = scenario.describe()
    described["seed"] = seed
    return Facts(
        name=scenario.name,
        question=scenario.question or "",
        scenario=described,
        seed=seed,
        version=__version__,
        replay=replay,
        families=tuple(_families(scenario)),
        parameters=tuple(_parameter_rows(scenario)),
    )


def _parameter_rows(scenario: Scenario) -> Iterator[ParameterRow]:
    described = scenario.describe()
    for parameter in PARAMETERS:
        section, _, key = parameter.name.partition(".")
        given = described.get(section, {}).get(key)
        yield ParameterRow(
            name=parameter.name,
            value=parameter.text if given is None else str(given),
            default=parameter.text,
            meaning=parameter.meaning,
            source=parameter.source,
        )


def _families(scenario: Scenario) -> Iterator[FamilyFacts]:
    regions = scenario.region_names
    count = len(regions) if len(regions) > 1 else 3
    where = ", ".join(regions) if len(regions) > 1 else f"three zones of {regions[0]}"
    majority = count // 2 + 1
    yield FamilyFacts(
        family="bus",
        replicas=(
            f"{count} replicas of the stretched cluster: {where}; a region's own cluster keeps its replicas at home"
        ),
        quorum=f"acks=all: the leader in {scenario.kafka_leader} waits for all {count} in-sync replicas",
        recovery_point=(
            "0 for the stretched cluster; a region that is lost takes what MirrorMaker had not yet copied with it"
        ),
        gateway=f"producers and consumers talk to the partition leaders in {scenario.kafka_leader}, or at home",
    )
    postgres = scenario.database.dialect == "postgres"
    near = "their own region" if scenario.database.gateway == "nearest" else scenario.database_leader
    yield FamilyFacts(
        family="db",
        replicas=f"{count} replicas: {where}",
        quorum=(
            f"COMMIT on the primary in {scenario.database_leader} waits for the nearest synchronous standby"
            if postgres
            else f"Raft: the leader in {scenario.database_leader} waits for {majority} of {count} replicas"
        ),
        recovery_point="0 for one database; two databases linked asynchronously lose what was on its way",
        gateway=(
            f"clients connect to the primary in {scenario.database_leader}"
            if postgres
            else f"clients connect to a node in {near}, which asks the leader in {scenario.database_leader}"
        ),
    )


def _expected(scenario: Scenario, designs: Mapping[str, Design]) -> Iterator[Expected]:
    for name, expectation in scenario.expect.items():
        if name not in designs:
            continue
        if expectation.verdict is not None:
            yield Expected(name, "verdict", (expectation.verdict,))
        for account, balances in expectation.final.items():
            yield Expected(name, f"final {account}", tuple(str(from_cents(cents)) for cents in balances))
        for fate, count in expectation.outcomes.items():
            yield _counted(name, f"outcomes {fate}", count)
        for operation, fates in expectation.operations.items():
            yield Expected(name, f"operation {operation}", tuple(fates))
        for state, count in expectation.errors.items():
            yield _counted(name, f"errors {state}", count)
        for what, retries in (
            ("client_retries", expectation.client_retries),
            ("server_retries", expectation.server_retries),
        ):
            if retries is not None:
                yield _counted(name, what, retries)
        for total, count in expectation.totals.items():
            yield _counted(name, f"totals {total}", count)
        for kind, count in expectation.findings.items():
            yield _counted(name, kind.value, count)


def _counted(design: str, what: str, count: CountRange) -> Expected:
    return Expected(design, what, at_least=count.at_least, at_most=count.at_most)
