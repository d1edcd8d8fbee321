"""An explanation on a terminal: the proof, the picture, the steps, and the twin; 80 columns, no colour."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from arbsim.explanation import ExplainedStep, Explanation, Side
from arbsim.report import story
from arbsim.report.console import WIDTH, fit, wrapped
from arbsim.report.words import clean
from arbsim.results import Results
from arbsim.steps import StepKind

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_GLYPHS = {"refusal": "x", "stale-read": "?", "decision": "!"}


def render(results: Results, name: str) -> str:
    """Return the explanation of a violated design as plain text."""
    return "\n".join(_lines(results, name))


def _lines(results: Results, name: str) -> Iterator[str]:
    explanation = results.designs[name].explanation
    assert explanation is not None
    proof = story.proof(results, name)
    yield from wrapped(f"Claim. {proof.claim}")
    yield ""
    for sentence in proof.given:
        yield from wrapped(sentence)
    for number, sentence in enumerate(proof.steps, start=1):
        yield from wrapped(f"{number}. {sentence}", "   ")
    for sentence in proof.follows:
        yield from wrapped(sentence)
    yield ""
    yield from _side(explanation, explanation.broken)
    if explanation.twin is not None:
        yield ""
        which = "its cure" if explanation.is_cure else "a design that holds"
        yield from wrapped(f"The same operations through {clean(explanation.twin.design)}, {which}.")
        yield from wrapped(story.saved(explanation))
        yield ""
        yield from _side(explanation, explanation.twin)


def _side(explanation: Explanation, side: Side) -> Iterator[str]:
    yield from _picture(side)
    yield ""
    yield from _table(explanation, side)


# -- the picture ---------------------------------------------------------------------------------------


def _picture(side: Side) -> Iterator[str]:
    """A line for each step: time runs down, messages run across to where they arrive."""
    letters = {lane.id: _letter(place) for place, lane in enumerate(side.lanes)}
    yield from wrapped(
        "Lanes: "
        + ", ".join(f"{letters[lane.id]} {_bare(story.place(side, lane.id))}" for lane in side.lanes),
        "  ",
    )
    # A line has room for the step, its time, and the longest mark; the lanes share the rest.
    gap = max(2, min(6, (WIDTH - 40) // max(1, len(side.lanes) - 1)))
    yield f"step        ms  {(' ' * (gap - 1)).join(letters.values())}"
    places = {lane.id: place * gap for place, lane in enumerate(side.lanes)}
    for step in side.steps:
        told = [story.MARKS[mark] for mark in step.marks]
        if step.kind is StepKind.BLOCKED:
            told.append(f"waits for op {step.blocker}")
        words = ", ".join(told)
        line = f"{step.number:>4} {step.time_ms:>9.3f}  {_track(step, places, gap)}"
        yield f"{line}  {words}".rstrip()


def _bare(place: str) -> str:
    return place.removeprefix("the ")


def _letter(place: int) -> str:
    return _LETTERS[place % len(_LETTERS)]


def _track(step: ExplainedStep, places: dict[str, int], gap: int) -> str:
    track = [" "] * (max(places.values(), default=0) + 1)
    for place in places.values():
        track[place] = "|"
    here = places[step.lane]
    if step.source is not None and step.source != step.lane:
        start = places[step.source]
        low, high = min(start, here), max(start, here)
        track[low : high + 1] = "-" * (high - low + 1)
        track[start] = "o"
        track[here + (1 if here < start else -1)] = "<" if here < start else ">"
    track[here] = next(
        (_GLYPHS[mark] for mark in ("refusal", "stale-read", "decision") if mark in step.marks), "*"
    )
    return "".join(track)


# -- the table -----------------------------------------------------------------------------------------


def _table(explanation: Explanation, side: Side) -> Iterator[str]:
    """What happened, step by step; balances stand there where they change."""
    lanes = {lane.id: lane for lane in side.lanes}
    region = min(12, max([6, *(len(clean(lane.region)) for lane in side.lanes)]))
    actor = min(16, max([5, *(len(story.actor(lane)) for lane in side.lanes)]))
    indent = 4 + 1 + 9 + 2 + region + 1 + actor + 1
    yield f"step        ms  {'region':{region}} {'actor':{actor}} action"
    if side.opening:
        known = "; ".join(f"{clean(name)} believes {balance}" for name, balance in side.opening.items())
        yield from wrap(
            f"({known}; true is {side.opening_true})",
            WIDTH,
            initial_indent=" " * indent,
            subsequent_indent=" " * indent,
        )
    for step in side.steps:
        lane = lanes[step.lane]
        head = (
            f"{step.number:>4} {step.time_ms:>9.3f}  {fit(clean(lane.region), region):{region}}"
            f" {fit(story.actor(lane), actor):{actor}} "
        )
        text = story.action(explanation, side, step)
        changes = [f"{clean(name)} believes {balance}" for name, balance in step.believed.items()]
        if step.true is not None:
            changes.append(f"true is {step.true}")
        if changes:
            text += f" ({'; '.join(changes)})"
        if step.marks and step.marks != ("decision",):
            text += f" [{', '.join(story.MARKS[mark] for mark in step.marks)}]"
        yield from wrap(
            text, WIDTH, initial_indent=head, subsequent_indent=" " * indent, break_on_hyphens=False
        )
