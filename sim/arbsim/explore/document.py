"""The document that ``arbsim explore --json`` prints. Money is text with two digits after the point."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from arbsim.document import Money, OperationRow, Part
from arbsim.model import Fate, FindingKind, Verdict
from arbsim.results import Status


class OutcomeRow(Part):
    """One outcome, and how many orders lead to it. Orders are counted, not weighed: no probability follows."""

    final: dict[str, dict[str, Money]] = Field(description="store to account to balance")
    fates: tuple[Fate | None, ...] = Field(description="of each operation; null where it was never answered")
    told: tuple[Money | None, ...] = Field(
        description="the balance that each operation was told; null for none"
    )
    broken: tuple[FindingKind, ...] = Field(description="what the audit found")
    classes: int = Field(description="runs: each stands for all orders that are equivalent to it")
    orders: int | None = Field(description="null where a class was too large to count")


class FittingRow(Part):
    """The first so many of the operations, whose orders can all be tried in so many runs."""

    operations: int
    runs: int


class ExploredRow(Part):
    """One design, and what trying its orders came to."""

    verdict: Verdict
    reasons: tuple[str, ...] = Field(
        description="why nothing follows from having found no violation: interrupted, time, memory, worker, steps,"
        " limits, no-contention, undecided-outcomes, unanswered"
    )
    complete: bool = Field(description="whether every order within the bounds was tried")
    expected: str
    status: Status
    orders: int | None
    violating_orders: int | None
    classes: int
    violating_classes: int
    redundant: int = Field(
        description="runs that count for nothing: another one has their class, or their outcome"
    )
    longest: int = Field(description="steps of the longest run")
    outcomes: tuple[OutcomeRow, ...]
    bounds: tuple[str, ...] = Field(description="what is held fixed, as sentences")
    limits: tuple[str, ...] = Field(description="what the design could meet and this world leaves out")
    in_time: Verdict | None = Field(
        default=None,
        description="for a violation: the verdict of one run with the scenario's delays and times",
    )
    share_done: float | None = Field(
        default=None, description="an estimate, where the search is not complete"
    )
    runs_estimate: int | None = Field(
        default=None, description="how many runs the whole search would take, by that estimate"
    )
    fitting: FittingRow | None = Field(
        default=None, description="where a limit ended the search: what would not have been too much"
    )


class SliceRow(Part):
    """The operations that were tried. ``originals`` are their ids in the scenario's workload."""

    operations: tuple[OperationRow, ...]
    originals: tuple[int, ...]
    whole: bool


class Exploration(Part):
    """Every order of a few operations, through each design."""

    schema_version: Literal[1] = 1
    name: str
    question: str
    arbsim: str
    seed: int
    reduced: bool
    slice: SliceRow
    designs: dict[str, ExploredRow]
    replay: str
    exit_code: int


def exploration_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the document."""
    return Exploration.model_json_schema(mode="serialization")
