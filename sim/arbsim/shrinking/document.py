"""The document that ``arbsim shrink --json`` prints."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from arbsim.document import Part
from arbsim.model import FindingKind


class Size(Part):
    """How large a case is. ``settings`` are values that are no defaults; None where nobody counted them."""

    regions: int
    accounts: int
    operations: int
    settings: int


class Fact(Part):
    """What runs with other values showed: something that matters, or something that does not."""

    about: str = Field(description="what was varied: times, delays, amounts, regions, leader, seed, parts")
    matters: bool
    text: str
    tried: int = Field(description="cases that were run for it")
    violating: int = Field(description="how many of them showed the same kind of violation")


class Shrunk(Part):
    """A violating run of which nothing can be left out."""

    schema_version: Literal[1] = 1
    arbsim: str
    design: str
    kind: FindingKind = Field(description="what every case had to show")
    world: Literal["virtual", "exhaustive"] = Field(
        description="virtual: the scenario breaks in the run with its own times; exhaustive: in some order"
    )
    before: Size
    after: Size
    runs: int = Field(description="runs in all")
    facts: tuple[Fact, ...]
    scenario: str = Field(description="the small scenario, as it is written to the file")
    replay: str


def shrunk_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the document."""
    return Shrunk.model_json_schema(mode="serialization")
