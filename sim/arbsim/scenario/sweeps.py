"""The sweep part of a scenario: which parameters vary, how often each point is run, and what is measured."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from arbsim.scenario.quantities import OneOf, Percent, Text, Whole, fault
from arbsim.scenario.values import ListedDesign, Section

VALUES_MAX = 10_000
"""Values of one parameter."""

REPLICATIONS_MAX = 100_000

Measure = Literal[
    "violated",
    "anomalies",
    "overdrafts",
    "lost_updates",
    "stale_reads",
    "money_overdrawn",
    "money_lost",
    "wrong_rejections",
    "fate_p50",
    "fate_p99",
]
MEASURES: tuple[Measure, ...] = get_args(Measure)
Scale = Literal["linear", "log"]

_Written = Annotated[str, Text(at_most=100)]


class Range(Section):
    """Values from one to another, both included, with equal differences or (log) equal ratios."""

    from_: _Written = Field(alias="from", description="The first value.")
    to: _Written = Field(description="The last value.")
    steps: Annotated[int, Whole(at_least=2, at_most=VALUES_MAX)] = Field(description="How many values.")
    scale: Annotated[Scale, OneOf("scale", get_args(Scale))] = Field(
        default="linear",
        description="linear: equal differences; log: equal ratios, rounded to three digits.",
    )


class _Listed(Section):
    values: tuple[_Written, ...] = Field(min_length=1, max_length=VALUES_MAX)


def _read_values(raw: Any) -> tuple[str, ...] | Range:
    """Read a list of values or a range; what the values mean depends on the parameter. Raises the scenario's errors."""
    if isinstance(raw, dict):
        return Range.model_validate(raw)
    if raw is None or raw == []:
        raise fault("E107", "no values", "such as [5 ms, 40 ms], or {from: 5 ms, to: 80 ms, steps: 5}")
    if not isinstance(raw, list):
        raise fault(
            "E109", "a list of values or a range was expected", "such as {from: 5 ms, to: 80 ms, steps: 5}"
        )
    return _Listed.model_validate({"values": raw}).values


def _write_values(values: tuple[str, ...] | Range) -> Any:
    if isinstance(values, Range):
        return values.model_dump(mode="json", by_alias=True)
    return list(values)


_SCALAR = {"type": ["string", "number", "boolean"]}
Values = Annotated[
    tuple[str, ...] | Range,
    PlainValidator(_read_values),
    PlainSerializer(_write_values),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": _SCALAR, "minItems": 1},
                {
                    "type": "object",
                    "properties": {
                        "from": _SCALAR,
                        "to": _SCALAR,
                        "steps": Whole(at_least=2, at_most=VALUES_MAX).schema(),
                        "scale": {"enum": list(get_args(Scale))},
                    },
                    "required": ["from", "to", "steps"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class SweepSpec(Section):
    """What ``arbsim sweep`` does: every combination of the values is a point, and every point is run many times.

    Replication number i of every point has the seed of the scenario plus i, so all designs, and all points, meet
    the same operations and the same network weather as far as their parameters allow.
    """

    vary: dict[Annotated[str, Text(at_most=200)], Values] = Field(
        min_length=1,
        max_length=20,
        description="Parameters by their place, such as kafka.mirror_lag or workload.rate, each with a list of"
        " values or a range. They are crossed.",
    )
    replications: Annotated[int, Whole(at_least=1, at_most=REPLICATIONS_MAX)] = Field(
        default=100, description="How often each point is run; with a precision: how often between two looks."
    )
    precision: Annotated[int, Percent(at_least=1_000)] | None = Field(
        default=None,
        description="Go on at a point until the rate of violating runs of every design is known within this"
        " much to either side, such as 5 %.",
    )
    at_most: Annotated[int, Whole(at_least=1, at_most=REPLICATIONS_MAX)] | None = Field(
        default=None,
        description="With a precision: stop after so many replications of a point. 10,000 if absent.",
    )
    baseline: ListedDesign | None = Field(
        default=None,
        description="The design from which the others' differences are taken; the first one if absent.",
    )
    measures: tuple[Annotated[Measure, OneOf("measure", MEASURES)], ...] = Field(
        default=MEASURES, min_length=1, description="What is reported; everything if absent."
    )

    @model_validator(mode="after")
    def _cap(self) -> SweepSpec:
        if self.at_most is not None and self.precision is None:
            raise fault(
                "E112", "at_most means nothing without a precision", "add precision: 5 %, or remove it"
            )
        if self.at_most is not None and self.at_most < self.replications:
            raise fault("E112", "at_most is less than replications")
        return self
