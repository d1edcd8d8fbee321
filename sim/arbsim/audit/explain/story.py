"""Turns what a world recorded into a story: what brings nothing to it is left out, or told with its neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from arbsim.audit.explain.account import AccountFacts
from arbsim.history import Read
from arbsim.steps import Lane, Step, StepKind


@dataclass(frozen=True, slots=True)
class Told:
    """A step of a story. ``via``: the partition through which its message came, where that is no lane of its own.

    ``decides``: the operation's decision is made in this step.
    """

    step: Step
    via: str | None = None
    decides: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    """Steps in order of time; ``decided_by`` is the lane that decided an operation."""

    told: tuple[Told, ...]
    decided_by: dict[int, Lane]


def story_of(
    facts: AccountFacts, steps: Sequence[Step], operations: Sequence[int], store: str | None
) -> Story:
    """Tell the recorded steps of some operations, and what became of them in a store where a finding shows."""
    reads = {one: read for one in operations if (read := facts.read_of(one)) is not None}
    told = _through_carriers([Told(step) for step in steps if _is_about(step, facts.account)])
    told = _waits(_answers(_replies(told)))
    decided_by = {one: lane for one in reads if (lane := _decider(told, one, reads[one])) is not None}
    told = _where_it_matters(facts, told, reads, decided_by, operations, store)
    told = _decisions(told, reads, decided_by)
    return Story(tuple(sorted(told, key=lambda one: one.step.time_ns)), decided_by)


def _is_about(step: Step, account: int) -> bool:
    return step.account in (None, account)


def _place(step: Step) -> tuple[Lane, int | None]:
    return step.lane, step.offset


def _through_carriers(told: list[Told]) -> list[Told]:
    """A copy is the same record elsewhere: its reader hears the partition that it was copied from."""
    kept: list[Told] = []
    brought: dict[int, Step] = {}
    copies: dict[tuple[Lane, int | None], tuple[Lane, int]] = {}
    committed: dict[int, Step] = {}
    for one in told:
        step = one.step
        if step.lane.kind == "row" and step.kind is StepKind.WROTE:
            committed[step.operation] = step
        if step.lane.kind == "carrier":
            brought[step.operation] = step
        elif step.kind is StepKind.APPENDED and step.source is not None and step.source.kind == "carrier":
            origin = brought.get(step.operation)
            if origin is not None and origin.source is not None and origin.sent_ns is not None:
                copies[_place(step)] = (origin.source, origin.sent_ns)
                first = copies.get((origin.source, origin.offset))
                if first is not None:
                    copies[_place(step)] = first
            elif step.operation in committed:  # a connector that follows the commits
                commit = committed[step.operation]
                copies[_place(step)] = (commit.lane, commit.time_ns)
        elif step.source is not None and (step.source, step.offset) in copies:
            source, sent_ns = copies[step.source, step.offset]
            kept.append(Told(replace(step, source=source, sent_ns=sent_ns), via=step.source.name))
        else:
            kept.append(one)
    return kept


def _replies(told: list[Told]) -> list[Told]:
    """A reply topic orders nothing that anybody decides by: its messages go straight to the client."""
    appended = {_place(one.step): one.step for one in told if one.step.kind is StepKind.APPENDED}
    passed: set[tuple[Lane, int | None]] = set()
    changed: list[Told] = []
    for one in told:
        step = one.step
        place = (step.source, step.offset)
        if step.kind is StepKind.DELIVERED and step.lane.kind == "client" and place in appended:
            origin = appended[place]
            passed.add(_place(origin))
            changed.append(
                Told(replace(step, source=origin.source, sent_ns=origin.sent_ns), via=origin.lane.name)
            )
        else:
            changed.append(one)
    return [
        one for one in changed if one.step.kind is not StepKind.APPENDED or _place(one.step) not in passed
    ]


def _answers(told: list[Told]) -> list[Told]:
    """What arrives at a client and is the answer that it waits for is one step."""
    kept: list[Told] = []
    for one in told:
        step = one.step
        before = kept[-1].step if kept else None
        if (
            step.kind is StepKind.ANSWERED
            and before is not None
            and before.kind in (StepKind.DELIVERED, StepKind.RETURNED)
            and (before.operation, before.lane, before.time_ns) == (step.operation, step.lane, step.time_ns)
        ):
            via = kept.pop().via
            kept.append(Told(replace(step, source=before.source, sent_ns=before.sent_ns), via=via))
        else:
            kept.append(one)
    return kept


def _waits(told: list[Told]) -> list[Told]:
    """A statement that had to wait is the same one when it goes on."""
    waiting: dict[int, Step] = {}
    changed = []
    for one in told:
        step = one.step
        if step.kind is StepKind.BLOCKED:
            first = waiting.setdefault(step.operation, step)
            step = replace(step, text=first.text)
        elif step.kind is StepKind.EXECUTED and step.operation in waiting:
            first = waiting.pop(step.operation)
            step = replace(step, text=first.text, blocker=step.blocker or first.blocker)
        changed.append(replace(one, step=step))
    return changed


def is_read(step: Step, operation: int, read: Read) -> bool:
    """Whether this step is where the operation read what it was decided on."""
    return (
        step.kind in (StepKind.READ, StepKind.EXECUTED)
        and step.operation == operation
        and (step.time_ns, step.store, step.row) == (read.time_ns, read.store, read.effect)
    )


def _decider(told: Sequence[Told], operation: int, read: Read) -> Lane | None:
    """Who decided: the service that looked it up, or who had sent the statement."""
    source = None
    for one in told:
        step = one.step
        if step.operation == operation and step.kind is StepKind.BLOCKED and step.source is not None:
            source = step.source
        if is_read(step, operation, read):
            return step.lane if step.kind is StepKind.READ else step.source or source
    return None


def _where_it_matters(
    facts: AccountFacts,
    told: Sequence[Told],
    reads: dict[int, Read],
    decided_by: dict[int, Lane],
    operations: Sequence[int],
    store: str | None,
) -> list[Told]:
    """Leave out services that neither decide nor answer, lookups that decide nothing, and records that nobody reads."""
    workload = facts.history.workload
    regions = (
        {workload[one].region for one in operations} | {lane.region for lane in decided_by.values()} | {store}
    )
    kept = []
    looked_up: set[int] = set()
    for one in told:
        step = one.step
        elsewhere = step.lane.region not in regions
        if elsewhere and (
            step.lane.kind == "service" or step.kind in (StepKind.ADOPTED, StepKind.SUPERSEDED)
        ):
            continue
        if step.kind is StepKind.READ:
            read = reads.get(step.operation)
            if read is None or step.operation in looked_up or not is_read(step, step.operation, read):
                continue
            looked_up.add(step.operation)
        kept.append(one)
    heard = {
        (one.step.source, one.step.offset)
        for one in kept
        if one.step.kind is StepKind.DELIVERED and not one.via
    }
    heard |= {(one.step.source, None) for one in kept if one.via is not None}
    return [
        one
        for one in kept
        if one.step.kind is not StepKind.APPENDED
        or _place(one.step) in heard
        or (one.step.lane, None) in heard
    ]


def _decisions(told: list[Told], reads: dict[int, Read], decided_by: dict[int, Lane]) -> list[Told]:
    """Mark where each operation is decided; an application that had asked a database decides when it goes on."""
    for operation, read in reads.items():
        place = next((i for i, one in enumerate(told) if is_read(one.step, operation, read)), None)
        if place is None:
            continue
        step = told[place].step
        if step.kind is StepKind.READ or step.writes:
            told[place] = replace(told[place], decides=True)
            continue
        lane = decided_by.get(operation)
        if lane is None:
            continue
        after, time_ns = place, step.time_ns
        for index in range(place + 1, len(told)):
            following = told[index].step
            if following.operation != operation:
                continue
            if following.kind is StepKind.RETURNED and following.lane == lane:
                after, time_ns = index, following.time_ns
            elif following.source == lane and following.sent_ns is not None:
                time_ns = max(time_ns, following.sent_ns)
                break
            elif following.kind is StepKind.ANSWERED:
                break
        decided = Step(
            StepKind.DECIDED,
            time_ns,
            operation,
            lane,
            account=step.account,
            balance_cents=step.balance_cents,
            store=step.store,
            row=step.row,
        )
        told.insert(after + 1, Told(decided, decides=True))
    return told
