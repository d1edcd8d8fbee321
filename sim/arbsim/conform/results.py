"""The document that `arbsim conform --json` prints; the text for people is rendered from it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from arbsim.document import Part

SCHEMA_VERSION: Literal[1] = 1

Status = Literal[
    "as-expected", "different", "not-supported", "nothing-expected", "bad-case", "unreachable", "outcomes"
]
_CODES: tuple[tuple[int, tuple[Status, ...]], ...] = (
    (4, ("unreachable",)),
    (2, ("bad-case",)),
    (1, ("different",)),
    (3, ("not-supported", "nothing-expected")),
)


class Target(Part):
    """What the cases ran on."""

    kind: Literal["model", "server"]
    version: str = Field(description="what the server says of itself")
    blocked: str = Field(description="how it is known that a step waits")


class DifferenceRow(Part):
    """One part of one step's answer that is not as expected. `step` is null for the final rows."""

    step: int | None
    session: str
    sql: str
    key: str
    expected: Any
    observed: Any


class OutcomeRow(Part):
    """One way a case ends, when its statements come in any order of the sessions."""

    count: int = Field(description="in how many orders")
    order: tuple[str, ...] = Field(description="one such order: the session of each step")
    answers: dict[str, tuple[str, ...]] = Field(description="what each session's steps answer, in short")
    final: list[list[Any]] | None


class CaseResult(Part):
    """One case: its status, and what stands behind it."""

    id: str
    title: str = ""
    group: str
    levels: tuple[str, ...] = ()
    status: Status
    reason: str = Field(default="", description="why it was not compared")
    differences: tuple[DifferenceRow, ...] = ()
    outcomes: tuple[OutcomeRow, ...] = ()
    impossible_orders: int = Field(
        default=0, description="orders in which a session would speak while it waits"
    )


class ConformResults(Part):
    """Cases on one target."""

    schema_version: Literal[1] = SCHEMA_VERSION
    target: Target
    cases: tuple[CaseResult, ...]
    exit_code: int = Field(description="4, 2, 1, 3 or 0: the first that some case gives")


def exit_code(cases: tuple[CaseResult, ...]) -> int:
    """The exit code of a run: the gravest thing that happened."""
    statuses = {case.status for case in cases}
    return next((code for code, grave in _CODES if statuses.intersection(grave)), 0)
