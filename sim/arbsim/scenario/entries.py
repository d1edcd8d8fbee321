"""The designs that a scenario lists: by name, with parameters, or as a team's own SQL."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, get_args, get_origin

from pydantic import ConfigDict, Field, ValidationInfo, create_model, model_validator

from arbsim.model import Kind, Nanoseconds
from arbsim.parameters import parameter
from arbsim.scenario.mistakes import nearest
from arbsim.scenario.quantities import Duration, OneOf, Quantity, Switch, Text, Whole, fault
from arbsim.scenario.values import EXACTLY_ONE_KEY, DelayAboveZero, Section
from arbsim.transaction import Condition, SqlTransaction, Statement, Step, Think
from arbsim.worlds.api import Isolation

DESIGNS_MAX = 100
_ACCOUNT_TO_TARGET = ":to_account"


def catalogue() -> Mapping[str, type]:
    """Return the shipped designs by name; imported late, because they bring the client libraries."""
    from arbsim.designs import catalogue as shipped

    return shipped()


# -- parameters of shipped designs -----------------------------------------------------------------------


def parameter_types(design: type) -> dict[str, tuple[Any, Any]]:
    """Return a design's parameters: name to annotated type and default."""
    hints = typing.get_type_hints(design, include_extras=True)
    return {
        item.name: (_annotated(hints[item.name]), item.default)
        for item in dataclasses.fields(design)
        if item.init
    }


def _annotated(hint: Any) -> Any:
    """Return the type of one parameter with the parser that reads it."""
    optional = [part for part in get_args(hint) if part is not type(None)]
    if type(None) in get_args(hint) and len(optional) == 1:
        return _annotated(optional[0])
    return Annotated[hint, quantity_for(hint)]


def quantity_for(hint: Any) -> Quantity:
    """Return the parser for a parameter's type. Raises TypeError for a type that scenarios cannot write."""
    if hint is Nanoseconds:
        return Duration(at_most=10 * 60 * 10**9)
    if hint is bool:
        return Switch()
    if hint is int:
        return Whole(at_least=1, at_most=1_000_000)
    if hint is str:
        return Text()
    if get_origin(hint) is typing.Literal:
        return OneOf("value", tuple(str(word) for word in get_args(hint)))
    raise TypeError(f"a design's parameter cannot be of type {hint!r}")


@lru_cache(maxsize=256)
def parameters_model(design: type) -> type[Section]:
    """Return the model that reads a scenario's entry for one design."""
    fields: dict[str, Any] = {
        name: (hint, Field(default=default, description=_meaning(name)))
        for name, (hint, default) in parameter_types(design).items()
    }
    return create_model(f"{design.__name__}Entry", __base__=_EntryBase, **fields)


def _meaning(name: str) -> str | None:
    try:
        return parameter(f"design.{name}").meaning
    except KeyError:
        return None


class _EntryBase(Section):
    """What every entry can say."""

    model_config = ConfigDict(title="An entry of `designs`")

    name: Annotated[str, Text(at_most=100)] | None = Field(
        default=None, description="A name of your own, to list one design twice with different parameters."
    )
    design: Annotated[str, Text(at_most=100)] = Field(description="The name of a shipped design.")


# -- a team's own transaction ------------------------------------------------------------------------------


class Retry(Section):
    """When the application tries its transaction again."""

    on: tuple[Annotated[str, Text(at_most=5)], ...] = Field(
        default=("40001", "40P01"), description="The SQLSTATEs after which a new attempt makes sense."
    )
    attempts: Annotated[int, Whole(at_least=1, at_most=1000)] = Field(
        default=parameter("design.attempts").value, description="How often in all."
    )
    backoff: DelayAboveZero = Field(
        default=parameter("design.backoff").value,
        description="The first pause; it doubles with each attempt.",
    )


SqlText = Annotated[str, Text(at_most=4000, lines=True)]


class SqlStep(Section):
    """One step: exactly one of these keys."""

    model_config = EXACTLY_ONE_KEY

    statement: SqlText | None = Field(
        default=None,
        description="One SQL statement. Names: :amount, :account, :to_account, :region, :op_id.",
    )
    reject_unless: SqlText | None = Field(
        default=None,
        alias="reject unless",
        description="An SQL expression over the columns of the last statement's first row, the names above and"
        " rowcount. Unless it is true the transaction is rolled back and the operation is rejected. Without a"
        " row every column is NULL, so the condition is not true.",
    )
    reject_if: SqlText | None = Field(
        default=None, alias="reject if", description="Rejected where it is true."
    )
    accept_if: SqlText | None = Field(
        default=None, alias="accept if", description="Committed and accepted at once where it is true."
    )
    think: DelayAboveZero | None = Field(
        default=None, description="The application works for so long; the transaction stays open."
    )

    @model_validator(mode="after")
    def _one_key(self) -> SqlStep:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise fault("E112", "a step has one key: statement, reject unless, reject if, accept if or think")
        return self

    def step(self) -> Step:
        """Return the step as the designs know it."""
        if self.statement is not None:
            return Statement(self.statement)
        if self.reject_unless is not None:
            return Condition("reject", False, self.reject_unless)
        if self.reject_if is not None:
            return Condition("reject", True, self.reject_if)
        if self.accept_if is not None:
            return Condition("accept", True, self.accept_if)
        return Think(Nanoseconds(self.think or 0))


Steps = Annotated[tuple[SqlStep, ...], Field(min_length=1, max_length=50)]
"""At least one step, or nothing could be judged."""

DEFAULT_DEPOSIT = (
    Statement("UPDATE acct SET balance = balance + :amount WHERE id = :account RETURNING balance"),
    Condition("reject", False, "rowcount = 1"),
)
DEFAULT_READ = (Statement("SELECT balance FROM acct WHERE id = :account"),)


class SqlDesign(Section):
    """A team's own transaction, in SQL alone."""

    isolation: Annotated[Isolation, OneOf("isolation level", get_args(Isolation))] = Field(
        default="read_committed", description="The level that BEGIN names."
    )
    retry: Retry = Field(default=Retry(), description="When the application tries again.")
    rejected_on: tuple[Annotated[str, Text(at_most=5)], ...] = Field(
        default=(),
        description="SQLSTATEs that mean that the rule refused the operation, such as 23514 (a CHECK).",
    )
    tables: tuple[SqlText, ...] = Field(
        default=(),
        max_length=20,
        description="CREATE TABLE statements for what it needs beside the accounts.",
    )
    withdraw: Steps = Field(description="The steps of a withdrawal.")
    deposit: Steps | None = Field(
        default=None, description="The steps of a deposit. If absent, one UPDATE adds the amount."
    )
    read: Steps | None = Field(default=None, description="The steps of a read. If absent, one SELECT.")
    transfer: Steps | None = Field(
        default=None,
        description="The steps of a transfer. If absent, those of a withdrawal and then those of a deposit to"
        " :to_account, in one transaction.",
    )

    def transaction(self) -> SqlTransaction:
        """Return the transaction with the steps of every kind of operation."""
        withdraw = tuple(step.step() for step in self.withdraw)
        deposit = tuple(step.step() for step in self.deposit) if self.deposit else DEFAULT_DEPOSIT
        read = tuple(step.step() for step in self.read) if self.read else DEFAULT_READ
        transfer = (
            tuple(step.step() for step in self.transfer)
            if self.transfer
            else withdraw + tuple(map(to_target, deposit))
        )
        steps = {Kind.WITHDRAW: withdraw, Kind.DEPOSIT: deposit, Kind.TRANSFER: transfer, Kind.READ: read}
        return SqlTransaction(
            isolation=self.isolation,
            steps=steps,
            retry_on=self.retry.on,
            attempts=self.retry.attempts,
            backoff=Nanoseconds(self.retry.backoff),
            rejected_on=self.rejected_on,
            tables=self.tables,
        )


def to_target(step: Step) -> Step:
    """Return a deposit's step as the second half of a transfer."""
    if isinstance(step, Think):
        return step
    return dataclasses.replace(step, text=step.text.replace(":account", _ACCOUNT_TO_TARGET))


class _SqlEntry(Section):
    """An entry that brings its own SQL."""

    name: Annotated[str, Text(at_most=100)] = Field(description="The name under which it is reported.")
    sql: SqlDesign


# -- entries -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DesignEntry:
    """One design of the scenario.

    ``design`` is its name in the catalogue, None where ``sql`` is a team's own transaction. ``parameters``
    holds the parameters that the scenario gives, ready for the design's constructor; ``written`` is the entry
    as a scenario would write it.
    """

    name: str
    design: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sql: SqlTransaction | None = None
    written: Any = field(default="", repr=False, compare=False)


def read_entry(raw: Any, info: ValidationInfo) -> DesignEntry:
    """Read one item of ``designs``. Raises the scenario's errors."""
    if isinstance(raw, str):
        name = " ".join(raw.split())
        check_design(name)
        return DesignEntry(name=name, design=name, written=name)
    if not isinstance(raw, dict):
        raise fault("E109", "a design was expected", "its name, or {name: ..., design: ..., ...}")
    if "sql" in raw:
        entry = _SqlEntry.model_validate(raw, context=info.context)
        written = entry.model_dump(mode="json", by_alias=True, exclude_none=True)
        return DesignEntry(name=entry.name, sql=entry.sql.transaction(), written=written)
    if not isinstance(raw.get("design"), str):
        raise fault("E107", "an entry needs the key design (or sql)", "such as design: db/atomic-update")
    design = " ".join(raw["design"].split())
    check_design(design)
    model = parameters_model(catalogue()[design])
    read = model.model_validate(raw, context=info.context)
    given = {key: getattr(read, key) for key in raw if key not in ("name", "design")}
    written = {"name": read.name or design, **read.model_dump(mode="json", include={"design", *given})}  # type: ignore[attr-defined]
    return DesignEntry(name=written["name"], design=design, parameters=given, written=written)


def check_design(name: str) -> None:
    """Check that a design is in the catalogue. Raises the scenario's error."""
    if name not in catalogue():
        raise fault("E103", f'unknown design "{name[:60]}"', nearest(name, catalogue()))
