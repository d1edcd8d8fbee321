"""Designs side by side: what was expected of them, where they differ, and what weakens a pass."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arbsim.audit.costs import ms
from arbsim.audit.judge import money
from arbsim.cautions import cautions_of
from arbsim.document import OperationRow
from arbsim.history import History
from arbsim.model import Cents, Fate, FindingKind, Kind, Operation, Verdict, Workload
from arbsim.results import (
    DesignResult,
    Disagreement,
    Disagreements,
    Expectation,
    FamilyFacts,
    LiveFacts,
    LiveResults,
    Manifest,
    ParameterRow,
    Results,
    Status,
    WorkloadSummary,
)

MOST_ROWS = 50
"""Operations up to which all of them are listed."""

MOST_DISAGREEMENTS = 100

MOST_FOLDS = 3
"""Balances that are named where a change stream tells others than the table."""

AS_DECLARED = "as declared"
"""What is expected of a design of which nothing else is: that its own claims hold."""

_ORDERED: dict[str, tuple[Verdict, ...]] = {
    "violated": (Verdict.VIOLATED,),
    "not-violated": (Verdict.NONE_SEEN, Verdict.HOLDS),
    "none-seen": (Verdict.NONE_SEEN, Verdict.HOLDS),
    "holds": (Verdict.HOLDS,),
    "inconclusive": (Verdict.INCONCLUSIVE,),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What only the caller knows of a run: the scenario with its defaults filled in, and how to run it again."""

    name: str
    question: str
    scenario: dict[str, Any]
    seed: int
    version: str
    replay: str
    families: tuple[FamilyFacts, ...] = ()
    parameters: tuple[ParameterRow, ...] = ()
    live: LiveFacts | None = None
    """The servers of a live run; None for a run in virtual time."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What expectations and disagreements need of one design's run beside its judgement.

    ``fates`` are in order of operation; one that was never answered is unknown. ``failures`` counts the failed
    operations by reason. ``totals`` are the run's own counts. ``cut_off``: all of this is what there was so far.
    """

    fates: tuple[Fate, ...]
    failures: Mapping[str, int]
    totals: Mapping[str, int]
    cut_off: bool = False


def run_facts(history: History) -> RunFacts:
    """Take from a history what ``compare`` needs."""
    answers = list(history.answers())
    return RunFacts(
        tuple(answer.fate or Fate.UNKNOWN for answer in answers),
        Counter(answer.reason for answer in answers if answer.fate is Fate.FAILED),
        dict(history.totals),
        history.cut_off,
    )


@dataclass(frozen=True, slots=True)
class Expected:
    """One thing that is expected of one design: one of some words, or a count within bounds.

    ``what`` and the words or count that go with it:

    - ``verdict``: "violated", "not-violated", "holds" or "inconclusive";
    - ``final 1``: balances of account 1 such as "30.00"; every store must hold one of them;
    - ``operation 2``: fates of operation 2;
    - ``outcomes accepted``: how many operations ended so;
    - a kind of finding such as ``overdraft``; ``client_retries``, ``server_retries``: their count;
    - ``errors 23514``: how many operations failed for a reason that names 23514;
    - ``totals wan_messages``: another count of the run.
    """

    design: str
    what: str
    one_of: tuple[str, ...] = ()
    at_least: int = 0
    at_most: int | None = None

    @property
    def words(self) -> str:
        """What is accepted, in words: "30.00 or 40.00", "2", "at least 1", "1 to 3"."""
        if self.one_of:
            return " or ".join(self.one_of)
        if self.at_most is None:
            return f"at least {self.at_least}"
        return str(self.at_least) if self.at_least == self.at_most else f"{self.at_least} to {self.at_most}"

    def allows(self, count: int) -> bool:
        """Whether a count lies within the bounds."""
        return count >= self.at_least and (self.at_most is None or count <= self.at_most)


def compare(
    facts: Facts,
    workload: Workload,
    designs: Mapping[str, DesignResult],
    expectations: Sequence[Expected],
    runs: Mapping[str, RunFacts],
) -> Results:
    """Put judged designs side by side.

    ``runs`` has an entry for every design. Expectations of designs that are not in ``designs`` are left out: nobody
    asked for them. A design that the servers of a live run cannot stand for is undecided, where something is expected
    of it. So is one whose run was cut off, unless it had been violated by then; it disagrees with nobody. A design of
    which nothing is expected is held to its own claims. What is folded of a live run's change
    stream must be what its table holds.
    """
    met = tuple(_expectations(designs, expectations, runs, facts.live.not_run if facts.live else ()))
    if facts.live is not None:
        met += tuple(_folds(facts.live))
    results = Results(
        name=facts.name,
        question=facts.question,
        manifest=Manifest(
            arbsim=facts.version,
            scenario=facts.scenario,
            scenario_sha256=scenario_sha256(facts.scenario),
            workload_sha256=workload_sha256(workload),
            seed=facts.seed,
            world="virtual" if facts.live is None else "live",
            replay=facts.replay,
        ),
        workload=_summary(workload),
        designs=dict(designs),
        reference={str(account): money(cents) for account, cents in reference(workload).items()},
        families=facts.families,
        disagreements=_disagreements(workload, runs),
        expectations=met,
        warnings=cautions_of(workload, designs),
        parameters=facts.parameters,
        exit_code=exit_code(met),
    )
    return results if facts.live is None else LiveResults(**dict(results), live=facts.live)


def exit_code(expectations: Iterable[Expectation]) -> int:
    """1 where an expectation is broken, else 3 where one is undecided, else 0."""
    return exit_code_of(expectation.status for expectation in expectations)


def exit_code_of(statuses: Iterable[Status]) -> int:
    """1 where one is broken, else 3 where one is undecided, else 0."""
    statuses = set(statuses)
    return 1 if "broken" in statuses else 3 if "undecided" in statuses else 0


# -- the workload --------------------------------------------------------------------------------------


def reference(workload: Workload) -> dict[int, Cents]:
    """The final balances if the operations ran one at a time in order of invocation."""
    balances = dict(workload.accounts)
    for op in workload:
        takes = op.kind in (Kind.WITHDRAW, Kind.TRANSFER)
        if takes and balances.get(op.account, 0) < op.amount_cents:
            continue
        for account, cents in op.deltas():
            balances[account] = balances.get(account, 0) + cents
    return balances


def scenario_sha256(scenario: dict[str, Any]) -> str:
    """The digest of a scenario as JSON with sorted keys and no spaces."""
    return hashlib.sha256(_canonical(scenario)).hexdigest()


def workload_sha256(workload: Workload) -> str:
    """The digest of the opening balances and the operations, each as one line of JSON."""
    digest = hashlib.sha256(_canonical(list(workload.accounts.items())))
    for op in workload:
        row = [op.id, op.at_ns, op.region, op.kind.value, op.account, op.amount_cents, op.to_account]
        digest.update(b"\n" + _canonical(row))
    return digest.hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _summary(workload: Workload) -> WorkloadSummary:
    regions = Counter(op.region for op in workload)
    kinds = Counter(op.kind for op in workload)
    few = len(workload) <= MOST_ROWS
    return WorkloadSummary(
        operations=len(workload),
        accounts=len(workload.accounts),
        opening_total=money(sum(workload.accounts.values())),
        by_region=dict(sorted(regions.items())),
        by_kind={kind.value: kinds[kind] for kind in Kind if kinds[kind]},
        rows=tuple(operation_row(op) for op in workload) if few else (),
    )


def operation_row(op: Operation) -> OperationRow:
    """One operation as it is written in the results."""
    return OperationRow(
        id=op.id,
        at_ms=ms(op.at_ns),
        region=op.region,
        kind=op.kind,
        account=op.account,
        to_account=op.to_account,
        amount=money(op.amount_cents),
    )


def _disagreements(workload: Workload, runs: Mapping[str, RunFacts]) -> Disagreements:
    count = 0
    first: list[Disagreement] = []
    whole = {name: run.fates for name, run in runs.items() if not run.cut_off}
    for op, fates in zip(workload, zip(*whole.values(), strict=True), strict=False):
        if any(fate is not fates[0] for fate in fates):
            count += 1
            if len(first) < MOST_DISAGREEMENTS:
                by_design = dict(zip(whole, fates, strict=True))
                first.append(Disagreement(operation=operation_row(op), fates=by_design))
    return Disagreements(count=count, first=tuple(first))


# -- expectations --------------------------------------------------------------------------------------


def _expectations(
    designs: Mapping[str, DesignResult],
    expectations: Sequence[Expected],
    runs: Mapping[str, RunFacts],
    not_run: Iterable[str],
) -> Iterator[Expectation]:
    by_design: dict[str, list[Expected]] = {}
    for expected in expectations:
        by_design.setdefault(expected.design, []).append(expected)
    for name, result in designs.items():
        for expected in by_design.get(name, ()):
            observed, status = _observe(expected, result, runs[name])
            if runs[name].cut_off and (expected.what != "verdict" or result.verdict is Verdict.INCONCLUSIVE):
                status = "undecided"
            yield Expectation(
                design=name, what=expected.what, expected=expected.words, observed=observed, status=status
            )
        if name not in by_design:
            yield _own_claims(name, result)
    for name in not_run:
        if name in by_design:
            yield Expectation(design=name, what="run", expected="yes", observed="no", status="undecided")


def _folds(live: LiveFacts) -> Iterator[Expectation]:
    for name, sides in live.streams.items():
        wrong = [
            f"account {account} {folded or 'missing'} instead of {held or 'none'} in {side.region}"
            for side in sides
            for account, (held, folded) in side.differences.items()
        ]
        yield Expectation(
            design=name,
            what="the change stream, folded",
            expected="the table",
            observed=", ".join(wrong[:MOST_FOLDS]) or "the table",
            status="broken" if wrong else "met",
        )


def _own_claims(name: str, result: DesignResult) -> Expectation:
    status: dict[str, Status] = {"yes": "met", "no": "broken", "undecided": "undecided"}
    return Expectation(
        design=name,
        what=AS_DECLARED,
        expected="yes",
        observed=result.as_declared,
        status=status[result.as_declared],
    )


def _observe(expected: Expected, result: DesignResult, run: RunFacts) -> tuple[str, Status]:
    """What was observed of one expectation, and whether it is met. Raises ValueError for an unknown ``what``."""
    topic, _, name = expected.what.partition(" ")
    if topic == "verdict":
        return result.verdict.value, _verdict_status(expected, result.verdict)
    if topic == "final":
        return _observe_final(expected, result.final.get(name, {}))
    if topic == "operation":
        fate = run.fates[int(name) - 1].value
        return fate, "met" if fate in expected.one_of else "broken"
    count, exact = _count(topic, name, result, run)
    if expected.allows(count):
        return str(count), "met"
    # A lower bound that is too small may be enough after all.
    return str(count), "broken" if exact or count > expected.at_least else "undecided"


def _verdict_status(expected: Expected, verdict: Verdict) -> Status:
    """An inconclusive run decides nothing, and one run without a violation does not prove that there is none."""
    if any(verdict in _ORDERED[word] for word in expected.one_of):
        return "met"
    if verdict is Verdict.INCONCLUSIVE:
        return "undecided"
    return "undecided" if "holds" in expected.one_of and verdict is Verdict.NONE_SEEN else "broken"


def _observe_final(expected: Expected, stores: Mapping[str, str]) -> tuple[str, Status]:
    """Every store must hold one of the balances; an account that no store holds meets nothing."""
    values = list(dict.fromkeys(stores.values()))
    if len(values) == 1:
        observed = values[0]
    else:
        observed = ", ".join(f"{store} {balance}" for store, balance in stores.items()) or "none"
    return observed, "met" if values and set(values) <= set(expected.one_of) else "broken"


def _count(topic: str, name: str, result: DesignResult, run: RunFacts) -> tuple[int, bool]:
    """A count by its name, and whether it is exact."""
    if topic in result.findings:
        finding = result.findings[FindingKind(topic)]
        return finding.count, finding.exact
    if topic == "client_retries":
        return result.costs.client_retries, True
    if topic == "server_retries":
        return result.costs.server_retries, True
    if topic == "outcomes":
        return {fate.value: getattr(result.outcomes, fate.value) for fate in Fate}[name], True
    if topic == "totals":
        return run.totals.get(name, 0), True
    if topic == "errors":
        named = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
        return sum(times for reason, times in run.failures.items() if named.search(reason)), True
    raise ValueError(f"nothing is known of {topic}")
