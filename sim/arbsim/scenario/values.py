"""The kinds of value that scenarios share, as annotated types."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict

from arbsim.model import Fate, Kind
from arbsim.scenario.names import (
    client_region,
    known_account,
    known_design,
    known_location,
    known_operation,
    known_region,
)
from arbsim.scenario.quantities import (
    CENTS_MAX,
    INT64_MAX,
    MINUTE,
    NS,
    Duration,
    Exponent,
    Money,
    Name,
    OneOf,
    Percent,
    Rate,
    Switch,
    Text,
    Whole,
)


class Section(BaseModel):
    """A part of a scenario: nothing unknown gets in, nothing changes afterwards."""

    model_config = ConfigDict(
        defer_build=True, frozen=True, extra="forbid", populate_by_name=True, arbitrary_types_allowed=True
    )


def section_in(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a type is made of: itself, or what a tuple, a dict or an optional holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(section_in, get_args(annotation))), None)


EXACTLY_ONE_KEY = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})
"""For a section of which exactly one key is to be written."""

OPERATIONS_MAX = 1_000_000

Dialect = Literal["postgres", "yugabyte"]
Gateway = Literal["nearest", "leader"]
Process = Literal["poisson", "uniform", "bursts"]
Distribution = Literal["zipf", "uniform"]
ExpectedVerdict = Literal["violated", "not-violated", "holds", "inconclusive"]

DialectWord = Annotated[Dialect, OneOf("dialect", get_args(Dialect))]
GatewayWord = Annotated[Gateway, OneOf("gateway", get_args(Gateway))]
ProcessWord = Annotated[Process, OneOf("arrival process", get_args(Process))]
DistributionWord = Annotated[Distribution, OneOf("distribution", get_args(Distribution))]
VerdictWord = Annotated[ExpectedVerdict, OneOf("verdict", get_args(ExpectedVerdict))]
# Functions, because pydantic cannot read an enum's own signature on Python 3.13.


def _fate(word: str) -> Fate:
    return Fate(word)


def _kind(word: str) -> Kind:
    return Kind(word)


FateWord = Annotated[Fate, OneOf("fate", tuple(Fate)), AfterValidator(_fate)]
KindWord = Annotated[Kind, OneOf("kind of operation", tuple(Kind)), AfterValidator(_kind)]

Yes = Annotated[bool, Switch()]
Short = Annotated[str, Text(at_most=200)]
Sentence = Annotated[str, Text(at_most=1000)]
NewName = Annotated[str, Name()]
Location = Annotated[str, Name(), AfterValidator(known_location)]
RegionName = Annotated[str, Name(), AfterValidator(known_region)]
ClientRegionName = Annotated[str, Name(), AfterValidator(client_region)]
ListedDesign = Annotated[str, Text(at_most=100), AfterValidator(known_design)]

Time = Annotated[int, Duration()]
TimeAboveZero = Annotated[int, Duration(at_least=NS)]
Delay = Annotated[int, Duration(at_most=10 * MINUTE)]
DelayAboveZero = Annotated[int, Duration(at_least=NS, at_most=10 * MINUTE)]
Frequency = Annotated[Fraction, Rate()]
Share = Annotated[int, Percent()]
Jitter = Annotated[int, Percent(at_most=10_000_000)]
Power = Annotated[Decimal, Exponent()]

Amount = Annotated[int, Money(at_least=1)]
Balance = Annotated[int, Money(at_least=0)]
FinalBalance = Annotated[int, Money(at_least=-1000 * CENTS_MAX, at_most=1000 * CENTS_MAX)]
NewAccount = Annotated[int, Whole(at_least=1)]
Account = Annotated[int, Whole(at_least=1), AfterValidator(known_account)]
OperationId = Annotated[int, Whole(at_least=1, at_most=OPERATIONS_MAX), AfterValidator(known_operation)]
Seed = Annotated[int, Whole(at_most=INT64_MAX)]
Number = Annotated[int, Whole(at_most=10**12)]
