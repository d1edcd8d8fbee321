"""What `arbsim conform` says to people: a matrix, then each difference step by step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .cases import LEVELS
from .results import CaseResult, ConformResults, Status

_MARKS: dict[Status, str] = {
    "as-expected": "+ as expected",
    "different": "x different",
    "not-supported": "- not supported",
    "nothing-expected": "? nothing expected",
    "bad-case": "! bad case",
    "unreachable": "! no answer",
    "outcomes": "",
}
_GRAVE: tuple[Status, ...] = (
    "unreachable",
    "bad-case",
    "different",
    "not-supported",
    "nothing-expected",
    "as-expected",
)
_WHY = {
    4: "the server refused, went away or did not answer",
    2: "a case cannot be run as it is written",
    1: "an answer is not as expected",
    3: "nothing was compared in a case",
}


def render(results: ConformResults) -> str:
    """The whole text."""
    lines = [f"On {results.target.version}", f"Blocked: {results.target.blocked}.", ""]
    if any(case.status == "outcomes" for case in results.cases):
        lines += [line for case in results.cases for line in _outcomes(case)]
    else:
        lines += _matrix(results.cases)
    for case in results.cases:
        if case.status not in ("as-expected", "outcomes"):
            lines += ["", *_details(case)]
    lines += ["", _summary(results)]
    if results.exit_code:
        lines.append(f"Exit status {results.exit_code}: {_WHY[results.exit_code]}.")
    return "\n".join(lines)


def _matrix(cases: tuple[CaseResult, ...]) -> list[str]:
    """Case by isolation level; a group of cases is a row."""
    cells: dict[str, dict[str, Status]] = {}
    for case in cases:
        row = cells.setdefault(case.group, {})
        column = _column(case)
        seen = row.get(column)
        if seen is None or _GRAVE.index(case.status) < _GRAVE.index(seen):
            row[column] = case.status
    columns = [name for name in (*LEVELS, "mixed") if any(name in row for row in cells.values())]
    width = max(len("case"), *(len(name) for name in cells))
    lines = ["  ".join([f" {'case':{width}}", *(f"{name:18}" for name in columns)]).rstrip()]
    for name, row in cells.items():
        texts = [f"{_MARKS[row[column]] if column in row else '':18}" for column in columns]
        lines.append("  ".join([f" {name:{width}}", *texts]).rstrip())
    return lines


def _column(case: CaseResult) -> str:
    levels = {level.lower() for level in case.levels}
    return levels.pop() if len(levels) == 1 and levels <= set(LEVELS) else "mixed"


def _details(case: CaseResult) -> Iterator[str]:
    yield f"{_MARKS[case.status]}: {case.id}" + (f" ({case.title})" if case.title else "")
    if case.reason:
        yield f"    {case.reason}"
    last = None
    for row in case.differences:
        if (row.step, row.sql) != last:
            where = "at the end" if row.step is None else f"step {row.step}, {row.session}"
            yield f"    {where}: {row.sql}"
            last = (row.step, row.sql)
        yield f"        {row.key}: expected {_value(row.expected)}, got {_value(row.observed)}"


def _outcomes(case: CaseResult) -> Iterator[str]:
    if case.status != "outcomes":
        return
    total = sum(one.count for one in case.outcomes)
    impossible = f"; {case.impossible_orders} more cannot happen" if case.impossible_orders else ""
    yield f"{case.id}: {_plural(len(case.outcomes), 'outcome')} in {_plural(total, 'order')}{impossible}"
    for one in case.outcomes:
        yield f"  {_plural(one.count, 'order')}, such as {' '.join(one.order)}"
        for name, answers in one.answers.items():
            yield f"    {name}: {' | '.join(answers)}"
        yield f"    final: {_value(one.final)}"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "nothing" if value is None else json.dumps(value)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _summary(results: ConformResults) -> str:
    counts: dict[Status, int] = {}
    for case in results.cases:
        counts[case.status] = counts.get(case.status, 0) + 1
    words = {"outcomes": "tried in every order", "bad-case": "bad", "unreachable": "without an answer"}
    parts = [f"{count} {words.get(status, status.replace('-', ' '))}" for status, count in counts.items()]
    return f"{_plural(len(results.cases), 'case')}: {', '.join(parts)}."
