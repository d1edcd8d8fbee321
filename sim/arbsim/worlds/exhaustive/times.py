"""Whether a SQL statement lets the time decide anything.

now() that is stored in a column and never looked at decides nothing; then transactions do not depend on when they
began. Everything else does, as far as this module can tell: it looks for reasons to say no, and says yes without one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from arbsim.worlds.virtual.sql.parsing import Query, parse

if TYPE_CHECKING:
    from arbsim.worlds.virtual.sql.engine import Engine


def lets_time_decide(sql: str, engine: Engine) -> bool:
    """Whether a statement compares, computes with or returns a time."""
    times = _time_columns(engine)
    return any(
        isinstance(statement.parsed, Query) and _looks_at_times(statement.parsed.node, times)
        for statement in parse(sql)
    )


def _time_columns(engine: Engine) -> set[str]:
    return {
        column.name
        for table in engine.tables.values()
        for column in table.schema.columns
        if column.type.name == "timestamptz"
    }


def _looks_at_times(root: Any, times: set[str]) -> bool:
    if root.key == "create":
        return any(True for _ in _in_constraints(root, times))
    for node in root.walk():
        if isinstance(node, exp.Star) and times and not isinstance(node.parent, exp.Count):
            return True
        if isinstance(node, exp.CurrentTimestamp) and not _is_assigned(node, right=True):
            return True
        if isinstance(node, exp.Column) and node.name in times and not _is_assigned(node, right=False):
            return True
        if isinstance(node, exp.Cast) and "TIMESTAMP" in str(node.to.this).upper():
            return True
    return False


def _is_assigned(node: Any, *, right: bool) -> bool:
    """Whether a node is the whole of one side of an assignment of an UPDATE."""
    parent = node.parent
    return (
        isinstance(parent, exp.EQ)
        and (parent.expression if right else parent.this) is node
        and isinstance(parent.parent, exp.Update)
        and parent.arg_key == "expressions"
    )


def _in_constraints(root: Any, times: set[str]) -> Iterator[Any]:
    """Uses of a time column in a table's own definition other than the column itself with DEFAULT now()."""
    declared = {
        definition.name
        for definition in root.find_all(exp.ColumnDef)
        if "TIMESTAMP" in str(definition.args.get("kind")).upper()
    }
    for check in root.find_all(exp.CheckColumnConstraint, exp.Check):
        for column in check.find_all(exp.Column):
            if column.name in declared | times:
                yield column
    for key in root.find_all(exp.PrimaryKey, exp.UniqueColumnConstraint):
        for name in key.find_all(exp.Identifier):
            if name.name in declared | times:
                yield name
    for definition in root.find_all(exp.ColumnDef):
        if definition.name in declared:
            yield from definition.find_all(exp.PrimaryKeyColumnConstraint, exp.UniqueColumnConstraint)
