"""What the parts of every document have in common: how they validate, and how they name money, times and operations."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from arbsim.model import Kind

Money = str
"""An amount with two digits after the point."""

Milliseconds = float
"""A time since the workload began, rounded to the microsecond."""


class Part(BaseModel):
    """A value of a document; it does not change, and knows no other fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_enum_values=False, defer_build=True)


class OperationRow(Part):
    """One operation of the workload."""

    id: int
    at_ms: Milliseconds
    region: str
    kind: Kind
    account: int
    to_account: int | None
    amount: Money
