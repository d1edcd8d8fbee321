"""The operations through one design, as the document has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from arbsim.audit.costs import ms
from arbsim.audit.explain.account import AccountFacts, Asked
from arbsim.audit.explain.story import Story, Told, is_read, story_of
from arbsim.audit.judge import money
from arbsim.explanation import Decision, ExplainedLane, ExplainedStep, Mark, Side, Unseen
from arbsim.history import History
from arbsim.model import Cents, Fate, Verdict
from arbsim.steps import Lane, Step, StepKind

_EFFECTS = (StepKind.WROTE, StepKind.ADOPTED, StepKind.SUPERSEDED)


def _is_learnt(told: Told) -> bool:
    """Whether somebody decides by this balance from now on; what an UPDATE finds in a row it does not tell."""
    if told.step.kind is StepKind.EXECUTED:
        return told.decides or not told.step.writes
    return told.step.kind in (StepKind.READ, StepKind.WROTE, StepKind.ADOPTED)


def explained_side(history: History, verdict: Verdict, asked: Asked, steps: Sequence[Step]) -> Side:
    """Put recorded steps and the history together."""
    facts = AccountFacts(history, asked.account)
    story = story_of(facts, steps, asked.operations, asked.witness.store)
    begun_ns = min((one.step.time_ns for one in story.told), default=0)
    balances = _Balances(facts, story, begun_ns)
    opening, opening_true = dict(balances.believed), balances.true
    explained = [balances.explained(number, one) for number, one in enumerate(story.told, start=1)]
    decisions = tuple(_decisions(facts, story, asked.operations))
    stopped = next((one for one in decisions if one.fate in (Fate.REJECTED, Fate.FAILED)), None)
    return Side(
        design=history.card.name,
        verdict=verdict,
        opening={region: money(cents) for region, cents in opening.items()},
        opening_true=money(opening_true),
        earlier=facts.earlier_than(begun_ns, asked.operations),
        lanes=tuple(_lanes(story)),
        steps=tuple(_marked(explained, decisions)),
        decisions=decisions,
        final={
            store: money(finals[asked.account])
            for store, finals in history.finals.items()
            if asked.account in finals
        },
        stopped=stopped.operation if stopped else None,
        stopped_step=_stopped_step(explained, stopped) if stopped else None,
    )


def _lane_id(lane: Lane) -> str:
    return f"{lane.region}/{lane.name}"


def _lanes(story: Story) -> Iterator[ExplainedLane]:
    """Lanes by region; regions, and lanes of a region, in the order in which they come in."""
    seen: dict[Lane, None] = {}
    for one in story.told:
        for lane in (one.step.source, one.step.lane):
            if lane is not None:
                seen.setdefault(lane)
    regions = list(dict.fromkeys(lane.region for lane in seen))
    for lane in sorted(seen, key=lambda lane: regions.index(lane.region)):
        assert lane.kind != "carrier"
        yield ExplainedLane(id=_lane_id(lane), kind=lane.kind, region=lane.region, name=lane.name)


class _Balances:
    """Follows, step by step, what each region believes of the account, and what is true."""

    def __init__(self, facts: AccountFacts, story: Story, begun_ns: int) -> None:
        self._facts = facts
        self._story = story
        self._row = -1
        reads = (facts.read_of(one.step.operation) for one in story.told)
        decided_on = {read.store for read in reads if read is not None}
        services = {one.step.lane.region for one in story.told if one.step.lane.kind == "service"}
        # Where nobody decides by the views that services keep, they are nobody's belief.
        self._views: set[str] = services & set(facts.history.stores) if decided_on & services else set()
        self._asks_rows = bool(decided_on - services)
        shown = {one.step.row for one in story.told if one.step.kind in _EFFECTS}
        self._others = [one for one in facts.effects if one.store in self._views and one.row not in shown]
        self.believed: dict[str, Cents] = dict.fromkeys(sorted(self._views), facts.opening_cents)
        self._pass_by(begun_ns)
        self.true = facts.true_at(begun_ns, -2)

    def _pass_by(self, time_ns: int) -> None:
        """Take in what other operations changed in a service's view before a time."""
        while self._others and self._others[0].time_ns < time_ns:
            effect = self._others.pop(0)
            self.believed[effect.store] = effect.after_cents

    def explained(self, number: int, told: Told) -> ExplainedStep:
        """The step as the document has it, with what changes by it."""
        step, facts = told.step, self._facts
        before = dict(self.believed)
        self._pass_by(step.time_ns)
        region = self._believer(step)
        if region is not None and step.balance_cents is not None and _is_learnt(told):
            self.believed[region] = step.balance_cents
        if step.kind is StepKind.WROTE and step.row is not None:
            self._row = max(self._row, step.row)
        true = facts.true_at(step.time_ns, self._row)
        changed = true != self.true
        self.true = true
        fate = facts.history.fate(step.operation)
        is_version = (
            step.kind in (StepKind.READ, StepKind.EXECUTED, StepKind.DECIDED) and step.row is not None
        )
        return ExplainedStep(
            number=number,
            time_ms=ms(step.time_ns),
            kind=step.kind,
            operation=step.operation,
            lane=_lane_id(step.lane),
            source=None if step.source is None else _lane_id(step.source),
            sent_ms=None if step.sent_ns is None else ms(step.sent_ns),
            via=told.via,
            offset=step.offset,
            statement=step.text or None if step.kind in (StepKind.BLOCKED, StepKind.EXECUTED) else None,
            rows=step.rows,
            error=step.text if step.kind is StepKind.REFUSED else None,
            blocker=step.blocker,
            fate=fate if told.decides or step.kind is StepKind.ANSWERED else None,
            allows=self._allows(step, fate) if told.decides else None,
            balance=None if step.balance_cents is None else money(step.balance_cents),
            version=facts.author_of(step.row) if is_version and step.row is not None else None,
            marks=("decision",) if told.decides else (),
            believed={
                region: money(cents) for region, cents in self.believed.items() if before.get(region) != cents
            },
            true=money(true) if changed else None,
        )

    def _believer(self, step: Step) -> str | None:
        """The region whose decider learns of the balance: where the service is, or who had sent the statement."""
        if step.lane.kind == "service":
            return step.lane.region if step.lane.region in self._views else None
        decider = self._story.decided_by.get(step.operation)
        if decider is None or not self._asks_rows or step.kind is StepKind.ADOPTED:
            return None
        return decider.region

    @staticmethod
    def _allows(step: Step, fate: Fate | None) -> bool:
        return step.rows != 0 if step.writes else fate is not Fate.REJECTED


def _number(story: Story, wanted: Step | None) -> int | None:
    if wanted is None:
        return None
    return next((number for number, one in enumerate(story.told, start=1) if one.step is wanted), None)


def _decisions(facts: AccountFacts, story: Story, operations: Sequence[int]) -> Iterator[Decision]:
    """What each operation was decided on, in the order of the decisions."""
    found = []
    for operation in operations:
        read, own = facts.read_of(operation), facts.first.get(operation)
        answer = facts.history.answer_of(operation)
        if read is None:
            continue
        decided = next(
            (one.step for one in story.told if one.decides and one.step.operation == operation), None
        )
        looked = next((one.step for one in story.told if is_read(one.step, operation, read)), None)
        lane = story.decided_by.get(operation)
        waits = (one.blocker for one in facts.history.waits() if one.operation == operation)
        found.append(
            (
                decided.time_ns if decided else read.time_ns,
                Decision(
                    operation=operation,
                    store=read.store,
                    region=lane.region if lane is not None else facts.history.workload[operation].region,
                    read_step=_number(story, looked),
                    read_ms=ms(read.time_ns),
                    version=facts.author_of(read.effect),
                    believed=money(read.balance_cents),
                    true=money(facts.true_at(read.time_ns, read.effect)),
                    decided_step=_number(story, decided),
                    effect_step=_number(story, _effect_step(story, None if own is None else own.row)),
                    effect_ms=None if own is None else ms(own.time_ns),
                    true_at_effect=None if own is None else money(facts.true_at(own.time_ns, own.row - 1)),
                    unseen=tuple(_unseen(facts, story, operation, read.store)),
                    waited_for=tuple(dict.fromkeys(waits)),
                    fate=answer.fate,
                    reason=answer.reason,
                ),
            )
        )
    yield from (decision for _, decision in sorted(found, key=lambda pair: (pair[0], pair[1].operation)))


def _unseen(facts: AccountFacts, story: Story, operation: int, store: str) -> Iterator[Unseen]:
    shown = {one.step.operation for one in story.told}
    for other in facts.unseen_by(operation):
        if other in shown:
            first, arrived = facts.first[other], facts.arrived(other, store)
            yield Unseen(
                operation=other,
                step=_number(story, _effect_step(story, first.row)),
                time_ms=ms(first.time_ns),
                arrived_step=_number(story, _effect_step(story, arrived.row)) if arrived else None,
                arrived_ms=ms(arrived.time_ns) if arrived else None,
            )


def _effect_step(story: Story, row: int | None) -> Step | None:
    if row is None:
        return None
    return next((one.step for one in story.told if one.step.row == row and one.step.kind in _EFFECTS), None)


def _marked(steps: list[ExplainedStep], decisions: Sequence[Decision]) -> Iterator[ExplainedStep]:
    """Mark the reads that were, or had become, stale when somebody acted on them, and who was refused."""
    stale = {
        one.read_step
        for one in decisions
        if one.believed != one.true
        or (one.fate is Fate.ACCEPTED and one.true_at_effect not in (None, one.believed))
    }
    refusals = {_stopped_step(steps, one) for one in decisions if one.fate in (Fate.REJECTED, Fate.FAILED)}
    for step in steps:
        marks: list[Mark] = ["stale-read"] if step.number in stale else []
        marks += step.marks
        if step.number in refusals:
            marks.append("refusal")
        yield step.model_copy(update={"marks": tuple(marks)}) if tuple(marks) != step.marks else step


def _stopped_step(steps: Sequence[ExplainedStep], decision: Decision) -> int | None:
    """Where an operation was refused: at the error that ended it, or where it was decided."""
    errors = [
        one.number for one in steps if one.operation == decision.operation and one.kind is StepKind.REFUSED
    ]
    if decision.fate is Fate.FAILED and errors:
        return errors[-1]
    return decision.decided_step
