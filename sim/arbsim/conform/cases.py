"""Cases with known answers: sessions, steps of SQL, what each step answers, and which step lets which go on.

The format is described in docs/conform.md. A file is `{"cases": [...]}`, or one case a line (`.jsonl`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from arbsim.scenario.mistakes import nearest

RC, RR, SER = LEVELS = ("read committed", "repeatable read", "serializable")
"""The isolation levels, as SQL has them: cases say what real servers hear, whatever the models call it."""

Rows = list[list[Any]]
MOST_BYTES = 50_000_000
NAMES = ("error", "message", "constraint", "rows", "rowcount", "columns", "tag")
"""The parts of an answer beside its waiting, in the order in which differences are told."""


_KNOWN_KEYS_ONLY = ConfigDict(extra="forbid")
"""A key that is written wrong would be a check that never fails."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a step answered, or is expected to answer; None where there is nothing.

    `blocks`: not finished when everything was quiet after the step; `unblocks_after`: the step after whose issue
    it finished (its own: the deadlock detector ended the wait); `unfinished`: still blocked at the end of the case;
    `skipped`: not issued, because the session's earlier step still waited. `rowcount` is None for 0 rows.
    """

    __pydantic_config__ = _KNOWN_KEYS_ONLY

    blocks: bool = False
    unblocks_after: int | None = None
    unfinished: bool = False
    skipped: bool = False
    error: str | None = None
    message: str | None = None
    constraint: str | None = None
    rows: Rows | None = None
    rowcount: Annotated[int | None, AfterValidator(lambda count: count or None)] = None
    columns: list[str] | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One SQL text of one session. Without `expect` its answer is not compared. `note` is for people."""

    __pydantic_config__ = _KNOWN_KEYS_ONLY

    session: str
    sql: str
    expect: Answer | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Final:
    """A query asked when everything is over, and the rows that it should give (None: not compared)."""

    __pydantic_config__ = _KNOWN_KEYS_ONLY

    sql: str
    rows: Rows | None = None


def _statements(setup: Any) -> Any:
    return setup.get("sql") if isinstance(setup, dict) else setup


@dataclass(frozen=True, slots=True)
class Case:
    """A case. `session_settings` is SQL that a real server gets first in each session; a model ignores it.

    `dialect` names the server whose answers were recorded, where not every server gives them; `group` is what
    a case is called in a table where it has siblings at other levels; `note` is for people.
    """

    __pydantic_config__ = _KNOWN_KEYS_ONLY

    id: str
    setup: Annotated[list[str], BeforeValidator(_statements)]
    sessions: list[str]
    steps: list[Step]
    title: str = ""
    levels: tuple[str, ...] = ()
    session_settings: tuple[str, ...] = ()
    final: Final | None = None
    dialect: Literal["postgres", "yugabyte"] | None = None
    group: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What one run of a case showed: an answer for each step, and the final rows.

    `raced`: at some step two or more waiting sessions were let go at once, so that a server may vary.
    """

    steps: list[Answer]
    final: Rows | None
    raced: bool = False


@dataclass(frozen=True, slots=True)
class BadCase:
    """A case that cannot be run, and why: a sentence for each mistake, with its place."""

    id: str
    mistakes: tuple[str, ...]


def expecting(case: Case, observed: Observed) -> Case:
    """The case with what was observed as its expectation."""
    steps = [replace(step, expect=answer) for step, answer in zip(case.steps, observed.steps, strict=True)]
    final = replace(case.final, rows=observed.final) if case.final is not None else None
    return replace(case, steps=steps, final=final)


class CaseFileError(Exception):
    """A file of which no case can be read. The text says where and why."""


_CASE: TypeAdapter[Case] = TypeAdapter(Case)


def load_cases(path: Path) -> list[Case | BadCase]:
    """The cases of a file, in order. A case with mistakes is a BadCase, and the others stand.

    Raises CaseFileError where the file cannot be read, is not JSON, or has no cases.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CaseFileError(f"{path}: larger than {MOST_BYTES // 1_000_000} MB")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CaseFileError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError:
        raise CaseFileError(f"{path}: not a text in UTF-8") from None
    entries = list(_entries(path, text))
    if not entries:
        raise CaseFileError(f"{path}: there are no cases in it")
    return [case_of(entry, number) for number, entry in enumerate(entries)]


def _entries(path: Path, text: str) -> Iterator[Any]:
    if path.suffix == ".jsonl":
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield _json(path, line, number)
        return
    document = _json(path, text, 1)
    cases = document.get("cases") if isinstance(document, dict) else None
    if not isinstance(cases, list):
        raise CaseFileError(f'{path}: expected {{"cases": [...]}}; see docs/conform.md')
    yield from cases


def _json(path: Path, text: str, first_line: int) -> Any:
    """Read JSON; fractions stay text, because they are numerics and compared as such."""
    try:
        return json.loads(text, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise CaseFileError(f"{path}:{line}:{error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise CaseFileError(f"{path}: nested too deeply") from None
    except ValueError:
        raise CaseFileError(f"{path}: a number has too many digits") from None


def case_of(entry: Any, number: int = 0) -> Case | BadCase:
    """One case from its JSON value."""
    name = entry.get("id") if isinstance(entry, dict) else None
    label = name if isinstance(name, str) and name else f"number {number + 1}"
    try:
        case = _CASE.validate_python(entry)
    except ValidationError as error:
        return BadCase(label, tuple(_mistake(one) for one in error.errors(include_url=False)))
    mistakes = list(_inconsistencies(case))
    return BadCase(label, tuple(mistakes)) if mistakes else case


def _mistake(error: Any) -> str:
    place = [part for part in error["loc"] if part != "function-before[_statements(), list[str]]"]
    told = error["msg"]
    if error["type"] == "unexpected_keyword_argument":
        *place, key = place
        told = f'unknown key "{key}"; {nearest(str(key), _keys(place))}'
    if place[:1] == ["steps"] and len(place) > 1:
        where = " ".join([f"step {place[1]}", *map(str, place[2:])])
    else:
        where = ".".join(map(str, place)) or "the case"
    return f"{where}: {told[:1].lower()}{told[1:]}"


def _keys(place: Sequence[object]) -> list[str]:
    """The keys that may stand at a place of a case."""
    kind = {"expect": Answer, "final": Final}.get(str(place[-1]), Step) if place else Case
    return [one.name for one in fields(kind)]


def _inconsistencies(case: Case) -> Iterator[str]:
    if len(set(case.sessions)) != len(case.sessions):
        yield "sessions: a name stands there twice"
    for number, step in enumerate(case.steps):
        if step.session not in case.sessions:
            known = ", ".join(case.sessions) or "none"
            yield f'step {number}: unknown session "{step.session}"; the sessions are {known}'


def dump_case(case: Case, observed: Observed | None = None) -> dict[str, Any]:
    """A case as the JSON value that `load_cases` reads; with `observed` as what it expects."""
    entry = {key: value for key, value in asdict(case).items() if value not in (None, "", ())}
    answers: Sequence[Answer | None] = observed.steps if observed else [step.expect for step in case.steps]
    entry["steps"] = [
        {
            "session": step.session,
            "sql": step.sql,
            **({"note": step.note} if step.note else {}),
            **_expectation(answer),
        }
        for step, answer in zip(case.steps, answers, strict=True)
    ]
    if case.final is not None:
        rows = observed.final if observed else case.final.rows
        entry["final"] = {"sql": case.final.sql, **({} if rows is None else {"rows": rows})}
    return entry


def _expectation(answer: Answer | None) -> dict[str, Any]:
    if answer is None:
        return {}
    return {"expect": dump_answer(answer)}


def dump_answer(answer: Answer) -> dict[str, Any]:
    """An answer as JSON, without what is absent."""
    return {
        key: value
        for key, value in asdict(answer).items()
        if value is not None and (value is not False or key == "blocks")
    }
