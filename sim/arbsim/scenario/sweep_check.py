"""What a scenario's sweep varies, worked out and checked: each mistake at the value that makes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from arbsim.scenario.mistakes import Mistake
from arbsim.scenario.models import Scenario, without_nothing
from arbsim.scenario.names import Names
from arbsim.scenario.nodes import Node, find
from arbsim.scenario.parameter_paths import (
    Keys,
    Place,
    as_texts,
    places,
    resolve,
    texts_of,
    with_values,
)
from arbsim.scenario.quantities import fault
from arbsim.scenario.source import Source
from arbsim.scenario.sweeps import Range, SweepSpec


@dataclass(frozen=True)
class Varied:
    """One parameter of a sweep: the name that the scenario gives it, its place, and its values as texts."""

    path: str
    place: Place
    texts: tuple[str, ...]


def varied(data: Mapping[str, Any], spec: SweepSpec) -> tuple[Varied, ...]:
    """Return what a sweep varies, in the order of the file. ``data`` is the scenario as texts.

    Raises the scenario's error for a path that names no parameter and for an empty range.
    """
    known = places(data)
    found = []
    for path, values in spec.vary.items():
        place = resolve(path, known)
        found.append(Varied(path, place, texts_of(values, place)))
    return tuple(found)


def at_point(data: Mapping[str, Any], values: Mapping[Keys, str], trace: Any = None) -> Scenario:
    """Return the scenario with other values in some places.

    Raises pydantic's ValidationError where they cannot stand together.
    """
    changed = with_values(data, values)
    names = Names.gather(changed)
    if trace is not None:
        names = replace(names, trace=trace, operations=len(trace.operations))
    return Scenario.model_validate(changed, context=names)


def written(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as texts, as YAML would have given it."""
    data: dict[str, Any] = as_texts(without_nothing(scenario.model_dump(mode="json", by_alias=True)))
    return data


def changed(scenario: Scenario, values: Mapping[str, str]) -> Scenario:
    """Return a scenario with other values for some parameters, by their names.

    Raises the scenario's error for a name that is no parameter, or a value that cannot stand there.
    """
    data = written(scenario)
    known = places(data)
    placed = {resolve(path, known).keys: text for path, text in values.items()}
    try:
        return at_point(data, placed, scenario.workload.trace)
    except ValidationError as error:
        raise as_fault(error) from None


def check_sweep(
    source: Source, root: Node, data: Mapping[str, Any], spec: SweepSpec, trace: Any
) -> Iterator[Mistake]:
    """Yield the paths, ranges and single values that cannot be used. Combinations are checked when a sweep starts."""
    base = {key: value for key, value in data.items() if key != "sweep"}
    known = places(base)
    seen: dict[Keys, str] = {}
    for path, values in spec.vary.items():
        here = ("sweep", "vary", path)
        try:
            place = resolve(path, known)
            if place.keys in seen:
                raise fault("E106", f"this is the same parameter as {seen[place.keys]}", "vary it once")
        except PydanticCustomError as error:
            yield _mistake(source, find(root, here, key=True), error)
            continue
        seen[place.keys] = path
        try:
            texts = texts_of(values, place)
        except PydanticCustomError as error:
            yield _mistake(source, find(root, here), error)
            continue
        earlier: set[str] = set()
        for number, text in enumerate(texts):
            node = find(root, here) if isinstance(values, Range) else find(root, (*here, number))
            twice = fault("E106", f"{text} stands here twice") if text in earlier else None
            earlier.add(text)
            wrong = twice or _wrong(base, place, text, trace)
            if wrong is not None:
                yield _mistake(source, node, wrong)
                break


def _wrong(data: Mapping[str, Any], place: Place, text: str, trace: Any) -> PydanticCustomError | None:
    """Return why a value cannot stand in a place, everything else as it is."""
    try:
        at_point(data, {place.keys: text}, trace)
    except ValidationError as error:
        return as_fault(error)
    return None


def as_fault(error: ValidationError) -> PydanticCustomError:
    """Return the first of pydantic's errors as one of ours."""
    detail = error.errors(include_url=False, include_input=False)[0]
    told = detail.get("ctx") or {}
    if detail["type"] == "scenario":
        return fault(told["code"], told["message"], told["hint"])
    return fault("E109", detail["msg"])


def _mistake(source: Source, node: Node, error: PydanticCustomError) -> Mistake:
    told = error.context or {}
    line_end = source.text.find("\n", node.start)
    end = min(node.end, line_end if line_end >= 0 else len(source.text))
    return source.mistake(told["code"], node.start, end, told["message"], told["hint"])
