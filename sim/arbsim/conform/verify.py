"""What a server gives for each isolation level that is asked for: claimed beside observed, in words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Literal

from pydantic import Field

from arbsim.document import Part

from .cases import LEVELS, RC, RR, SER, Case, Observed
from .probes import PROBES, Probe, Seen
from .results import SCHEMA_VERSION, Target

Play = Callable[[Case], Awaitable[Observed]]


class Cell(Part):
    """One anomaly at one level."""

    anomaly: str
    name: str
    claimed: Literal["stopped", "possible"]
    observed: Literal["stopped", "possible"]
    how: str = Field(default="", description="how it was stopped: waits, an SQLSTATE, or what was read")

    @property
    def broken(self) -> bool:
        """Whether it is possible although the level claims to stop it."""
        return self.claimed == "stopped" != self.observed


class LevelFacts(Part):
    """One level: what the server makes of its name."""

    requested: str
    reported: str = Field(description="what SHOW transaction_isolation says in such a transaction")
    gives: str = Field(description="the level that the anomalies amount to")
    cells: tuple[Cell, ...]
    warnings: tuple[str, ...] = ()


class VerifyResults(Part):
    """All levels of one server."""

    schema_version: Literal[1] = SCHEMA_VERSION
    target: Target
    levels: tuple[LevelFacts, ...]
    exit_code: int = Field(description="1: an anomaly is possible that a level claims to stop; 0: none is")


async def verify(
    target: Target, yugabyte: bool, play: Play, told: Callable[[str], None] = lambda code: None
) -> VerifyResults:
    """Try every anomaly at every level, each in its own small table."""
    levels = []
    for level in LEVELS:
        reported = await _reported(level, play)
        cells = []
        for probe in PROBES:
            cells.append(await _cell(probe, level, play))
            told(f"{level} {probe.code}")
        levels.append(_facts(level, reported, tuple(cells), yugabyte))
    broken = any(cell.broken for level in levels for cell in level.cells)
    return VerifyResults(target=target, levels=tuple(levels), exit_code=1 if broken else 0)


async def _reported(level: str, play: Play) -> str:
    probe = Probe("", "", ("T1: show transaction_isolation", "T1: commit"), lambda seen: False, level)
    shown = (await play(probe.case(level))).steps[1].rows
    return str(shown[0][0]) if shown else "nothing"


async def _cell(probe: Probe, level: str, play: Play) -> Cell:
    case = probe.case(level)
    seen = Seen(case, await play(case))
    happened = probe.happened(seen)
    return Cell(
        anomaly=probe.code,
        name=probe.name,
        claimed="stopped" if probe.claimed(level) else "possible",
        observed="possible" if happened else "stopped",
        how="" if happened else _how(seen),
    )


def _how(seen: Seen) -> str:
    errors = [answer.error for answer in seen.observed.steps if answer.error not in (None, "25P02")]
    if errors:
        return str(errors[0])
    return "waits" if any(answer.blocks for answer in seen.observed.steps) else "what is read"


def _facts(level: str, reported: str, cells: tuple[Cell, ...], yugabyte: bool) -> LevelFacts:
    open_ones = {cell.anomaly for cell in cells if cell.observed == "possible"}
    gives = level_of(open_ones)
    return LevelFacts(
        requested=level,
        reported=reported,
        gives=gives,
        cells=cells,
        warnings=tuple(_warnings(level, reported, gives, cells, yugabyte)),
    )


def level_of(possible: set[str]) -> str:
    """The isolation level that a set of possible anomalies amounts to."""
    if possible & {"G0", "G1a", "G1b", "G1c", "OTV"}:
        return f"less than {RC}"
    if possible & {"PMP", "P4", "G-single"}:
        return RC
    return _SNAPSHOT if possible else f"{SER}, as far as these anomalies show"


_SNAPSHOT = "snapshot isolation"
_EXPECTED = {RC: RC, RR: _SNAPSHOT, SER: SER}


def _warnings(
    level: str, reported: str, gives: str, cells: tuple[Cell, ...], yugabyte: bool
) -> Iterator[str]:
    name = level.upper()
    broken = [cell.anomaly for cell in cells if cell.broken]
    if broken:
        yield f"{name} does not stop {', '.join(broken)}, which it claims to stop: it gives {gives}."
    elif not gives.startswith(_EXPECTED[level]):
        yield f"{name} is silently another level here: it gives {gives}."
        if yugabyte and level == RC:
            yield (
                "YugabyteDB maps READ COMMITTED to snapshot isolation unless its flag "
                "yb_enable_read_committed_isolation is true: expect 40001 where READ COMMITTED would wait and go on."
            )
    if reported != level:
        yield f'asked for {name}, the server says "{reported}".'


def render(results: VerifyResults) -> str:
    """For people: a sentence for each level, the table, what the codes mean."""
    lines = [f"On {results.target.version}", f"Blocked: {results.target.blocked}.", ""]
    for level in results.levels:
        lines.append(f"{level.requested.upper()} gives {level.gives}.")
        lines += [f"  ! {warning}" for warning in level.warnings]
    lines += ["", *_table(results), ""]
    lines += [f" {probe.code:8}  {probe.name}" for probe in PROBES]
    if results.exit_code:
        lines += ["", "Exit status 1: a level lets happen what it claims to stop."]
    return "\n".join(lines)


def _table(results: VerifyResults) -> Iterator[str]:
    yield (" " * 10 + "".join(f" {level.requested.upper():23}" for level in results.levels)).rstrip()
    yield (" " * 10 + " claimed   observed     " * len(results.levels)).rstrip()
    for rows in zip(*(level.cells for level in results.levels), strict=True):
        texts = [f" {cell.claimed:9} {_observed(cell):13}" for cell in rows]
        yield f" {rows[0].anomaly:9}{''.join(texts)}".rstrip()


def _observed(cell: Cell) -> str:
    """An anomaly that is possible although the level claims to stop it stands out."""
    if cell.observed == "possible":
        return "x POSSIBLE" if cell.broken else "possible"
    return {"what is read": "stopped", "waits": "by waiting"}.get(cell.how, f"by {cell.how}")
