"""An explanation as a Mermaid sequence diagram, small enough for the forges that render one in Markdown.

GitHub and GitLab render the ``mermaid`` block; Gitea stops at 5,000 characters. Text is escaped with Mermaid's own
character references ("#59;" for a semicolon), so that no name can become syntax.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from arbsim.explanation import ExplainedStep, Explanation, Side
from arbsim.report import story
from arbsim.report.words import clean
from arbsim.steps import StepKind

MOST_MESSAGES = 28
MOST_CHARACTERS = 4800

_DISPENSABLE = (
    StepKind.RETURNED,
    StepKind.SUPERSEDED,
    StepKind.ADOPTED,
    StepKind.APPENDED,
    StepKind.DELIVERED,
)
"""Kinds of message that are left out first where there are too many."""

_UNSAFE = re.compile(r"[^\w .,:()/+='-]|\bend\b", re.IGNORECASE)


def escape(text: str) -> str:
    """Text in which nothing means anything to Mermaid."""
    return _UNSAFE.sub(lambda found: "".join(f"#{ord(char)};" for char in found[0]), clean(text))


def sequence_diagram(explanation: Explanation, side: Side) -> tuple[str, int]:
    """Return the diagram's text, and how many messages were left out of it."""
    steps = list(side.steps)
    total = sum(_is_message(step) for step in steps)
    for kind in (None, *_DISPENSABLE):
        if kind is not None:
            steps = [step for step in steps if step.kind is not kind or step.marks]
        messages = sum(_is_message(step) for step in steps)
        text = "\n".join(_lines(explanation, side, steps))
        if messages <= MOST_MESSAGES and len(text) <= MOST_CHARACTERS:
            return text, total - messages
    while len(text) > MOST_CHARACTERS or sum(map(_is_message, steps)) > MOST_MESSAGES:
        steps.pop()
        text = "\n".join(_lines(explanation, side, steps))
    return text, total - sum(map(_is_message, steps))


def _is_message(step: ExplainedStep) -> bool:
    return step.source is not None and step.source != step.lane


def _lines(explanation: Explanation, side: Side, steps: list[ExplainedStep]) -> Iterator[str]:
    used = {lane for step in steps for lane in (step.lane, step.source)}
    names = {lane.id: f"p{place}" for place, lane in enumerate(side.lanes, start=1)}
    yield "sequenceDiagram"
    for lane in side.lanes:
        if lane.id in used:
            word = "actor" if lane.kind == "client" else "participant"
            yield f"    {word} {names[lane.id]} as {escape(story.place(side, lane.id).removeprefix('the '))}"
    for step in steps:
        here = names[step.lane]
        if step.source is not None and step.source != step.lane:
            told = escape(f"{step.number}. {story.message(explanation, side, step)}")
            yield f"    {names[step.source]}->>{here}: {told}"
        if step.marks or step.kind in (StepKind.BLOCKED, StepKind.INVOKED):
            mark = "".join(f"{story.MARKS[one].upper()}: " for one in step.marks if one != "decision")
            told = escape(f"{step.number}. {mark}{story.action(explanation, side, step)}")
            yield f"    Note over {here}: {told}"
