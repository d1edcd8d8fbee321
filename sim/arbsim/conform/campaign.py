"""A fuzzing campaign: many schedules compared, counted by their levels, and the differences shrunk to cases."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, Literal

from pydantic import Field

from arbsim.document import Part

from .cases import SER, dump_case, expecting
from .fuzz import CLASSES, Compared, Play, Serializability, class_of, fuzz, serializability, smallest
from .model import NotPlayable
from .results import SCHEMA_VERSION, Target
from .server import Server

LANES = 4
"""How many schedules run on the server at a time; most of a schedule's time is waiting for deadlock_timeout."""
MOST_SHRUNK = 20
"""So many differences are shrunk; more of them are counted only."""


class LevelRow(Part):
    """The schedules of one class of levels, by how model and server agree."""

    levels: str
    schedules: int = 0
    same: int = Field(default=0, description="every answer of every step")
    varies: int = Field(
        default=0,
        description="the server itself varies (two or more let go at once), and the model's answer is among those seen",
    )
    unsteady: int = Field(
        default=0, description="should not vary, but the model's answer came in the second or third run only"
    )
    ssi: int = Field(default=0, description="SSI stopped a transaction on one side and not on the other")
    different: int = 0


class SerializableRow(Part):
    """What the rules for SERIALIZABLE say of the schedules whose sessions all asked for it."""

    judged: int = Field(default=0, description="schedules without SKIP LOCKED in a committed transaction")
    explained: int = Field(default=0, description="a serial order gives what the model committed")
    hole: tuple[int, ...] = Field(
        default=(),
        description="schedules that only PostgreSQL's hole explains: ON CONFLICT DO NOTHING is no read",
    )
    needed: int = Field(default=0, description="without a serial order under REPEATABLE READ")
    needed_and_stopped: int = 0
    stopped_by_model: int = Field(default=0, description="schedules with a 40001 or 40P01")
    stopped_by_server: int = 0


class DifferenceFound(Part):
    """A schedule in which something is wrong, as the smallest case that still shows it."""

    schedule: int
    levels: str
    what: str
    case: dict[str, Any] = Field(description="a case file's entry; it expects what the server answered")


class FuzzResults(Part):
    """What a campaign found."""

    schema_version: Literal[1] = SCHEMA_VERSION
    target: Target
    seed: int
    schedules: int
    raced: int = Field(description="schedules in which the server may vary")
    levels: tuple[LevelRow, ...]
    serializable: SerializableRow
    differences: tuple[DifferenceFound, ...]
    not_shrunk: int = Field(default=0, description="further differences, counted only")
    exit_code: int


class Tally:
    """Counts schedules as they come, in any order, and keeps those that are wrong."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.raced = 0
        self.judged: list[tuple[int, Serializability]] = []
        self.wrong: list[tuple[Compared, str]] = []

    def add(self, one: Compared) -> None:
        """Count one schedule."""
        self.counts[one.level, one.agreement] += 1
        self.raced += one.schedule.observed.raced
        verdict = serializability(one)
        broken = verdict.broken if verdict is not None else ""
        if verdict is not None:
            self.judged.append((one.schedule.number, verdict))
        if one.agreement == "different":
            broken = broken or "the answers differ"
        if broken:
            self.wrong.append((one, broken))

    def levels(self) -> tuple[LevelRow, ...]:
        """The counts by class, in the order of CLASSES."""
        rows = []
        for name in CLASSES:
            counts = {agreement: count for (level, agreement), count in self.counts.items() if level == name}
            rows.append(LevelRow(levels=name, schedules=sum(counts.values()), **counts))
        return tuple(rows)

    def serializable(self) -> SerializableRow:
        """What the rules for SERIALIZABLE found."""
        verdicts = [verdict for _, verdict in self.judged]
        needed = [one for one in verdicts if one.needed]
        return SerializableRow(
            judged=len(verdicts),
            explained=sum(one.explained for one in verdicts),
            hole=tuple(sorted(number for number, one in self.judged if one.hole)),
            needed=len(needed),
            needed_and_stopped=sum(one.stopped for one in needed),
            stopped_by_model=sum(one.stopped for one in verdicts),
            stopped_by_server=sum(one.server_stopped for one in verdicts),
        )


async def campaign(dsn: str, seed: int, count: int, told: Callable[[Compared], None]) -> FuzzResults:
    """Compare schedules 0 to `count` of a seed on the server at `dsn`, and shrink what differs.

    Raises ServerUnreachable; NotPlayable where it is no PostgreSQL.
    """
    tally = Tally()

    def heard(one: Compared) -> None:
        tally.add(one)
        told(one)

    async with AsyncExitStack() as stack:
        servers = [Server(dsn) for _ in range(min(LANES, max(1, count)))]
        for server in servers:
            await stack.enter_async_context(server)
            if server.facts.yugabyte:
                raise NotPlayable(
                    f"{server.place} is a YugabyteDB, and random schedules are compared with a PostgreSQL only"
                )
        await fuzz(seed, range(count), [server.play for server in servers], heard)
        wrong = sorted(tally.wrong, key=lambda pair: pair[0].schedule.number)
        found = [await _found(one, what, servers[0].play) for one, what in wrong[:MOST_SHRUNK]]
        facts = servers[0].facts
    return FuzzResults(
        target=Target(kind="server", version=facts.version, blocked=facts.blocked),
        seed=seed,
        schedules=count,
        raced=tally.raced,
        levels=tally.levels(),
        serializable=tally.serializable(),
        differences=tuple(found),
        not_shrunk=len(wrong) - len(found),
        exit_code=1 if wrong else 0,
    )


async def _found(one: Compared, what: str, play: Play) -> DifferenceFound:
    case = await smallest(one.schedule.case, play)
    if case is None:
        case, what = expecting(one.schedule.case, one.server), f"{what}; not shrunk"
    return DifferenceFound(
        schedule=one.schedule.number, levels=class_of(case), what=what, case=dump_case(case)
    )


def render(results: FuzzResults) -> str:
    """The campaign for people: a table by level, the rules for SERIALIZABLE, the differences as a case file."""
    lines = [
        f"On {results.target.version}",
        f"Blocked: {results.target.blocked}.",
        "",
        f"{results.schedules:,} random schedules of seed {results.seed}, on the virtual database and on the server:",
        "",
        *_table(results.levels),
        "",
        *_serializable(results),
    ]
    if results.differences:
        lines += ["", *_differences(results)]
        lines += ["", f"Exit status {results.exit_code}: the virtual database and the server differ."]
    return "\n".join(lines)


def _table(rows: Sequence[LevelRow]) -> Iterator[str]:
    width = max(len(row.levels) for row in rows)
    heads = ("schedules", "same", "varies", "unsteady", "ssi", "different")
    yield "  ".join([f" {'levels':{width}}", *heads])
    for row in rows:
        numbers = [f"{getattr(row, head):>{len(head)},}" for head in heads]
        yield "  ".join([f" {row.levels:{width}}", *numbers])


def _serializable(results: FuzzResults) -> Iterator[str]:
    row = results.serializable
    yield "varies: two or more sessions are let go at once there, so that PostgreSQL itself varies from run to run;"
    yield f"    the model's answer is among those seen. In all, {results.raced:,} schedules have such a step."
    yield "unsteady: one that should not vary; the model's answer came in the second or third run."
    yield "ssi: serializable snapshot isolation stopped a transaction on one side and not on the other."
    yield ""
    yield f"Of {row.judged:,} schedules that are all {SER.upper()}:"
    yield f"    {row.explained:,} have a serial order that explains what the model committed"
    yield f"    {len(row.hole):,} more have one only if ON CONFLICT DO NOTHING is no read (PostgreSQL's hole)"
    yield f"    {row.needed:,} have none under REPEATABLE READ; the model stopped {row.needed_and_stopped:,} of them"
    yield f"    {row.stopped_by_model:,} were stopped by the model, {row.stopped_by_server:,} by the server"


def _differences(results: FuzzResults) -> Iterator[str]:
    more = f", and {results.not_shrunk} more" if results.not_shrunk else ""
    yield f"Differences ({len(results.differences)}{more}), as a case file that expects the server's answers:"
    yield ""
    cases = [{**one.case, "note": f"{one.what} (schedule {one.schedule})"} for one in results.differences]
    yield json.dumps({"cases": cases}, indent=1)
