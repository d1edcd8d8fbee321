"""From a file to a Scenario, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from arbsim.scenario.keys import keys_at, meaning_at
from arbsim.scenario.mistakes import MISTAKES_MAX, Mistake, ScenarioError, nearest
from arbsim.scenario.models import Scenario
from arbsim.scenario.names import Names
from arbsim.scenario.nodes import Mapping, Node, Scalar, compose, find, plain
from arbsim.scenario.nodes import Sequence as ListNode
from arbsim.scenario.source import STDIN, Source, read_source
from arbsim.scenario.statements import SqlCheck, check_scenario_sql
from arbsim.scenario.sweep_check import check_sweep
from arbsim.scenario.trace import load_trace


def load_scenario(path: Path | str, *, check_sql: SqlCheck | None = None) -> Scenario:
    """Read a scenario from a file, or from standard input for "-".

    ``check_sql`` looks at SQL before anything runs. Raises ScenarioError with every mistake that was found.
    """
    source = read_source(path)
    folder = Path() if source.name == STDIN else Path(path).parent
    return parse_scenario(source, folder=folder, check_sql=check_sql)


def parse_scenario(source: Source, *, folder: Path, check_sql: SqlCheck | None = None) -> Scenario:
    """Read a scenario from a text; a trace is looked for in ``folder``.

    Raises ScenarioError with every mistake that was found.
    """
    root, mistakes = compose(source)
    if not isinstance(root, Mapping):
        raise ScenarioError([_not_a_scenario(source, root)])
    data = plain(root)
    names = Names.gather(data)
    workload = data.get("workload")
    file = workload.get("trace") if isinstance(workload, dict) else None
    if isinstance(file, str):
        trace, wrong = load_trace(file, folder, source, find(root, ("workload", "trace")), names)
        names = replace(names, trace=trace, operations=len(trace.operations) if trace is not None else None)
        mistakes += wrong
    scenario = None
    try:
        scenario = Scenario.model_validate(data, context=names)
    except ValidationError as error:
        mistakes += _mistakes(source, root, data, error)
    mistakes += _equal_names(source, root)
    mistakes += check_scenario_sql(source, root, check_sql)
    if scenario is not None and scenario.sweep is not None and not mistakes:
        mistakes += check_sweep(source, root, data, scenario.sweep, names.trace)
    if scenario is None or mistakes:
        raise ScenarioError(in_order(mistakes, source))
    scenario._warnings = tuple(_warnings(source, root, scenario))
    return scenario


def in_order(mistakes: Sequence[Mistake], source: Source) -> list[Mistake]:
    """Return mistakes in the order of their places, the scenario's own first, each once."""
    distinct = dict.fromkeys(mistakes)
    return sorted(distinct, key=lambda found: (found.file != source.name, found.line, found.column))[
        :MISTAKES_MAX
    ]


def _not_a_scenario(source: Source, root: Node | None) -> Mistake:
    if root is None or source.text.strip() == "":
        return Mistake("E107", source.name, 0, 0, "the scenario is empty", hint='"arbsim init" writes one')
    have = "a list" if isinstance(root, ListNode) else "a single value"
    hint = "begin with a key, such as name: two regions"
    return source.mistake(
        "E109", root.start, root.start + 1, f"a scenario is keys and values, not {have}", hint
    )


def _mistakes(source: Source, root: Node, data: Any, error: ValidationError) -> Iterator[Mistake]:
    for detail in error.errors(include_url=False, include_input=False)[:MISTAKES_MAX]:
        # A list whose items are all wrong is "too short" for pydantic; its items say it better.
        if detail["type"] != "too_short" or not find(root, detail["loc"]).is_filled:
            yield _mistake(source, root, data, detail)


def _mistake(source: Source, root: Node, data: Any, detail: ErrorDetails) -> Mistake:
    """Turn one of pydantic's errors into a mistake with a place."""
    kind, path = detail["type"], detail["loc"]
    told = detail.get("ctx") or {}
    on_key = kind == "extra_forbidden" or path[-1:] == ("[key]",)
    node = find(root, path[:-1] if path[-1:] == ("[key]",) else path, key=on_key)
    code, message, hint = "E109", detail["msg"], ""
    if kind == "scenario":
        code, message, hint = told["code"], told["message"], told["hint"]
    elif kind == "missing":
        code, message = "E107", f'the key "{path[-1]}" is missing'
        hint = meaning_at(path, data)
        node = find(root, path[:-1], key=True)
    elif kind == "extra_forbidden":
        code, message = "E108", f'unknown key "{str(path[-1])[:60]}"'
        hint = nearest(str(path[-1]), keys_at(path[:-1], data))
    elif kind in _EXPECTED:
        message = f"{_EXPECTED[kind]} was expected"
    elif kind in ("too_short", "too_long"):
        code = "E107" if kind == "too_short" else "E111"
        bound = told.get("min_length", told.get("max_length"))
        message = "this is empty" if kind == "too_short" else f"at most {bound} entries were expected here"
    if not node.is_filled and isinstance(node, Scalar):
        # Where nothing was written there is nothing to underline but the key.
        node = find(root, path, key=True)
    # A whole mapping or list is too much to underline: its first line says where it is.
    end = min(node.end, _line_end(source, node.start))
    return source.mistake(code, node.start, end, message, hint)


_EXPECTED = {
    "dict_type": "a mapping (keys and values)",
    "model_type": "a mapping (keys and values)",
    "model_attributes_type": "a mapping (keys and values)",
    "tuple_type": "a list",
}


def _line_end(source: Source, offset: int) -> int:
    end = source.text.find("\n", offset)
    return len(source.text) if end < 0 else end


def _equal_names(source: Source, root: Mapping) -> Iterator[Mistake]:
    """Yield designs that would be reported under the same name."""
    _, designs = root.pairs.get("designs", (None, None))
    seen: dict[str, Node] = {}
    for item in designs.items if isinstance(designs, ListNode) else ():
        named = item
        if isinstance(item, Mapping):
            _, named = item.pairs.get("name") or item.pairs.get("design") or (None, item)
        name = plain(named)
        if not isinstance(name, str):
            continue
        name = " ".join(name.split())
        if name in seen:
            line, _ = source.place(seen[name].start)
            hint = f'give it a name of its own: {{name: "{name[:40]} (2)", design: ...}}'
            message = f'"{name[:60]}" already stands in line {line}'
            yield source.mistake("E106", named.start, named.end, message, hint)
        seen.setdefault(name, named)


def _warnings(source: Source, root: Mapping, scenario: Scenario) -> Iterator[Mistake]:
    """Yield what is worth knowing of a scenario that can run."""
    if len(scenario.client_regions) == 1:
        key, _ = root.pairs["regions"]
        message = f'only the region "{scenario.client_regions[0]}" has clients, so no two regions contend'
        yield source.mistake("W201", key.start, key.end, message, "give clients to a second region")
    seen: dict[str, str] = {}
    for index, entry in enumerate(scenario.designs):
        what = f"{entry.design} {sorted(entry.parameters.items())!r} {entry.sql!r}"
        if what in seen:
            node = find(root, ("designs", index))
            message = f'"{entry.name}" is the same as "{seen[what]}"'
            end = min(node.end, _line_end(source, node.start))
            yield source.mistake(
                "W202", node.start, end, message, "change a parameter, or remove one of them"
            )
        seen.setdefault(what, entry.name)
