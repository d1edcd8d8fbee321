"""The SQL in a scenario, checked before anything runs, with the place of each mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from arbsim.scenario.mistakes import Mistake, nearest
from arbsim.scenario.models import ACCT_TABLE
from arbsim.scenario.nodes import Mapping, Node, Scalar, find
from arbsim.scenario.nodes import Sequence as ListNode
from arbsim.scenario.source import Source
from arbsim.transaction import PARAMETER_NAMES, BindError, Bound, Condition, Statement

_KINDS = ("withdraw", "deposit", "transfer", "read")
_CONDITIONS = ("reject unless", "reject if", "accept if")
_TRANSACTION_WORDS = (
    "begin", "start", "commit", "rollback", "end", "abort", "savepoint", "release", "set", "create", "drop",
    "alter", "truncate",
)  # fmt: skip


class SqlProblem(Protocol):
    """What a checker found: characters from ``start`` to ``end`` of the text, and what is wrong."""

    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def end(self) -> int: ...  # noqa: D102
    @property
    def message(self) -> str: ...  # noqa: D102


SqlCheck = Callable[[str, Sequence[str]], Sequence[SqlProblem]]
"""Takes a text and the CREATE TABLE statements that it may rely on; returns everything that is wrong."""


def check_scenario_sql(source: Source, root: Node, check: SqlCheck | None) -> list[Mistake]:
    """Return what is wrong with the SQL of a scenario; names are checked also without a checker."""
    table = find(root, ("database", "table"))
    given = isinstance(table, Scalar) and table is not root
    accounts = table.text if isinstance(table, Scalar) and given and table.text else ACCT_TABLE
    mistakes = list(_check_table(source, table, check)) if isinstance(table, Scalar) and given else []
    if not mistakes:
        for sql in _own_transactions(root):
            mistakes += _check_transaction(source, sql, accounts, check)
    return mistakes


def _own_transactions(root: Node) -> Iterator[Mapping]:
    designs = _value(root, "designs")
    for entry in designs.items if isinstance(designs, ListNode) else ():
        sql = _value(entry, "sql")
        if isinstance(sql, Mapping):
            yield sql


def _check_table(source: Source, node: Scalar, check: SqlCheck | None) -> Iterator[Mistake]:
    text = node.text or ""
    problems = list(check(text, ())) if check is not None else []
    for problem in problems:
        yield _sql_mistake(source, node, problem.start, problem.end, problem.message)


def _check_transaction(
    source: Source, sql: Mapping, accounts: str, check: SqlCheck | None
) -> Iterator[Mistake]:
    tables = [accounts]
    listed = _value(sql, "tables")
    for node in listed.items if isinstance(listed, ListNode) else ():
        if isinstance(node, Scalar) and node.text:
            wrong = list(_check_table(source, node, check))
            yield from wrong
            tables += [] if wrong else [node.text]
    for kind in _KINDS:
        steps = _value(sql, kind)
        for step in steps.items if isinstance(steps, ListNode) else ():
            for key in ("statement", *_CONDITIONS):
                node = _value(step, key)
                if isinstance(node, Scalar) and node.text:
                    yield from _check_step(source, node, key, tables, check)


def _check_step(
    source: Source, node: Scalar, key: str, tables: Sequence[str], check: SqlCheck | None
) -> Iterator[Mistake]:
    text = node.text or ""
    try:
        bound = Statement(text).bound() if key == "statement" else Condition("reject", True, text).bound()
    except BindError as error:
        hint = nearest(error.word, PARAMETER_NAMES) if error.word else "write :amount, :account and so on"
        start, end = place_inside(source, node, error.start, error.end)
        yield source.mistake("E103", start, end, str(error), hint)
        return
    first = text.split(maxsplit=1)[0].lower().rstrip(";") if text.strip() else ""
    if key == "statement" and first in _TRANSACTION_WORDS:
        start, end = place_inside(
            source, node, text.lower().index(first), text.lower().index(first) + len(first)
        )
        hint = "isolation names the level; tables has the CREATE TABLE statements"
        yield source.mistake("E113", start, end, "arbsim begins and ends the transaction itself", hint)
        return
    for problem in check(bound.sql, tables if key == "statement" else ()) if check is not None else ():
        start, end = _original(bound, problem.start, problem.end)
        yield _sql_mistake(source, node, start, end, problem.message)


def _original(bound: Bound, start: int, end: int) -> tuple[int, int]:
    """Return characters of the bound SQL as characters of the text that was written."""
    last = len(bound.origins) - 1
    first = bound.origins[min(max(start, 0), last)]
    return first, max(first + 1, bound.origins[min(max(end, 0), last)])


def _sql_mistake(source: Source, node: Scalar, start: int, end: int, message: str) -> Mistake:
    first, last = place_inside(source, node, start, end)
    return source.mistake("E113", first, last, message)


def place_inside(source: Source, node: Scalar, start: int, end: int) -> tuple[int, int]:
    """Return where the characters of a value stand in the source.

    Quotes, folding and indentation lie between the two, so the words themselves are looked for: the n-th in
    the value is the n-th in the source. Where they are not found the whole value is meant.
    """
    text = node.text or ""
    word = text[start:end].split("\n")[0]
    if word.strip():
        written = source.text[node.start : node.end]
        found = -1
        for _ in range(text.count(word, 0, start) + 1):
            found = written.find(word, found + 1)
        if found >= 0:
            return node.start + found, node.start + found + len(word)
    return node.start, node.end


def _value(node: Node | None, key: str) -> Any:
    return node.pairs[key][1] if isinstance(node, Mapping) and key in node.pairs else None
