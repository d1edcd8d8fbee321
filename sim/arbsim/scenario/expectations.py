"""What a scenario expects of its designs; the runner compares it with what the audit finds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WrapSerializer, model_validator

from arbsim.model import FindingKind
from arbsim.scenario.quantities import Text, fault
from arbsim.scenario.values import Account, FateWord, FinalBalance, Number, OperationId, Section, VerdictWord


class CountRange(Section):
    """A number that is expected: exactly, or within bounds."""

    at_least: Number = 0
    at_most: Number | None = None

    @model_validator(mode="after")
    def _ordered(self) -> CountRange:
        if self.at_most is not None and self.at_least > self.at_most:
            raise fault("E112", "at_least is greater than at_most")
        return self

    def allows(self, count: int) -> bool:
        """Return whether a count is as expected."""
        return count >= self.at_least and (self.at_most is None or count <= self.at_most)

    def __str__(self) -> str:
        """Say it in words: "2", "at least 1", "1 to 3"."""
        if self.at_most is None:
            return f"at least {self.at_least}"
        if self.at_least == self.at_most:
            return str(self.at_least)
        return f"{self.at_least} to {self.at_most}"


def _exactly(value: Any) -> Any:
    return {"at_least": value, "at_most": value} if isinstance(value, str) else value


def _shortest(value: CountRange, handler: Any) -> Any:
    if value.at_least == value.at_most:
        return value.at_least
    return {key: bound for key, bound in handler(value).items() if bound is not None}


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _unlisted(value: tuple[Any, ...], handler: Any) -> Any:
    written = handler(value)
    return written[0] if len(written) == 1 else written


Count = Annotated[CountRange, BeforeValidator(_exactly), WrapSerializer(_shortest)]
Balances = Annotated[
    tuple[FinalBalance, ...], Field(min_length=1), BeforeValidator(_listed), WrapSerializer(_unlisted)
]
Fates = Annotated[
    tuple[FateWord, ...], Field(min_length=1), BeforeValidator(_listed), WrapSerializer(_unlisted)
]
SqlStateName = Annotated[str, Text(at_most=60)]


class Expectation(Section):
    """What one design must show; what is absent is not compared.

    A count is a number, or bounds such as ``{at_least: 1}``.
    """

    verdict: VerdictWord | None = Field(
        default=None,
        description="not-violated is met by none-seen and by holds. inconclusive is never met by them.",
    )
    final: dict[Account, Balances] = Field(
        default={},
        description="The balance at the end in every store, or a list of balances of which one must be met.",
    )
    outcomes: dict[FateWord, Count] = Field(
        default={}, description="How many operations were accepted, rejected, failed, unknown."
    )
    operations: dict[OperationId, Fates] = Field(
        default={},
        description="The fate of an operation (they count from 1 in order of time), or several that will do.",
    )
    errors: dict[SqlStateName, Count] = Field(
        default={},
        description="How many operations failed for a reason that names this SQLSTATE, such as {23514: 1}.",
    )
    client_retries: Count | None = Field(
        default=None, description="Attempts that the application had to repeat."
    )
    server_retries: Count | None = Field(
        default=None, description="Restarts that the application did not see."
    )
    totals: dict[SqlStateName, Count] = Field(
        default={}, description="Other counts of the run by name, such as {wan_messages: {at_most: 20}}."
    )
    overdraft: Count | None = Field(default=None, description="Accepted withdrawals that no order explains.")
    overdraft_own_order: Count | None = Field(default=None, description="The same in the design's own order.")
    lost_update: Count | None = Field(
        default=None, description="Accepted effects that the final balance lacks."
    )
    duplicate_effect: Count | None = Field(default=None, description="Effects applied more than once.")
    divergence: Count | None = Field(
        default=None, description="Accounts on which regions disagree in the end."
    )
    conservation: Count | None = Field(default=None, description="Money that transfers created or destroyed.")
    unexplained: Count | None = Field(default=None, description="Money that no operation explains.")
    stale_read: Count | None = Field(
        default=None, description="Reads that miss what was acknowledged before."
    )

    @property
    def findings(self) -> dict[FindingKind, CountRange]:
        """The expected counts of findings, by kind."""
        counts = {kind: getattr(self, kind.value) for kind in FindingKind}
        return {kind: count for kind, count in counts.items() if count is not None}
