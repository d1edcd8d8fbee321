"""Differential fuzzing: random schedules on the virtual database and on a real PostgreSQL, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .cases import RC, RR, SER, Answer, Case, Observed, expecting
from .differences import Difference, differences
from .model import NotPlayable
from .model import play as play_on_model
from .schedules import Schedule, schedule
from .serial import committed, judgeable, serial_order
from .server import ServerUnreachable
from .shrink import shrink

Play = Callable[[Case], Awaitable[Observed]]
Agreement = Literal["same", "varies", "unsteady", "ssi", "different"]
RUNS = 20
"""How often a schedule is run on the server before the model's answer counts as never seen there."""
CLASSES = (RC, RR, f"{RC} and {RR}", SER, f"mixed with {SER}")
_SSI = "could not serialize access due to read/write dependencies"


@dataclass(frozen=True, slots=True)
class Compared:
    """One schedule, as the model and the server answered it.

    `agreement`: the same; `varies`: the model's answer came in a later run of a schedule in which the server
    itself varies; `unsteady`: it came in a later run of one that should not vary; `ssi`: one side's serializable
    snapshot isolation stopped a transaction where the other's did not; `different`.
    """

    schedule: Schedule
    agreement: Agreement
    server: Observed
    runs: int = 1

    @property
    def level(self) -> str:
        """Which of the CLASSES its sessions' levels make."""
        return class_of(self.schedule.case)


def class_of(case: Case) -> str:
    """Which of the CLASSES a case belongs to."""
    levels = set(case.levels)
    if SER in levels:
        return SER if levels == {SER} else f"mixed with {SER}"
    return levels.pop() if len(levels) == 1 else f"{RC} and {RR}"


async def compare(one: Schedule, play: Play) -> Compared:
    """Run a schedule on the server, again and again where it should vary, and say how the two agree."""
    expected = expecting(one.case, one.observed)
    first = await play(one.case)
    if not differences(expected, first):
        return Compared(one, "same", first)
    for run in range(2, RUNS + 1 if one.observed.raced else 4):
        if not differences(expected, await play(one.case)):
            return Compared(one, "varies" if one.observed.raced else "unsteady", first, run)
    agreement: Agreement = "ssi" if _stopped_by_ssi(differences(expected, first), one, first) else "different"
    return Compared(one, agreement, first, RUNS if one.observed.raced else 3)


def _stopped_by_ssi(found: Sequence[Difference], one: Schedule, server: Observed) -> bool:
    """Whether the first difference is that one side's SSI stopped a transaction."""
    number = found[0].step
    if number is None:
        return False
    return any(
        (answers[number].message or "").startswith(_SSI) for answers in (one.observed.steps, server.steps)
    )


# -- the rules for SERIALIZABLE ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Serializability:
    """What the rules for SERIALIZABLE say of one schedule whose sessions all asked for it.

    `explained`: a serial order gives what the model committed; `hole`: only if ON CONFLICT DO NOTHING counts as
    no read; `needed`: the same statements under REPEATABLE READ have no serial order; `stopped`: the model ended
    a transaction with 40001 or 40P01; `server_stopped`: so did the server; `all_committed`: on the server every
    COMMIT was one.
    """

    explained: bool
    hole: bool
    needed: bool
    stopped: bool
    server_stopped: bool
    all_committed: bool

    @property
    def broken(self) -> str:
        """Which rule the model broke; empty where none."""
        if not self.explained and not self.hole:
            return "the model committed what no serial order explains"
        if self.stopped and self.all_committed:
            return "the model stopped a transaction, and the server let all commit"
        return ""


def serializability(compared: Compared) -> Serializability | None:
    """Judge a schedule by the rules; None where its sessions are not all SERIALIZABLE, or SKIP LOCKED is in it."""
    case, observed = compared.schedule.case, compared.schedule.observed
    if compared.level != SER or not judgeable(committed(case, observed)):
        return None
    explained = serial_order(case, observed) is not None
    hole = not explained and serial_order(case, observed, through_hole=True) is not None
    weaker = [replace(step, sql=step.sql.replace(SER, RR)) for step in case.steps]
    weak = replace(case, steps=weaker)
    under_rr = play_on_model(weak)
    needed = judgeable(committed(weak, under_rr)) and serial_order(weak, under_rr) is None
    server = compared.server.steps
    ends = [answer.tag for step, answer in zip(case.steps, server, strict=True) if step.sql == "commit"]
    return Serializability(
        explained,
        hole,
        needed,
        stopped=_stopped(observed.steps),
        server_stopped=_stopped(server),
        all_committed=all(tag == "COMMIT" for tag in ends) and not _stopped(server),
    )


def _stopped(answers: Sequence[Answer]) -> bool:
    return any(answer.error in ("40001", "40P01") for answer in answers)


# -- many --------------------------------------------------------------------------------------------


async def fuzz(
    seed: int, numbers: Sequence[int], lanes: Sequence[Play], told: Callable[[Compared], None]
) -> None:
    """Compare every schedule, on several connections to the server at a time. `told` hears of each as it ends.

    Raises what stops one of them: NotPlayable or ServerUnreachable.
    """
    left = iter(numbers)

    async def work(play: Play) -> None:
        for number in left:
            told(await compare(schedule(seed, number), play))

    stopped: list[Exception] = []
    try:
        async with asyncio.TaskGroup() as group:
            for play in lanes:
                group.create_task(work(play))
    except* (NotPlayable, ServerUnreachable) as several:
        stopped += several.exceptions
    if stopped:  # raised out here: in there it would become a group again
        raise stopped[0]


async def smallest(one: Case, play: Play) -> Case | None:
    """The smallest case in which the two still differ, with the server's answers as its expectations.

    None where the two do not differ in the case itself: a rule is broken, or the server varies.
    """

    async def differs(candidate: Case) -> Observed | None:
        observed = play_on_model(candidate)
        expected = expecting(candidate, observed)
        server: Observed | None = None
        for _ in range(RUNS if observed.raced else 2):
            server = await play(candidate)
            if not differences(expected, server):
                return None
        return server

    return await shrink(one, differs)
