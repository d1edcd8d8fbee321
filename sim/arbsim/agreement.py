"""Whether real servers and the model break a design equally often: what a live report tells of many repetitions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arbsim.document import Milliseconds, OperationRow, Part

MARGIN = 0.10
"""Rates that differ by no more than this are held to be equal."""

Agreeing = Literal["agree", "disagree", "inconclusive"]


class Rate(Part):
    """How many of the repetitions had an anomaly, with the 95 % interval of the rate (Wilson's score interval)."""

    count: int
    rate: float
    low: float
    high: float


class Agreement(Part):
    """One design: the same repetitions with the same gaps, live and simulated."""

    gap_from_ms: Milliseconds = Field(description="gaps are uniform; negative: the second operation is first")
    gap_to_ms: Milliseconds
    every_ms: Milliseconds = Field(description="from the beginning of one repetition to that of the next")
    repetitions: int = Field(description="those of which every operation was answered, live and simulated")
    unanswered: int = Field(description="repetitions left out because an operation's outcome is unknown")
    live: Rate
    simulated: Rate
    only_live: int = Field(description="repetitions with an anomaly on the servers and none on the model")
    only_simulated: int
    difference: float = Field(description="the live rate minus the simulated one")
    low: float = Field(description="of the difference's 95 % interval for pairs (Newcombe 1998, method 10)")
    high: float
    verdict: Agreeing


class LinkDelay(Part):
    """A link between a region and a server: its round trip in the scenario, and as measured."""

    region: str
    server: str
    round_trip_ms: Milliseconds
    measured_ms: Milliseconds = Field(
        description="the quickest answer over the link, less that to the same question past it"
    )


class FlowDelay(Part):
    """How long probes took from a region through MirrorMaker to a consumer in another, or to the database.

    To another region: a record, from its send. To the database: a transaction of two statements.
    """

    source: str
    target: str
    probes: int
    mean_ms: Milliseconds
    p50_ms: Milliseconds
    p90_ms: Milliseconds
    p99_ms: Milliseconds
    modelled_ms: Milliseconds = Field(
        description="the mean of the same probes on the model, told the links alone"
    )


class Calibration(Part):
    """Where the simulation has its delays from. All of it is measured before, with probes of its own."""

    links: tuple[LinkDelay, ...]
    flows: tuple[FlowDelay, ...]
    parameters_ms: dict[str, Milliseconds] = Field(
        description="parameters of the model: what the probes took longer on the servers, on average"
    )


class Agreements(Part):
    """Every design that was repeated."""

    asked: int = Field(description="repetitions of each design")
    operations: tuple[OperationRow, OperationRow] = Field(
        description="what is repeated, as the scenario has it"
    )
    margin: float = MARGIN
    calibration: Calibration
    designs: dict[str, Agreement]
