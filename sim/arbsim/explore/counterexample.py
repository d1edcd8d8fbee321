"""``counterexample.json``: one order of steps in which a design breaks, with all that is needed to run it again.

Money is text with two digits after the point. Operations are numbered as in the scenario that is inside.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import Field, ValidationError

from arbsim import __version__
from arbsim.document import Money, Part
from arbsim.model import Fate, FindingKind
from arbsim.steps import StepKind

FORMAT: Literal[1] = 1
BYTES_MAX = 50_000_000

Balances = dict[str, dict[str, Money]]
Assumption = Literal[
    "clock-is-read", "stamps-are-read", "sql-time-decides", "scarce-pools", "starts-decide", "waits-with-more"
]


class CounterexampleError(ValueError):
    """A file that holds no counterexample of this version; the text names the file and what is wrong."""


class Event(Part):
    """What could be seen of one operation in a step."""

    kind: StepKind
    operation: int
    lane: str = Field(description='where: "east client", "account 1 in east", "commands-0 in west"')
    source: str | None = Field(default=None, description="the lane that the message left")
    account: int | None = None
    balance: Money | None = Field(default=None, description="what was read or written")
    store: str | None = None
    rows: int | None = Field(default=None, description="how many rows a statement matched")
    offset: int | None = None
    blocker: int | None = Field(default=None, description="the operation that is waited for")
    text: str | None = Field(default=None, description="a statement, an error's code, or a fate")


class State(Part):
    """The world after a step: what each store holds, committed, and how operations were answered."""

    balances: Balances = Field(description="store to account to balance")
    answers: dict[str, Fate] = Field(description="operation to the fate that its client knows")


class ChosenStep(Part):
    """A step that was chosen among those that could be taken, and what followed from it."""

    number: int
    choice: str = Field(
        description="the step's name: the number of the step that made it possible, a point, and how many things that"
        " one had made before; 0.1.2 goes back to the start"
    )
    choices: int = Field(description="how many steps could have been taken")
    at_once: tuple[bool, ...] = Field(
        default=(),
        description="for each step of one task that became possible: whether it was taken at once, as one that"
        " touches nothing shared",
    )
    events: tuple[Event, ...]
    state: State


class Counterexample(Part):
    """One order, step by step. Running ``scenario`` with these choices leads to the same states again."""

    schema_version: Literal[1] = FORMAT
    arbsim: str = Field(description="the version that wrote it; another one may know other steps")
    name: str
    design: str
    own_class: bool = Field(
        description="the design is a Python class, which has to be named to run this again"
    )
    made_by: str = Field(description="the command that found it")
    originals: tuple[int, ...] = Field(description="what the operations are called in the explored scenario")
    scenario: dict[str, Any] = Field(
        description="the scenario, complete: its operations are those that were tried"
    )
    assumed: tuple[Assumption, ...] = Field(
        description="what the search had found out about the design: it decides which steps there are"
    )
    start: State
    at_once: tuple[bool, ...] = Field(description="as in a step, before the first one")
    steps: tuple[ChosenStep, ...]
    final: Balances
    fates: tuple[Fate | None, ...] = Field(description="of each operation; null where it was never answered")
    findings: dict[FindingKind, int] = Field(description="what the audit found, with the count")


def counterexample_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the document."""
    return Counterexample.model_json_schema(mode="validation")


def as_text(document: Counterexample) -> str:
    """Return the document as it is written to a file."""
    return document.model_dump_json(indent=2, exclude_none=True) + "\n"


def load(path: Path) -> Counterexample:
    """Read a counterexample. Raises CounterexampleError where it is none, is cut off, or is of another version."""
    from arbsim.scenario import ScenarioError
    from arbsim.scenario.source import read_source

    try:
        text = read_source(path, BYTES_MAX).text
    except ScenarioError as error:
        raise CounterexampleError(f"{path}: {error.mistakes[0].message}") from None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise CounterexampleError(f"{path}:{line}: this is not JSON; {_cause(text)}") from None
    if not isinstance(data, dict) or not {"schema_version", "arbsim", "made_by", "steps"} <= set(data):
        raise CounterexampleError(f"{path}: this is no counterexample; arbsim explore writes them")
    if data["schema_version"] != FORMAT or data["arbsim"] != __version__:
        _refuse_version(path, data)
    try:
        return Counterexample.model_validate_json(text)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, detail["loc"]))
        raise CounterexampleError(f"{path}: {place}: {detail['msg'].lower()}; the file was changed") from None


def _cause(text: str) -> str:
    return "the file was cut off" if text.lstrip()[:1] == "{" else "a counterexample was expected"


def _refuse_version(path: Path, data: dict[str, Any]) -> NoReturn:
    raise CounterexampleError(
        f"{path}: written by arbsim {data['arbsim']}, and this is arbsim {__version__}. What a step is can differ"
        f" between versions; find it again: {data['made_by']}"
    )
