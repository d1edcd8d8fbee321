"""The space-time diagram of an explanation: where everything stands. The page draws it as SVG.

Time runs down. A message runs from where and when it was sent to where and when it arrived, so its slant is its delay.
Order is exact; distances are not: gaps in which nothing happens are pressed together, and steps of one instant stand
below each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from arbsim.explanation import ExplainedStep, Explanation, Side
from arbsim.report import story
from arbsim.report.words import clean
from arbsim.steps import StepKind

LEFT, RIGHT, TOP, NARROW, WIDE = 76, 236, 66, 84, 128
ROW, SAME_INSTANT, WIDEST_GAP = 27, 23, 60
_LONGEST_LANE = 17


@dataclass(frozen=True, slots=True)
class Column:
    """One lane: a line from top to bottom below its name."""

    x: float
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Band:
    """The lanes of one region: its name over them."""

    x: float
    width: float
    name: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One step: where it stands, how its message runs (as the data of an SVG path), its shape, and a few words.

    ``operation`` counts from 0 in the explanation's order; it gives colour and dashes, with the name of the operation
    on the message. ``shape`` is "step", "decision", "stale" or "refusal".
    """

    number: int
    x: float
    y: float
    operation: int
    path: str
    name: str
    name_x: float
    name_y: float
    shape: str
    label: str


@dataclass(frozen=True, slots=True)
class Diagram:
    """A picture of one side. ``times`` are (y, label) down the left edge."""

    width: int
    height: int
    columns: tuple[Column, ...]
    bands: tuple[Band, ...]
    times: tuple[tuple[float, str], ...]
    marks: tuple[Mark, ...]


def diagram_of(explanation: Explanation, side: Side) -> Diagram:
    """Lay out one side of an explanation."""
    step_width = max(NARROW, min(WIDE, 800 // max(1, len(side.lanes))))
    xs = {lane.id: LEFT + step_width * (place + 0.5) for place, lane in enumerate(side.lanes)}
    ys = _rows(side.steps)
    numbers = {op.id: place for place, op in enumerate(explanation.operations)}
    marks = tuple(
        _mark(explanation, side, step, xs, ys, numbers.get(step.operation, 0)) for step in side.steps
    )
    bottom = max(ys.values(), default=TOP) + 24
    return Diagram(
        LEFT + step_width * len(side.lanes) + RIGHT,
        bottom,
        tuple(Column(xs[lane.id], lane.kind, _fit(clean(lane.name))) for lane in side.lanes),
        tuple(_bands(side, step_width)),
        tuple(_times(side.steps, ys)),
        marks,
    )


def _fit(name: str) -> str:
    return name if len(name) <= _LONGEST_LANE else name[: _LONGEST_LANE - 1] + "…"


def _bands(side: Side, step_width: int) -> Iterator[Band]:
    start = 0
    for place, lane in enumerate(side.lanes, start=1):
        if place == len(side.lanes) or side.lanes[place].region != lane.region:
            yield Band(LEFT + start * step_width + 3, (place - start) * step_width - 6, clean(lane.region))
            start = place


def _rows(steps: Sequence[ExplainedStep]) -> dict[int, int]:
    """How far down each step stands."""
    ys: dict[int, int] = {}
    y, before = TOP + 12, None
    for step in steps:
        if before is not None:
            gap_ms = step.time_ms - before
            y += SAME_INSTANT if gap_ms <= 0 else min(WIDEST_GAP, ROW + round(9 * math.log10(1 + gap_ms)))
        ys[step.number] = y
        before = step.time_ms
    return ys


def _times(steps: Sequence[ExplainedStep], ys: dict[int, int]) -> Iterator[tuple[float, str]]:
    last = None
    for step in steps:
        if step.time_ms != last:
            yield ys[step.number], f"{step.time_ms:.3f}"
        last = step.time_ms


def _mark(
    explanation: Explanation,
    side: Side,
    step: ExplainedStep,
    xs: dict[str, float],
    ys: dict[int, int],
    operation: int,
) -> Mark:
    x, y = xs[step.lane], ys[step.number]
    path, name, name_x, name_y = "", "", x, float(y)
    if step.source is not None and step.source != step.lane and step.sent_ms is not None:
        from_x = xs[step.source]
        from_y, from_mark = _sent_y(side.steps, step, ys)
        path = _arrow(from_x, from_y, x, y, from_mark)
        name = f"op {step.operation}"
        name_x, name_y = round(from_x + 0.56 * (x - from_x), 1), round(from_y + 0.56 * (y - from_y) - 4, 1)
    return Mark(
        step.number,
        x,
        y,
        operation,
        path,
        name,
        name_x,
        name_y,
        _shape(step),
        _label(explanation, side, step),
    )


def _sent_y(steps: Sequence[ExplainedStep], step: ExplainedStep, ys: dict[int, int]) -> tuple[float, bool]:
    """Where a message leaves: at the sender's step of that instant (True), else at that time between two steps."""
    sent_ms = step.sent_ms if step.sent_ms is not None else step.time_ms
    for other in reversed(steps):
        if other.time_ms == sent_ms and other.lane == step.source and other.number < step.number:
            return ys[other.number], True
    before = [one for one in steps if one.time_ms <= sent_ms]
    after = [one for one in steps if one.time_ms > sent_ms]
    if not before or not after:
        return ys[step.number], False
    low, high = before[-1], after[0]
    share = (sent_ms - low.time_ms) / (high.time_ms - low.time_ms)
    return round(ys[low.number] + share * (ys[high.number] - ys[low.number]), 1), False


def _arrow(from_x: float, from_y: float, to_x: float, to_y: float, from_mark: bool) -> str:
    """A line that ends before the mark (and begins behind one), with its head."""
    length = math.hypot(to_x - from_x, to_y - from_y) or 1.0
    along_x, along_y = (to_x - from_x) / length, (to_y - from_y) / length
    end_x, end_y = to_x - 11 * along_x, to_y - 11 * along_y
    if from_mark:
        from_x, from_y = from_x + 10 * along_x, from_y + 10 * along_y
    back_x, back_y = end_x - 8 * along_x, end_y - 8 * along_y
    wing_x, wing_y = 4 * along_y, -4 * along_x
    left = f"{_n(back_x + wing_x)} {_n(back_y + wing_y)}"
    right = f"{_n(back_x - wing_x)} {_n(back_y - wing_y)}"
    end = f"{_n(end_x)} {_n(end_y)}"
    return f"M{_n(from_x)} {_n(from_y)}L{end}M{left}L{end}L{right}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _shape(step: ExplainedStep) -> str:
    for mark, shape in (("refusal", "refusal"), ("stale-read", "stale"), ("decision", "decision")):
        if mark in step.marks:
            return shape
    return "step"


def _label(explanation: Explanation, side: Side, step: ExplainedStep) -> str:
    """A few words at what matters; everything is told in the table."""
    if "refusal" in step.marks:
        return f"refusal: {step.error or step.balance or ''}".rstrip(": ")
    if "stale-read" in step.marks:
        true = next(one for one in side.decisions if one.read_step == step.number)
        now = true.true if true.true != true.believed else true.true_at_effect
        return f"stale read: {step.balance}, true {'is' if true.true != true.believed else 'becomes'} {now}"
    if "decision" in step.marks:
        return f"decision on {step.balance}"
    if step.kind is StepKind.BLOCKED:
        return f"waits for op {step.blocker}"
    return step.balance or "" if step.kind in story.BALANCES else ""
