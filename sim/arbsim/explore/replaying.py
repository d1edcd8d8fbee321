"""Counterexamples of an exploration, as files; and running such a file again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from arbsim.explore.counterexample import Counterexample, CounterexampleError, as_text, load
from arbsim.explore.search import Explored
from arbsim.explore.slices import Slice
from arbsim.explore.witness import Diverged, Origin, Subject, play, write_down
from arbsim.files import whole
from arbsim.results import DesignResult
from arbsim.runner import DesignFailed, card_of, designs_failing, designs_of, settings_of
from arbsim.scenario import Scenario, ScenarioError
from arbsim.scenario.load import parse_scenario
from arbsim.scenario.source import Source
from arbsim.scenario.standalone import standalone
from arbsim.workload import build_workload
from arbsim.worlds.api import Design

__all__ = ["CounterexampleError", "Diverged", "Replayed", "counterexamples", "replay", "save", "subject_of"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """A counterexample that was run again: what happened, step by step, and what the audit says of it."""

    document: Counterexample
    result: DesignResult
    subject: Subject


def counterexamples(
    scenario: Scenario,
    part: Slice,
    seed: int,
    designs: Mapping[str, Design],
    found: Mapping[str, Explored],
    made_by: str,
) -> Iterator[tuple[str, Counterexample]]:
    """Write down the shortest order in which each design was seen to break."""
    settings = settings_of(scenario, seed)
    listed = {entry.name for entry in scenario.designs}
    for name, explored in found.items():
        if explored.shortest is None:
            continue
        data = standalone(scenario, part.workload, seed, name)
        origin = Origin(scenario.name, name not in listed, made_by, part.originals, data)
        subject = Subject(designs[name], explored.card, part.workload, settings)
        names = [step.name for step in explored.shortest.steps]
        yield name, write_down(subject, explored.shortest.learned, names, origin)


def save(document: Counterexample, folder: Path, taken: set[str]) -> Path:
    """Write a counterexample into a folder, under its design's name. Raises OSError where that cannot be.

    ``taken`` are the names of files that were written before.
    """
    stem = "".join(char if char.isalnum() or char in "-_" else "-" for char in document.design.lower())
    name, number = f"{stem}.json", 2
    while name in taken:
        name, number = f"{stem}-{number}.json", number + 1
    taken.add(name)
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / name) as file:
        file.write(as_text(document))
    return folder / name


def replay(path: Path | str, design: Design | None = None) -> Replayed:
    """Run a saved counterexample again. ``design``: the design itself, where it is a class of one's own.

    Raises CounterexampleError where the file cannot be used, and Diverged where the order no longer leads there.
    """
    document = load(Path(path))
    subject = subject_of(document, path, design)
    try:
        with designs_failing(document.design):
            fresh, result = play(document, subject)
    except DesignFailed as failure:
        if isinstance(failure.__cause__, Diverged):
            raise failure.__cause__ from None
        raise
    return Replayed(fresh, result, subject)


def subject_of(document: Counterexample, path: Path | str, design: Design | None = None) -> Subject:
    """What a counterexample runs. Raises CounterexampleError where its scenario cannot be read any more."""
    from arbsim.worlds.virtual.sql import check_statement

    source = Source(f"{path}: scenario", json.dumps(document.scenario, indent=1))
    try:
        scenario = parse_scenario(source, folder=Path(), check_sql=check_statement)
    except ScenarioError as error:
        raise CounterexampleError(f"{path}: its scenario: {error.mistakes[0].message}") from None
    if document.own_class != (design is not None):
        cure = (
            "name it with --design path.py:ClassName"
            if document.own_class
            else "its design is in its scenario; leave --design out"
        )
        raise CounterexampleError(f"{path}: the design is {document.design}; {cure}")
    if design is None:
        try:
            design = designs_of(scenario, [document.design])[document.design]
        except KeyError:
            raise CounterexampleError(f"{path}: its scenario does not list {document.design}") from None
    workload = build_workload(scenario, scenario.seed)
    card = card_of(document.design, design)
    return Subject(design, card, workload, settings_of(scenario, scenario.seed))
