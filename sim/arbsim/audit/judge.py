"""The verdict: what was found, held against what the design claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from arbsim.audit.balances import (
    Balance,
    Versions,
    divergences,
    explain_balances,
    half_transfers,
    versions_of,
)
from arbsim.audit.costs import costs_of, ms, saturation_note
from arbsim.audit.decisions import Meetings, beliefs, meetings, refusals, stale_reads
from arbsim.audit.overdraft import Overdrafts, in_own_order, in_real_time
from arbsim.history import Essence, History
from arbsim.model import VIOLATIONS, Cents, DesignCard, Fate, FindingKind, Verdict, Workload, from_cents
from arbsim.results import (
    Answered,
    BalanceRow,
    Belief,
    Cause,
    Contention,
    DesignResult,
    EveryOrder,
    Evidence,
    Finding,
    Outcomes,
    Pair,
    Rejections,
    StatementCount,
    Witness,
)

MOST_DIFFERENCES = 100
MOST_BELIEFS = 12
MOST_STATEMENTS = 20

MOST_KNOWN = 10_000
"""So many judgements are remembered, which takes some 20 MB; then remembering begins anew."""


@dataclass(frozen=True, slots=True)
class Case:
    """One finding before it is written down, with its money in cents."""

    operations: tuple[int, ...]
    account: int | None
    cents: Cents
    time_ns: int | None
    store: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The short answer: what is broken, whether that is a violation, and whether anything was tested at all."""

    broken: tuple[FindingKind, ...]
    verdict: Verdict
    contended: bool
    undecided: bool


@dataclass(frozen=True, slots=True)
class _Examined:
    """What was found in a history, before any of it is written down. ``inexact``: kinds of which this is a part."""

    versions: Versions
    balances: list[Balance]
    overdrafts: Overdrafts
    cases: dict[FindingKind, list[Case]]
    inexact: set[FindingKind]
    met: Meetings


def audit(history: History) -> DesignResult:
    """Judge one design's history."""
    return _result(history, _examine(history))


def short_audit(history: History) -> Judgement:
    """Judge a history as ``audit`` does, and leave out the witnesses, the costs and all else that is to be shown."""
    examined = _examine(history)
    counts = {kind: len(cases) for kind, cases in examined.cases.items()}
    reasons = _reasons(history, examined)
    verdict, _ = _judge(history.card, counts, reasons)
    return Judgement(
        broken=tuple(kind for kind in FindingKind if counts[kind]),
        verdict=verdict,
        contended=examined.met.contended,
        undecided=verdict is Verdict.INCONCLUSIVE and "undecided-outcomes" in reasons,
    )


class ShortAudits:
    """Short audits of one design's histories of one workload; those that are judged alike are judged once."""

    def __init__(self, card: DesignCard, workload: Workload) -> None:
        self._card = card
        self._workload = workload
        self._known: dict[Essence, Judgement] = {}

    def of(self, history: History) -> Judgement:
        """Judge a history, or remember what was said of one like it."""
        assert history.card is self._card, "another design's history is judged by other claims"
        assert history.workload is self._workload, "another workload gives the same numbers another meaning"
        essence = history.essence()
        judged = self._known.get(essence)
        if judged is None:
            if len(self._known) == MOST_KNOWN:
                self._known.clear()
            # What is judged has the essence and no more, so nothing that tells two histories of it apart has a say.
            judged = short_audit(History.of_essence(self._card, self._workload, essence))
            self._known[essence] = judged
        return judged


def broken_accounts(history: History) -> frozenset[int]:
    """Return the accounts on which something was found that makes a design violated.

    Where no money moves between accounts each of them is a run of its own, judged as ``audit`` judges it.
    """
    cases = _examine(history).cases
    return frozenset(
        case.account for kind in _counted(history.card) for case in cases[kind] if case.account is not None
    )


def _examine(history: History) -> _Examined:
    versions = versions_of(history)
    balances = explain_balances(history, versions)
    overdrafts = in_real_time(history)
    own_order = in_own_order(history)
    cases = {
        FindingKind.OVERDRAFT: list(_of_overdrafts(overdrafts)),
        FindingKind.OVERDRAFT_OWN_ORDER: list(_of_overdrafts(own_order)),
        FindingKind.LOST_UPDATE: list(_of_lost(balances)),
        FindingKind.DUPLICATE_EFFECT: list(_of_doubled(balances)),
        FindingKind.DIVERGENCE: [
            Case(one.operations, one.account, one.spread_cents, one.time_ns)
            for one in divergences(history, balances)
        ],
        FindingKind.CONSERVATION: [
            Case((one.operation,), None, abs(one.cents), None, one.store)
            for one in half_transfers(history, balances)
        ],
        FindingKind.UNEXPLAINED: list(_of_unexplained(balances)),
        FindingKind.STALE_READ: [
            Case((one.operation, one.missed), one.account, one.cents, one.time_ns)
            for one in stale_reads(history, versions)
        ],
    }
    inexact = {
        kind
        for kind, found in (
            (FindingKind.OVERDRAFT, overdrafts),
            (FindingKind.OVERDRAFT_OWN_ORDER, own_order),
        )
        if not found.exact
    }
    return _Examined(versions, balances, overdrafts, cases, inexact, meetings(history, versions))


# -- findings ------------------------------------------------------------------------------------------


def _of_overdrafts(overdrafts: Overdrafts) -> Iterator[Case]:
    for one in overdrafts.found:
        yield Case(one.operations, one.account, min(one.missing_cents, one.amount_cents), one.time_ns)


def _of_lost(balances: Sequence[Balance]) -> Iterator[Case]:
    """Each lost effect once, in the first store that lacks it."""
    named: set[tuple[int, int]] = set()
    for balance in balances:
        for lost in balance.lost:
            if (lost.operation, balance.account) not in named:
                named.add((lost.operation, balance.account))
                operations = (lost.operation,) if lost.by is None else (lost.operation, lost.by)
                yield Case(operations, balance.account, abs(lost.cents), balance.time_ns, balance.store)


def _of_doubled(balances: Sequence[Balance]) -> Iterator[Case]:
    named: set[tuple[int, int]] = set()
    for balance in balances:
        for operation, cents in balance.doubled:
            if (operation, balance.account) not in named:
                named.add((operation, balance.account))
                yield Case((operation,), balance.account, abs(cents), balance.time_ns, balance.store)


def _of_unexplained(balances: Sequence[Balance]) -> Iterator[Case]:
    for balance in balances:
        for operation, cents in balance.not_accepted:
            yield Case((operation,), balance.account, abs(cents), balance.time_ns, balance.store)
        if balance.unexplained_cents:
            cents = abs(balance.unexplained_cents)
            yield Case((), balance.account, cents, balance.time_ns, balance.store)


def _finding(cases: list[Case], exact: bool) -> Finding:
    """Count the cases of one kind; they are put in order of time first."""
    if not cases:
        return Finding(exact=exact)
    ordered = sorted(cases, key=lambda case: (case.time_ns is None, case.time_ns or 0, case.operations))
    worst = max(ordered, key=lambda case: case.cents)
    return Finding(
        count=len(ordered),
        amount=money(sum(case.cents for case in ordered)),
        first=_witness(ordered[0]),
        worst=_witness(worst),
        last=_witness(ordered[-1]),
        exact=exact,
    )


def _witness(case: Case) -> Witness:
    return Witness(
        operations=case.operations,
        account=case.account,
        amount=money(case.cents),
        time_ms=None if case.time_ns is None else ms(case.time_ns),
        store=case.store,
    )


def money(cents: Cents) -> str:
    """Cents as text with two digits after the point."""
    return str(from_cents(cents))


# -- the verdict ---------------------------------------------------------------------------------------


def _judge(
    card: DesignCard, counts: Mapping[FindingKind, int], reasons: Sequence[str]
) -> tuple[Verdict, Answered]:
    """Return the verdict, and whether it is what the design declared.

    A violation is as declared where the design claims to prevent none of the kinds that were found; one that it
    claims to prevent is a bug found. Without a violation a design that claims everything did as it declared. One
    that does not (a trap) declared no failure either, so nothing is decided: a trap that holds is news.
    """
    broken = [kind for kind in _counted(card) if counts[kind]]
    if broken:
        return Verdict.VIOLATED, "no" if set(broken) & claimed(card) else "yes"
    if reasons:
        return Verdict.INCONCLUSIVE, "undecided"
    return Verdict.NONE_SEEN, "yes" if set(VIOLATIONS) <= claimed(card) else "undecided"


def judge_orders(result: DesignResult, found: EveryOrder) -> DesignResult:
    """Let the verdict on a run without a violation stand on every order of its operations."""
    evidence = result.evidence.model_copy(update={"every_order": found})
    verdict, as_declared = Verdict.HOLDS, result.as_declared
    if found.violating_classes:
        verdict, as_declared = Verdict.VIOLATED, "no" if set(found.broken) & claimed(result) else "yes"
    return result.model_copy(update={"verdict": verdict, "as_declared": as_declared, "evidence": evidence})


def _counted(card: DesignCard) -> tuple[FindingKind, ...]:
    return (*VIOLATIONS, FindingKind.STALE_READ) if card.fresh_reads else VIOLATIONS


def claimed(design: DesignCard | DesignResult) -> set[FindingKind]:
    """The kinds of finding that a design claims to prevent."""
    return {*design.claims, FindingKind.STALE_READ} if design.fresh_reads else set(design.claims)


def _reasons(history: History, examined: _Examined) -> tuple[str, ...]:
    """Why a run without a violation proves nothing."""
    reasons = []
    if len(history.workload) == 0:
        reasons.append("empty")
    elif not examined.met.contended:
        reasons.append("no-contention")
    if examined.overdrafts.undecided:
        reasons.append("undecided-outcomes")
    if history.notes or history.cut_off:
        reasons.append("stopped")
    return tuple(reasons)


def _result(history: History, examined: _Examined) -> DesignResult:
    card, versions, balances, met = history.card, examined.versions, examined.balances, examined.met
    findings = {kind: _finding(found, kind not in examined.inexact) for kind, found in examined.cases.items()}
    reasons = _reasons(history, examined)
    counts = {kind: finding.count for kind, finding in findings.items()}
    verdict, as_declared = _judge(card, counts, reasons)
    wrong = [balance for balance in balances if not balance.is_right]
    refused = refusals(history)
    return DesignResult(
        design=card.design,
        family=card.family,
        agreement=card.agreement,
        summary=card.summary,
        claims=card.claims,
        cure=card.cure,
        own_order=card.own_order,
        fresh_reads=card.fresh_reads,
        parameters=dict(card.parameters),
        steps=card.steps,
        statements=_statements(history),
        verdict=verdict,
        as_declared=as_declared,
        reasons=reasons if verdict is Verdict.INCONCLUSIVE else (),
        evidence=Evidence(),
        final=_final(history),
        outcomes=_outcomes(history),
        failures=_failures(history),
        findings=findings,
        rejections=Rejections(
            certainly_right=refused.certainly_right,
            certainly_wrong=len(refused.certainly_wrong),
            order_dependent=refused.order_dependent,
        ),
        contention=Contention(
            overlapping_pairs=met.overlapping_pairs,
            unseen_pairs=met.unseen_pairs,
            waits=met.waits,
            examples=tuple(
                Pair(first=one.first, second=one.second, account=one.account, waited=one.waited)
                for one in met.examples
            ),
        ),
        differences=tuple(_row(balance) for balance in wrong[:MOST_DIFFERENCES]),
        differences_count=len(wrong),
        balances_count=len(balances),
        beliefs=_beliefs(history, versions, findings, met),
        costs=costs_of(history, versions, findings[FindingKind.OVERDRAFT].count),
        counts=dict(sorted(history.totals.items())),
        notes=(*history.notes, *filter(None, [saturation_note(history)])),
    )


def _failures(history: History) -> dict[str, int]:
    reasons = Counter(answer.reason for answer in history.answers() if answer.fate is Fate.FAILED)
    return dict(sorted(reasons.items()))


def _statements(history: History) -> tuple[StatementCount, ...]:
    most = sorted(history.statements.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_STATEMENTS]
    return tuple(StatementCount(text=text, count=count) for text, count in most)


def _final(history: History) -> dict[str, dict[str, str]]:
    final: dict[str, dict[str, str]] = {}
    for account in sorted(history.workload.accounts):
        stores = {
            store: money(balances[account])
            for store, balances in history.finals.items()
            if account in balances
        }
        final[str(account)] = stores
    return final


def _outcomes(history: History) -> Outcomes:
    counts = dict.fromkeys(Fate, 0)
    for answer in history.answers():
        counts[answer.fate or Fate.UNKNOWN] += 1
    return Outcomes(**{fate.value: count for fate, count in counts.items()})


def _row(balance: Balance) -> BalanceRow:
    causes = [
        *(
            Cause(kind="lost", operation=lost.operation, by=lost.by, amount=money(-lost.cents))
            for lost in balance.lost
        ),
        *(Cause(kind="doubled", operation=op, amount=money(cents)) for op, cents in balance.doubled),
        *(
            Cause(kind="not-accepted", operation=op, amount=money(cents))
            for op, cents in balance.not_accepted
        ),
    ]
    if balance.unexplained_cents:
        causes.append(Cause(kind="unexplained", amount=money(balance.unexplained_cents)))
    return BalanceRow(
        account=balance.account,
        store=balance.store,
        opening=money(balance.opening_cents),
        expected=money(balance.expected_cents),
        actual=money(balance.actual_cents),
        difference=money(balance.actual_cents - balance.expected_cents),
        causes=tuple(causes),
    )


def _beliefs(
    history: History, versions: Versions, findings: dict[FindingKind, Finding], met: Meetings
) -> tuple[Belief, ...]:
    """Who knew what when, around the first finding; where there is none, around the first two that met."""
    witnesses = [finding.first for kind in FindingKind if (finding := findings[kind]).first is not None]
    account, around_ns = None, history.quiet_ns
    if witnesses and witnesses[0] is not None:
        account = witnesses[0].account
        if witnesses[0].time_ms is not None:
            around_ns = round(witnesses[0].time_ms * 1_000_000) + 1_000
    elif met.examples:
        account = met.examples[0].account
        around_ns = history.answer_of(met.examples[0].second).answered_ns
    if account is None:
        account = min(history.workload.accounts, default=0)
    return tuple(
        Belief(
            time_ms=ms(one.time_ns),
            place=one.place,
            operation=one.operation,
            account=one.account,
            believed=money(one.believed_cents),
            true=money(one.true_cents),
            fate=history.fate(one.operation),
        )
        for one in beliefs(history, versions, account, around_ns, MOST_BELIEFS)
    )
