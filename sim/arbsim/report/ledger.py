"""The claims ledger: sentences that people say about logs and databases, each held against this run.

The sentences are those of a much quoted tip, "let the database arbitrate, let Kafka distribute". Some are not strictly
true. Each judgement is computed from the results; where a run has no evidence, it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from arbsim.model import FindingKind, Verdict
from arbsim.results import DesignResult, Results

Judged = Literal["shown", "shown in part", "contradicted", "no evidence here"]

GLYPHS: dict[Judged, str] = {"shown": "+", "shown in part": "~", "contradicted": "x", "no evidence here": "?"}


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence and how it fared. ``evidence`` are facts of this run; ``not_claimed`` limits what follows."""

    id: str
    sentence: str
    judged: Judged
    evidence: tuple[str, ...]
    not_claimed: str

    @property
    def word(self) -> str:
        """A glyph and a word."""
        return f"{GLYPHS[self.judged]} {self.judged}"


@dataclass(frozen=True, slots=True)
class _Rule:
    """A sentence, the designs it is about, and what of their results would show it (True) or contradict it."""

    sentence: str
    designs: tuple[str, ...]
    shows: Callable[[DesignResult], bool | None]
    not_claimed: str


def ledger(results: Results) -> tuple[Claim, ...]:
    """Judge every sentence by the designs of this run."""
    return tuple(_judge(f"C{number}", rule, results) for number, rule in enumerate(_RULES, start=1))


def _judge(name: str, rule: _Rule, results: Results) -> Claim:
    facts: list[str] = []
    answers: list[bool] = []
    for design, result in results.designs.items():
        answer = rule.shows(result) if result.design in rule.designs else None
        if answer is not None:
            answers.append(answer)
            facts.append(_fact(design, result))
    return Claim(name, rule.sentence, _judged(answers), tuple(facts), rule.not_claimed)


def _judged(answers: list[bool]) -> Judged:
    if not answers:
        return "no evidence here"
    if any(answers):
        return "shown" if all(answers) else "shown in part"
    return "contradicted"


def _fact(name: str, result: DesignResult) -> str:
    return f"{name}: {', '.join(_facts(result))}"


def _facts(result: DesignResult) -> Iterator[str]:
    """What a reader needs of a result to check a claim."""
    ends = result.outcomes
    yield f"{ends.accepted} accepted, {ends.rejected} rejected"
    if ends.failed:
        yield "failed " + ", ".join(f"{count} x {reason}" for reason, count in result.failures.items())
    found = [
        f"{kind.value} {finding.count} ({finding.amount})"
        for kind, finding in result.findings.items()
        if finding.count
    ]
    yield ", ".join(found) or "no finding"
    if len(result.final) == 1:
        stores = next(iter(result.final.values()))
        yield "ends at " + ", ".join(dict.fromkeys(stores.values()))
    if result.costs.client_retries or result.costs.server_retries:
        yield f"{result.costs.client_retries} retries by clients, {result.costs.server_retries} inside the server"
    if events := result.counts.get("change_events"):
        yield f"{events} change events, {result.counts.get('change_events_again', 0)} of them sent again"


# -- what would show a sentence ------------------------------------------------------------------------


def _found(result: DesignResult, *kinds: FindingKind) -> bool:
    return any(result.findings[kind].count for kind in kinds)


def _tested(result: DesignResult) -> bool:
    return result.verdict is not Verdict.INCONCLUSIVE


def _overdraws(result: DesignResult) -> bool | None:
    return _found(result, FindingKind.OVERDRAFT) if _tested(result) else None


def _holds(result: DesignResult) -> bool | None:
    return result.verdict is not Verdict.VIOLATED if _tested(result) else None


def _breaks(result: DesignResult) -> bool | None:
    return result.verdict is Verdict.VIOLATED if _tested(result) else None


def _holds_and_rejects(result: DesignResult) -> bool | None:
    if not _tested(result) or not result.outcomes.rejected:
        return None
    return result.verdict is not Verdict.VIOLATED


def _client_retries(result: DesignResult) -> bool | None:
    return result.costs.client_retries > 0 if _tested(result) else None


def _loses(result: DesignResult) -> bool | None:
    return _found(result, FindingKind.LOST_UPDATE) if _tested(result) else None


def _is_stopped_by_check(result: DesignResult) -> bool | None:
    if result.parameters.get("check") != "true" or not _tested(result):
        return None
    return any("23514" in reason for reason in result.failures)


def _distributes(result: DesignResult) -> bool | None:
    if "change_events" not in result.counts:
        return None
    return not _found(result, FindingKind.DIVERGENCE) and _no_negative(result)


def _no_negative(result: DesignResult) -> bool:
    balances = [balance for stores in result.final.values() for balance in stores.values()]
    return all(Decimal(balance) >= 0 for balance in balances)


_DATABASE = (
    "db/atomic-update",
    "db/atomic-update-autocommit",
    "db/serializable",
    "db/select-for-update",
)

_RULES: tuple[_Rule, ...] = (
    _Rule(
        "On the bus alone, where each region decides on its own view, both withdrawals pass and the account is"
        " overdrawn.",
        ("bus/regional-deltas", "bus/regional-snapshots"),
        _overdraws,
        "A negative balance cannot stand in a table with CHECK (balance >= 0): it stands in the regions' views.",
    ),
    _Rule(
        "A log cannot keep a single-key rule, because it does not know which update came first.",
        ("bus/single-writer", "bus/log-fold", "bus/shared-table-atomic"),
        lambda result: None if (holds := _holds(result)) is None else not holds,
        "Inside a partition the leader orders the writes of all regions, and one writer or a deterministic fold of"
        " that order keeps the rule. What is missing is an order across partitions and clusters.",
    ),
    _Rule(
        "One predicate UPDATE under READ COMMITTED lets exactly one win; the loser waits and updates no row.",
        ("db/atomic-update", "db/atomic-update-autocommit"),
        _holds_and_rejects,
        "YugabyteDB gives READ COMMITTED only with yb_enable_read_committed_isolation; without it the level is"
        " REPEATABLE READ.",
    ),
    _Rule(
        "Under SERIALIZABLE the loser gets a serialization error, and the application retries.",
        ("db/serializable",),
        _client_retries,
        "Servers differ. PostgreSQL gives 40001 at the winner's COMMIT. YugabyteDB waits, or restarts a first"
        " statement inside the server, and the application sees no error; a conflict in a later statement it does see.",
    ),
    _Rule(
        "SELECT, then an UPDATE with the new balance, loses updates.",
        ("db/select-then-update", "bus/shared-table"),
        _loses,
        "Only where two transactions come between each other's SELECT and UPDATE; a run without it proves nothing.",
    ),
    _Rule(
        "SELECT, then an UPDATE with the difference, is stopped by the table's CHECK with 23514.",
        ("db/select-then-decrement",),
        _is_stopped_by_check,
        "Without a CHECK the same statements overdraw the account; nothing is lost, the rule is just not checked.",
    ),
    _Rule(
        "FOR UPDATE cures the race of SELECT and UPDATE.",
        ("db/select-for-update",),
        _holds,
        "The row stays locked while the application thinks: the ceiling of a hot key falls with the think time.",
    ),
    _Rule(
        "Let the database arbitrate: with one order per key, agreed between the regions, nothing is overdrawn or lost.",
        _DATABASE,
        _holds,
        "The order is agreed per tablet, by one leader; row locks and intents at that leader arbitrate, not the key"
        " itself. The price is WAN trips: see the cost of safety.",
    ),
    _Rule(
        "Two databases that are linked asynchronously do not arbitrate: the last writer wins, and a write is lost.",
        ("db/active-active",),
        _breaks,
        "Each of the two is a correct database. What fails is the agreement between them.",
    ),
    _Rule(
        "Let Kafka distribute: the change stream brings the committed truth to every region, and only that.",
        ("db/atomic-update", "db/serializable", "db/select-for-update", "db/atomic-update-autocommit"),
        _distributes,
        "Delivery is at least once and in order per key: a reader drops what it has seen by LSN, can see a transfer"
        " half-way, and is behind.",
    ),
    _Rule(
        "Deciding on a read model is the trap again.",
        ("db/read-model",),
        lambda result: (
            None
            if not _tested(result)
            else _found(result, FindingKind.OVERDRAFT) or result.parameters.get("check") == "true" or None
        ),
        "The table's CHECK is what stops it, where there is one.",
    ),
)
