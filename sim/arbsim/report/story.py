"""The words of an explanation: who acts, what happens in a step, the proof, and what the twin did otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from arbsim.document import OperationRow
from arbsim.explanation import Decision, ExplainedLane, ExplainedStep, Explanation, Side, Unseen
from arbsim.model import Fate, FindingKind, Kind
from arbsim.report import words
from arbsim.report.words import clean
from arbsim.results import DesignResult, Results, Witness
from arbsim.steps import StepKind

MARKS = {"stale-read": "stale read", "decision": "decision", "refusal": "refusal"}


BALANCES = (StepKind.READ, StepKind.EXECUTED, StepKind.WROTE, StepKind.ADOPTED)
"""The steps in which a balance is read or changes."""


# -- steps ---------------------------------------------------------------------------------------------


def actor(lane: ExplainedLane) -> str:
    """Who or what acts, without its region: "client", "commands-0", "account 1"."""
    return clean(lane.name)


def place(side: Side, lane_id: str | None) -> str:
    """A lane in words: "the west service", "commands-0 in west", "the row of account 1 in east"."""
    where = next((one for one in side.lanes if one.id == lane_id), None)
    if where is None:
        return "nowhere"
    region, name = clean(where.region), clean(where.name)
    return {
        "client": f"the {region} client",
        "service": f"the {region} service",
        "log": f"{name} in {region}",
        "row": f"the row of {name} in {region}",
    }[where.kind]


def lane(side: Side, lane_id: str) -> ExplainedLane:
    """The lane of this id."""
    return next(one for one in side.lanes if one.id == lane_id)


def believers(side: Side) -> list[str]:
    """The regions whose beliefs are known, in the order of their lanes."""
    known = {*side.opening, *(region for step in side.steps for region in step.believed)}
    return [region for region in dict.fromkeys(one.region for one in side.lanes) if region in known]


def short_statement(statement: str | None) -> str:
    """The words of a statement that tell it from others: "SELECT FOR UPDATE", "UPDATE"."""
    text = " ".join((statement or "").split())
    verb = clean(text.partition(" ")[0].upper())
    for lock in ("FOR UPDATE", "FOR SHARE", "FOR NO KEY UPDATE", "FOR KEY SHARE"):
        if verb == "SELECT" and text.upper().endswith(lock):
            return f"SELECT {lock}"
    return verb


def action(explanation: Explanation, side: Side, step: ExplainedStep) -> str:
    """What happens in a step, as a sentence without subject and point."""
    return _ACTIONS[step.kind](explanation, side, step)


def version(number: int | None) -> str:
    """Which version of a balance it is."""
    return "the opening balance" if not number else f"written by op {number}"


def _invoked(explanation: Explanation, side: Side, step: ExplainedStep) -> str:
    return f"begins op {step.operation}: {_intent(_operation(explanation, step.operation))}"


def _appended(explanation: Explanation, side: Side, step: ExplainedStep) -> str:
    return f"appends op {step.operation} at offset {step.offset}"


def _delivered(explanation: Explanation, side: Side, step: ExplainedStep) -> str:
    if step.source is None:
        return f"receives op {step.operation}"
    if lane(side, step.source).kind == "row":
        return f"receives op {step.operation}'s change through {clean(step.via or '')}"
    copied = f", through its copy {clean(step.via)}" if step.via else ""
    return f"receives op {step.operation} from {place(side, step.source)}{copied}"


def _covers(explanation: Explanation, step: ExplainedStep) -> str:
    """What follows from the balance at a decision."""
    op = _operation(explanation, step.operation)
    verb = "accepts" if step.allows else "rejects"
    if op.kind in (Kind.DEPOSIT, Kind.READ) or step.balance is None:
        return verb
    covers = "covers" if step.allows else "does not cover"
    return f"which {covers} {op.amount}: {verb}"


def _read(explanation: Explanation, side: Side, step: ExplainedStep) -> str:
    return f"reads {step.balance} ({version(step.version)}), {_covers(explanation, step)}"


def _blocked(explanation: Explanation, side: Side, step: ExplainedStep) -> str:
    return f"{short_statement(step.statement)} of op {step.operation} waits for op {step.blocker}"


def _executed(explanation: Explanation, side: Side, step: ExplainedStep) -> str:
    after = f", after the wait for op {step.blocker}," if step.blocker else ""
    verb = f"{short_statement(step.statement)} of op {step.operation}{after}"
    if step.balance is None:
        return f"{verb} finds no row"
    if short_statement(step.statement).startswith("SELECT"):
        return f"{verb} reads {step.balance} ({version(step.version)})"
    holds = f"{verb} finds {step.balance} ({version(step.version)})"
    if step.allows is None:
        return holds
    return f"{holds}: the predicate is {'true' if step.rows else 'false, and no row is written'}"


def _decided(explanation: Explanation, side: Side, step: ExplainedStep) -> str:
    return f"decides op {step.operation} on {step.balance}, {_covers(explanation, step)}"


def _wrote(explanation: Explanation, side: Side, step: ExplainedStep) -> str:
    return f"{'commits' if lane(side, step.lane).kind == 'row' else 'keeps'} {step.balance} (op {step.operation})"


def _answered(explanation: Explanation, side: Side, step: ExplainedStep) -> str:
    return f"knows: op {step.operation} {step.fate.value if step.fate else 'open'}"


_ACTIONS = {
    StepKind.INVOKED: _invoked,
    StepKind.APPENDED: _appended,
    StepKind.DELIVERED: _delivered,
    StepKind.READ: _read,
    StepKind.BLOCKED: _blocked,
    StepKind.EXECUTED: _executed,
    StepKind.REFUSED: lambda explanation, side, step: (
        f"op {step.operation} ends in error {clean(step.error or '')}"
    ),
    StepKind.RETURNED: lambda explanation, side, step: f"has the answer for op {step.operation}",
    StepKind.DECIDED: _decided,
    StepKind.WROTE: _wrote,
    StepKind.ADOPTED: lambda explanation, side, step: f"takes over {step.balance} (op {step.operation})",
    StepKind.SUPERSEDED: (
        lambda explanation, side, step: f"drops op {step.operation}'s {step.balance}: a later writer has won"
    ),
    StepKind.ROLLED_BACK: lambda explanation, side, step: f"rolls op {step.operation} back",
    StepKind.ANSWERED: _answered,
}


def message(explanation: Explanation, side: Side, step: ExplainedStep) -> str:
    """What a message carries, in a few words."""
    lanes = {one.id: one for one in side.lanes}
    source = lanes[step.source].kind if step.source in lanes else ""
    op = f"op {step.operation}"
    if step.kind is StepKind.ANSWERED:
        return f"{op} {step.fate.value if step.fate else 'open'}"
    if step.kind is StepKind.APPENDED:
        return (
            f"{op}: {_intent(_operation(explanation, step.operation))}"
            if source == "client"
            else f"{op}'s effect"
        )
    if step.kind is StepKind.DELIVERED:
        return f"{op}, offset {step.offset}" if step.via is None else f"{op} via {clean(step.via)}"
    if step.kind in (StepKind.EXECUTED, StepKind.BLOCKED):
        return f"{op}: {short_statement(step.statement)}"
    if step.kind is StepKind.WROTE:
        return f"{op}: COMMIT"
    return f"{op}: {step.kind.value}"


def _operation(explanation: Explanation, number: int) -> OperationRow:
    return next(one for one in explanation.operations if one.id == number)


def _intent(op: OperationRow) -> str:
    return op.kind.value if op.kind is Kind.READ else f"{op.kind.value} {op.amount}"


# -- the proof -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Proof:
    """What is claimed, what is given, each step with its reason, and what follows."""

    claim: str
    given: tuple[str, ...]
    steps: tuple[str, ...]
    follows: tuple[str, ...]


def proof(results: Results, name: str) -> Proof:
    """Tell the first finding of a violated design in the manner of a proof."""
    result = results.designs[name]
    explanation = result.explanation
    assert explanation is not None
    return Proof(
        _claim(name, explanation),
        tuple(_given(explanation)),
        tuple(_reasons(explanation)),
        tuple(_follows(results, result, explanation)),
    )


def _claim(name: str, explanation: Explanation) -> str:
    account = f"account {explanation.account}"
    told = {
        FindingKind.OVERDRAFT: f"overdraws {account} by {explanation.amount}",
        FindingKind.OVERDRAFT_OWN_ORDER: f"overdraws {account} by {explanation.amount} in its own order",
        FindingKind.LOST_UPDATE: f"loses {explanation.amount} on {account} that it had accepted",
        FindingKind.DUPLICATE_EFFECT: f"lets {explanation.amount} take effect on {account} more than once",
        FindingKind.DIVERGENCE: f"leaves the regions {explanation.amount} apart on {account}",
        FindingKind.CONSERVATION: f"creates or destroys {explanation.amount} in a transfer",
        FindingKind.UNEXPLAINED: f"has {explanation.amount} on {account} that no accepted operation explains",
        FindingKind.STALE_READ: f"answers a read of {account} that misses what was acknowledged before",
    }[explanation.kind]
    return f"{clean(name)} {told}."


def _given(explanation: Explanation) -> Iterator[str]:
    for op in explanation.operations:
        yield f"Let {words.described(op)}, at {op.at_ms:.3f} ms."
    side, account = explanation.broken, explanation.account
    if account is None:
        return
    if not side.earlier:
        every = ", and every region knows it" if side.opening else ""
        yield f"Account {account} holds {explanation.opening}{every}."
        return
    known = ", ".join(f"{clean(region)} knows {balance}" for region, balance in side.opening.items())
    earlier = f"{side.earlier} earlier operation{'' if side.earlier == 1 else 's'}"
    yield f"After {earlier} account {account} holds {side.opening_true}{f' ({known})' if known else ''}."
    if explanation.omitted:
        yield f"{explanation.omitted} more operations of the finding are left out here."


def _reasons(explanation: Explanation) -> Iterator[str]:
    side = explanation.broken
    for one in side.decisions:
        yield _because(side, one)
    decided = {one.operation for one in side.decisions}
    for step in side.steps:
        if step.kind is StepKind.ANSWERED and step.operation not in decided:
            yield (
                f"Op {step.operation} was {step.fate.value if step.fate else 'answered'} at"
                f" {_at(step.number, step.time_ms)}; nothing was read of account {explanation.account} for it."
            )


def _at(step: int | None, time_ms: float | None) -> str:
    time = "" if time_ms is None else f"{time_ms:.3f} ms"
    return time if step is None else f"{time} (step {step})"


def _because(side: Side, one: Decision) -> str:
    """One decision, with its reason."""
    ended = one.fate.value if one.fate else "never answered"
    effect = (
        f", and took effect at {_at(one.effect_step, one.effect_ms)}" if one.effect_ms is not None else ""
    )
    text = (
        f"Op {one.operation} was decided in {clean(one.region)} on {one.believed}, {version(one.version)}, read at"
        f" {_at(one.read_step, one.read_ms)}. It was {ended}{effect}."
    )
    for other in one.unseen:
        text += f" {_had_not_seen(one, other)}"
    if one.waited_for:
        text += f" It had waited for {_ops(one.waited_for)}."
    return text


def _had_not_seen(one: Decision, other: Unseen) -> str:
    begins = f"It had not seen op {other.operation}, which took effect at {_at(other.step, other.time_ms)}"
    if other.time_ms > one.read_ms:
        return f"{begins}: after that read, before this effect. By then {one.true_at_effect} was true."
    if other.arrived_ms is None:
        return f"{begins} and never arrived there. True was {one.true}."
    late = other.arrived_ms - one.read_ms
    arrived = _at(other.arrived_step, other.arrived_ms)
    return f"{begins} and arrived there at {arrived}, {late:.3f} ms too late. True was {one.true}."


def _ops(numbers: Sequence[int]) -> str:
    return " and ".join(f"op {number}" for number in numbers)


def _follows(results: Results, result: DesignResult, explanation: Explanation) -> Iterator[str]:
    """The contradiction, and what the final balances show of it."""
    side, account = explanation.broken, explanation.account
    unseen = {one.operation: {other.operation for other in one.unseen} for one in side.decisions}
    if len(side.decisions) == 2 and any(unseen.values()):
        yield "Neither decision had seen the other."
    if explanation.kind in (FindingKind.OVERDRAFT, FindingKind.OVERDRAFT_OWN_ORDER):
        yield from _short(explanation)
    else:
        witness = Witness(
            operations=explanation.witness,
            account=account,
            amount=explanation.amount,
            store=explanation.store,
        )
        told = words.sentence(results, explanation.kind, witness)
        yield f"{told[:1].upper()}{told[1:]}."
        yield "Every accepted operation must be in the balance, once and everywhere: a contradiction."
    yield from _at_the_end(results, result, explanation)


def _at_the_end(results: Results, result: DesignResult, explanation: Explanation) -> Iterator[str]:
    """What became of the operations in the final balances, for stores that tell the same together."""
    shown = {op.id for op in explanation.operations}
    told: dict[str, list[str]] = {}
    for row in result.differences:
        causes = [one for one in row.causes if one.operation in shown]
        if row.account == explanation.account and causes:
            why = "; ".join(words.cause(results, cause) for cause in causes)
            whole = len(causes) == len(row.causes)
            held = (
                f"is {row.actual} where {row.expected} was accepted: {why}."
                if whole
                else f"is wrong by {why}."
            )
            told.setdefault(held, []).append(clean(row.store))
    for held, stores in told.items():
        yield f"At the end the balance in {', '.join(stores)} {held}"


def _short(explanation: Explanation) -> Iterator[str]:
    side = explanation.broken
    fates = {one.operation: one.fate for one in side.decisions}
    balance, sum_ = Decimal(side.opening_true), side.opening_true
    for op in explanation.operations:
        if fates.get(op.id) is Fate.ACCEPTED and op.amount != "0.00":
            gains = op.kind is Kind.DEPOSIT or op.to_account == explanation.account
            balance += Decimal(op.amount) if gains else -Decimal(op.amount)
            sum_ += f" {'+' if gains else '-'} {op.amount}"
    if balance < 0:
        yield f"All were accepted: {sum_} = {balance}."
    order = (
        "No order of these operations, if one that was answered comes before one that began later, keeps"
        if explanation.kind is FindingKind.OVERDRAFT
        else "The order that the design itself gave to these operations does not keep"
    )
    yield (
        f"{order} account {explanation.account} at or above 0.00. The rule says that it stays there: a contradiction."
    )


# -- the twin ------------------------------------------------------------------------------------------


def saved(explanation: Explanation) -> str:
    """What the twin did otherwise: who was stopped, at which step, by what."""
    side = explanation.twin
    assert side is not None
    if side.stopped is not None:
        one = next(one for one in side.decisions if one.operation == side.stopped)
        return (
            f"Op {side.stopped} was stopped at step {side.stopped_step}: {_stopped(explanation, side, one)}"
        )
    shown = {op.id for op in explanation.operations}
    based = [one for one in side.decisions if one.version in shown]
    if based:
        one = based[-1]
        return (
            f"Nobody had to be refused: op {one.operation} was decided on {one.believed}, {version(one.version)}, at"
            f" {_at(one.read_step, one.read_ms)}, so nothing was overwritten or spent twice."
        )
    return "Here every accepted operation took effect, once and everywhere."


def _stopped(explanation: Explanation, side: Side, one: Decision) -> str:
    step = next((step for step in side.steps if step.number == side.stopped_step), None)
    waited = f"it had waited for {_ops(one.waited_for)}; then " if one.waited_for else ""
    order = _one_order(side)
    if step is None:
        return f"{waited}{one.fate.value if one.fate else 'refused'} ({clean(one.reason)})."
    if step.kind is StepKind.REFUSED:
        return f"{waited}the database answered {clean(step.error or '')} ({clean(one.reason)})."
    amount = _operation(explanation, one.operation).amount
    if step.kind is StepKind.EXECUTED:
        return (
            f"{waited}its {short_statement(step.statement)} checked the rule on {one.believed}, {version(one.version)},"
            f" and matched no row, because that does not cover {amount}."
        )
    read = f" (read at step {one.read_step})" if one.read_step != step.number else ""
    return (
        f"{order}{waited}{place(side, step.lane)} decided it on {one.believed}, {version(one.version)}{read}, which"
        f" does not cover {amount}."
    )


def _one_order(side: Side) -> str:
    """Whether the operations stood one behind the other in one partition."""
    stood = {
        step.operation: step
        for step in side.steps
        if step.kind is StepKind.APPENDED and side.stopped is not None
    }
    if len({step.lane for step in stood.values()}) != 1 or len(stood) < 2:
        return ""
    log = next(iter(stood.values())).lane
    places = sorted((step.offset or 0, step.operation) for step in stood.values())
    told = ", ".join(f"op {operation} at offset {offset}" for offset, operation in places)
    return f"{place(side, log)} gave all of them one order ({told}); "
