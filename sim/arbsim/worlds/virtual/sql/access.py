"""Which rows a statement looks at: by key, by key range, or all; and the scan itself.

The choice is PostgreSQL's with sequential scans discouraged: a unique index whose columns are all
compared with constants, else a range of the primary key's first column, else every row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from .expressions import Env, Fn
from .functions import Compiler

if TYPE_CHECKING:
    from .catalog import Schema
    from .storage import Index, Key, Row, Table, Version
    from .transactions import Transaction

_MIRROR: dict[type[exp.Expression], type[exp.Expression]] = {
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.EQ: exp.EQ,
}


@dataclass(slots=True)
class Access:
    """How to find the candidate rows.

    `index` is None for a full scan; `keys` are per column the constants it may equal; otherwise `low`
    and `high` bound the first column of the primary key (value, and whether it is left out).
    """

    index: int | None = None
    keys: tuple[tuple[Fn, ...], ...] | None = None
    low: tuple[Fn, bool] | None = None
    high: tuple[Fn, bool] | None = None

    def lookup_keys(self, env: Env) -> list[Key]:
        """The keys to look up, in order, each once."""
        assert self.keys is not None
        if len(self.keys) == 1 and len(self.keys[0]) == 1:
            value = self.keys[0][0](None, env)
            return [] if value is None else [(value,)]
        choices = [
            [value for fn in functions if (value := fn(None, env)) is not None] for functions in self.keys
        ]
        return sorted(set(product(*choices)))


def choose(schema: Schema, where: exp.Expression | None, compiler: Compiler, ordered: bool) -> Access:
    """The access path for a WHERE clause; `ordered` asks for primary key order.

    The clause was compiled before with the same compiler, so every part compiles.
    """
    parts = list(_conjuncts(where)) if where is not None else []
    equal: dict[int, tuple[Fn, ...]] = {}
    bounds: dict[int, list[tuple[type[exp.Expression], Fn]]] = {}
    for part in parts:
        for column, kind, functions in _constraints(part, compiler):
            if kind is exp.EQ:
                equal.setdefault(column, functions)
            else:
                bounds.setdefault(column, []).append((kind, functions[0]))
    for number, (_, columns, _) in enumerate(schema.uniques):
        if all(column in equal for column in columns):
            return Access(number, tuple(equal[column] for column in columns))
    if schema.key:
        first = schema.key[0]
        if first in equal and len(equal[first]) == 1:
            fn = equal[first][0]
            return Access(0, None, (fn, False), (fn, False))
        if first in bounds:
            return _range(bounds[first])
        if ordered:
            return Access(0)
    return Access()


def _range(bounds: Sequence[tuple[type[exp.Expression], Fn]]) -> Access:
    """One lower and one upper bound; further ones are left to the filter."""
    access = Access(0)
    for kind, fn in bounds:
        if kind in (exp.GT, exp.GTE) and access.low is None:
            access.low = (fn, kind is exp.GT)
        if kind in (exp.LT, exp.LTE) and access.high is None:
            access.high = (fn, kind is exp.LT)
    return access


def _conjuncts(node: exp.Expression) -> Iterator[exp.Expression]:
    if isinstance(node, exp.Paren):
        yield from _conjuncts(node.this)
    elif isinstance(node, exp.And):
        yield from _conjuncts(node.this)
        yield from _conjuncts(node.expression)
    elif isinstance(node, exp.Between):
        yield exp.GTE(this=node.this, expression=node.args["low"])
        yield exp.LTE(this=node.this, expression=node.args["high"])
    else:
        yield node


def _constraints(
    node: exp.Expression, compiler: Compiler
) -> Iterator[tuple[int, type[exp.Expression], tuple[Fn, ...]]]:
    """(column, comparison, constants) of a condition that an index can serve."""
    kind = type(node)
    if kind in _MIRROR:
        left, right = node.this, node.args["expression"]
        for column, other, comparison in ((left, right, kind), (right, left, _MIRROR[kind])):
            found = _indexable(column, [other], compiler)
            if found is not None:
                yield found[0], comparison, found[1]
                return
    elif isinstance(node, exp.In):
        found = _indexable(node.this, node.expressions, compiler)
        if found is not None:
            yield found[0], exp.EQ, found[1]
    elif isinstance(node, exp.Or):
        yield from _same_column(node, compiler)


def _same_column(
    node: exp.Or, compiler: Compiler
) -> Iterator[tuple[int, type[exp.Expression], tuple[Fn, ...]]]:
    """`id = 1 OR id = 2` is `id IN (1, 2)`."""
    columns: set[int] = set()
    functions: list[Fn] = []
    stack: list[exp.Expression] = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, exp.Paren):
            stack.append(part.this)
        elif isinstance(part, exp.Or):
            stack += [part.expression, part.this]
        else:
            found = list(_constraints(part, compiler)) if isinstance(part, exp.EQ | exp.In) else []
            if len(found) != 1:
                return
            columns.add(found[0][0])
            functions += found[0][2]
    if len(columns) == 1:
        yield columns.pop(), exp.EQ, tuple(functions)


def _indexable(
    column: exp.Expression, others: Sequence[exp.Expression], compiler: Compiler
) -> tuple[int, tuple[Fn, ...]] | None:
    while isinstance(column, exp.Paren):
        column = column.this
    if not isinstance(column, exp.Column):
        return None
    (position,) = compiler.scalar(column).columns
    type_name = compiler.schema.columns[position].type.name if compiler.schema else None
    compiled = [compiler.scalar(other, type_name) for other in others]
    if any(other.columns or not other.constant for other in compiled):
        return None
    return position, tuple(other.fn for other in compiled)


def scan(
    table: Table,
    access: Access,
    where: Fn | None,
    tx: Transaction,
    env: Env,
    examined: list[Version],
) -> Iterator[tuple[Row, Version]]:
    """The rows that `tx` sees and the condition accepts, in the order an executor meets them.

    What is visible is settled at the first step; the condition is tried, and in an index scan the row counts as
    read, only when the statement asks for it: one that waits for a row, or stops at its LIMIT, has not looked at the
    next. A heap is read by the page. `examined` gets what was read: those rows, and of a look-up by key also what
    the condition refused.
    """
    ssi = tx.engine.ssi if tx.ssi is not None else None
    snapshot = tx.snapshot if tx.snapshot is not None else tx.engine.commit_seq
    index = table.indexes[access.index] if access.index is not None else None
    candidates = [
        (key, row, row.visible(tx, snapshot)) for key, row in _candidates(table, index, access, tx, env)
    ]
    if index is None and not tx.engine.yugabyte and len(candidates) > 1:
        candidates.sort(key=_heap_place)
    if ssi is not None and tx.ssi is not None and index is None:
        for _, row, version in candidates:
            ssi.read_row(tx.ssi, row, version, True)
    for key, row, version in candidates:
        if ssi is not None and tx.ssi is not None and index is not None:
            ssi.read_row(tx.ssi, row, version, False)
        if version is None:
            continue
        if key is not None and index is not None and key != index.key_of(version.values):
            continue
        if where is None or where(version.values, env) is True:
            examined.append(version)
            yield row, version
        elif access.keys is not None:
            examined.append(version)


def _heap_place(candidate: tuple[Key | None, Row, Version | None]) -> int:
    """A heap is read in the order in which it was written; what is not visible has no place of its own."""
    version = candidate[2]
    return version.id if version is not None else -1


def _candidates(
    table: Table, index: Index | None, access: Access, tx: Transaction, env: Env
) -> list[tuple[Key | None, Row]]:
    if index is None:
        if tx.ssi is not None:
            tx.engine.ssi.read_table(tx.ssi, table)
        if tx.engine.yugabyte and table.indexes:
            index = table.indexes[0]
            return [
                (None, row) for key in index.range(None, None, False, False) for row in index.entries[key]
            ]
        return [(None, row) for row in table.rows]
    if access.keys is not None:
        keys = access.lookup_keys(env)
        if not keys:  # compared with NULL: PostgreSQL reads nothing, and so locks nothing
            return []
        if tx.ssi is not None:
            tx.engine.ssi.read_keys(tx.ssi, index, keys)
        entries = index.entries
        return [(key, row) for key in keys if key in entries for row in entries[key]]
    return _range_candidates(index, access, tx, env)


def _range_candidates(
    index: Index, access: Access, tx: Transaction, env: Env
) -> list[tuple[Key | None, Row]]:
    low: Any = access.low[0](None, env) if access.low else None
    high: Any = access.high[0](None, env) if access.high else None
    if (access.low and low is None) or (access.high and high is None):
        return []
    if tx.ssi is not None:
        tx.engine.ssi.read_range(tx.ssi, index, low, high)
    keys = index.range(low, high, bool(access.low and access.low[1]), bool(access.high and access.high[1]))
    entries = index.entries
    return [(key, row) for key in keys for row in entries[key]]
