"""One finding, step by step, beside the same operations through a design that holds: data, no prose.

It is part of ``results.json``. Every fact in it was recorded while the designs ran; reports turn it into a proof, a
table and diagrams.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arbsim.document import Milliseconds, Money, OperationRow, Part
from arbsim.model import Fate, FindingKind, Verdict
from arbsim.steps import StepKind

Mark = Literal["stale-read", "decision", "refusal"]


class ExplainedLane(Part):
    """Where steps happen; ``id`` is how steps name it."""

    id: str
    kind: Literal["client", "service", "log", "row"]
    region: str
    name: str


class ExplainedStep(Part):
    """One step. ``believed`` and ``true`` are there only where they change at this step."""

    number: int
    time_ms: Milliseconds
    kind: StepKind
    operation: int
    lane: str
    source: str | None = Field(
        default=None, description="the lane that the message left which brought this about"
    )
    sent_ms: Milliseconds | None = None
    via: str | None = Field(
        default=None, description="the partition through which the message came, where it is no lane"
    )
    offset: int | None = None
    statement: str | None = None
    rows: int | None = Field(default=None, description="how many rows a statement matched")
    error: str | None = Field(default=None, description="the SQLSTATE in which a statement ended")
    blocker: int | None = Field(default=None, description="the operation that is waited for")
    fate: Fate | None = None
    allows: bool | None = Field(
        default=None, description="at a decision: whether what was read covers the operation"
    )
    balance: Money | None = Field(default=None, description="what was read or written")
    version: int | None = Field(
        default=None,
        description="the operation that wrote the version which was read; 0: the opening balance",
    )
    marks: tuple[Mark, ...] = ()
    believed: dict[str, Money] = Field(
        default={}, description="what a region's deciders know of the account now"
    )
    true: Money | None = Field(
        default=None, description="the opening balance and everything decided so far, anywhere"
    )


class Unseen(Part):
    """An effect that existed when another operation took effect, and that its decision had not seen."""

    operation: int
    step: int | None = Field(description="where it came into being")
    time_ms: Milliseconds
    arrived_step: int | None = Field(description="where it arrived at the decider, if it did")
    arrived_ms: Milliseconds | None


class Decision(Part):
    """What one operation was decided on. Steps are named by number; None where a step is not shown."""

    operation: int
    store: str
    region: str = Field(description="where the decider is")
    read_step: int | None
    read_ms: Milliseconds
    version: int = Field(description="the operation that wrote what was read; 0: the opening balance")
    believed: Money
    true: Money = Field(description="when it was read")
    decided_step: int | None
    effect_step: int | None = Field(description="where it took effect first")
    effect_ms: Milliseconds | None
    true_at_effect: Money | None = Field(description="just before it took effect")
    unseen: tuple[Unseen, ...]
    waited_for: tuple[int, ...]
    fate: Fate | None
    reason: str


class Side(Part):
    """The operations through one design, step by step."""

    design: str
    verdict: Verdict
    opening: dict[str, Money] = Field(description="what each region knew before the first step")
    opening_true: Money
    earlier: int = Field(description="operations on the account that are summed up in the opening balances")
    lanes: tuple[ExplainedLane, ...]
    steps: tuple[ExplainedStep, ...]
    decisions: tuple[Decision, ...] = Field(description="in the order in which they were made")
    final: dict[str, Money] = Field(description="store to balance of the account, at the end of the run")
    stopped: int | None = Field(default=None, description="the first of the operations that was refused")
    stopped_step: int | None = None


class Explanation(Part):
    """The first finding of a design that is violated."""

    kind: FindingKind
    account: int | None
    amount: Money
    store: str | None
    witness: tuple[int, ...] = Field(description="the operations of the finding, the wrong one first")
    operations: tuple[OperationRow, ...] = Field(description="those, and what decided unseen by them, by id")
    omitted: int = Field(description="operations of the witness that are left out for brevity")
    opening: Money = Field(description="the account's balance before the workload")
    broken: Side
    twin: Side | None = Field(
        default=None, description="the same through the cure, or another design that holds"
    )
    is_cure: bool = Field(default=False, description="whether the twin is what the design names as its cure")


class Explained(Part):
    """What ``arbsim explain --json`` prints."""

    schema_version: Literal[1] = 1
    design: str
    verdict: Verdict
    replay: str
    explanation: Explanation | None = Field(description="null where the design is not violated")
