"""Table definitions: columns, keys, checks, defaults, and the names PostgreSQL derives for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from sqlglot import exp

from .errors import failure, not_supported
from .expressions import Fn
from .functions import Compiler
from .names import coercion, name_of, sql_type, table_name
from .parsing import Query
from .parsing import Statement as Text
from .values import Coerce, SqlType

MAX_PLANS = 10_000  # of compiled statements, and of table definitions, that are kept


@dataclass(slots=True)
class Column:
    """A column: name, type, NOT NULL, default (an expression without columns)."""

    name: str
    type: SqlType
    not_null: bool = False
    default: Fn | None = None
    coerce: Coerce | None = None


@dataclass(slots=True)
class Schema:
    """A table's definition. `uniques` has the primary key first: (name, column positions, primary)."""

    name: str
    columns: list[Column]
    key: tuple[int, ...] = ()
    uniques: list[tuple[str, tuple[int, ...], bool]] = field(default_factory=list)
    checks: list[tuple[str, Fn]] = field(default_factory=list)
    names: tuple[str, ...] = ()
    indexed: tuple[int, ...] = ()
    indexed_values: Callable[[tuple[Any, ...]], Any] = field(default=lambda values: ())
    """Of a row's values those that stand in a unique index: equal where all of them are."""
    plans: dict[str, Any] = field(default_factory=dict)

    def position(self, name: str) -> int | None:
        """The column's place, None where the table has no such column."""
        return self.names.index(name) if name in self.names else None


class _Builder:
    """Collects a CREATE TABLE's parts; names of constraints are chosen as PostgreSQL chooses them."""

    def __init__(self, name: str) -> None:
        self.schema = Schema(name, [])
        self.check_nodes: list[tuple[str, exp.Expression]] = []
        self.default_nodes: list[tuple[int, exp.Expression]] = []
        self.unique_columns: list[tuple[str, list[str]]] = []
        self.key_columns: tuple[str, list[str]] | None = None
        self.used: set[str] = set()

    def unused(self, wanted: str) -> str:
        """`wanted`, with a number where that name is taken."""
        name, number = wanted, 0
        while name in self.used:
            number += 1
            name = f"{wanted}{number}"
        self.used.add(name)
        return name

    def primary_key(self, columns: list[str], name: str = "") -> None:
        if self.key_columns is not None:
            raise failure("42P16", f'multiple primary keys for table "{self.schema.name}" are not allowed')
        self.key_columns = (self.unused(name or f"{self.schema.name}_pkey"), columns)

    def unique(self, columns: list[str], name: str = "") -> None:
        self.unique_columns.append(
            (self.unused(name or f"{self.schema.name}_{'_'.join(columns)}_key"), columns)
        )

    def check(self, node: exp.Expression, column: str = "", name: str = "") -> None:
        """A CHECK; without a name it takes the column's where its expression names exactly one."""
        if not name:
            names = list(dict.fromkeys(name_of(found.this) for found in node.find_all(exp.Column)))
            if not column and len(names) == 1:
                column = names[0]
            name = self.unused(
                f"{self.schema.name}_{column}_check" if column else f"{self.schema.name}_check"
            )
        else:
            self.used.add(name)
        self.check_nodes.append((name, node))


def build_schema(node: exp.Create) -> Schema:
    """The definition that a CREATE TABLE statement states."""
    body = node.this
    if not isinstance(body, exp.Schema):
        raise not_supported("only CREATE TABLE name (columns) is supported")
    builder = _Builder(table_name(body.this))
    for part in body.expressions:
        _add_part(builder, part)
    return _finish(builder)


def _add_part(builder: _Builder, part: exp.Expression) -> None:
    if isinstance(part, exp.ColumnDef):
        _add_column(builder, part)
    elif isinstance(part, exp.PrimaryKey):
        builder.primary_key(_column_list(part.expressions))
    elif isinstance(part, exp.UniqueColumnConstraint):
        builder.unique(_column_list(part.this.expressions))
    elif isinstance(part, exp.CheckColumnConstraint):
        builder.check(part.this)
    elif isinstance(part, exp.Constraint) and len(part.expressions) == 1:
        _add_named(builder, name_of(part.this), part.expressions[0])
    else:
        raise not_supported("this part of CREATE TABLE is not supported")


def _add_named(builder: _Builder, name: str, part: exp.Expression) -> None:
    if isinstance(part, exp.CheckColumnConstraint):
        builder.check(part.this, name=name)
    elif isinstance(part, exp.PrimaryKey):
        builder.primary_key(_column_list(part.expressions), name)
    elif isinstance(part, exp.UniqueColumnConstraint):
        builder.unique(_column_list(part.this.expressions), name)
    else:
        raise not_supported("this constraint is not supported")


def _column_list(nodes: Sequence[exp.Expression]) -> list[str]:
    names = []
    for node in nodes:
        inner = node.this if isinstance(node, exp.Ordered) else node
        inner = inner.this if isinstance(inner, exp.Column) else inner
        if not isinstance(inner, exp.Identifier):
            raise not_supported("only plain columns are supported in a key")
        names.append(name_of(inner))
    return names


def _add_column(builder: _Builder, node: exp.ColumnDef) -> None:
    name = name_of(node.this)
    if any(column.name == name for column in builder.schema.columns):
        raise failure("42701", f'column "{name}" specified more than once')
    if node.args.get("kind") is None:
        raise failure("42601", f'syntax error: column "{name}" has no type')
    column = Column(name, sql_type(node.args["kind"]))
    column.coerce = coercion(column.type)
    builder.schema.columns.append(column)
    for constraint in node.args.get("constraints") or []:
        label = constraint.args.get("this")
        label_name = name_of(label) if label is not None else ""
        kind = constraint.args["kind"]
        if isinstance(kind, exp.PrimaryKeyColumnConstraint):
            builder.primary_key([name], label_name)
        elif isinstance(kind, exp.NotNullColumnConstraint):
            column.not_null = not kind.args.get("allow_null")
        elif isinstance(kind, exp.UniqueColumnConstraint):
            builder.unique([name], label_name)
        elif isinstance(kind, exp.CheckColumnConstraint):
            builder.check(kind.this, name, label_name)
        elif isinstance(kind, exp.DefaultColumnConstraint):
            builder.default_nodes.append((len(builder.schema.columns) - 1, kind.this))
        else:
            raise not_supported("this column constraint is not supported")


def _finish(builder: _Builder) -> Schema:
    schema = builder.schema
    schema.names = tuple(column.name for column in schema.columns)

    def positions(columns: list[str]) -> tuple[int, ...]:
        for column in columns:
            if column not in schema.names:
                raise failure("42703", f'column "{column}" named in key does not exist')
        return tuple(schema.names.index(column) for column in columns)

    if builder.key_columns is not None:
        name, columns = builder.key_columns
        schema.key = positions(columns)
        schema.uniques.append((name, schema.key, True))
        for position in schema.key:
            schema.columns[position].not_null = True
    for name, columns in builder.unique_columns:
        schema.uniques.append((name, positions(columns), False))
    schema.indexed = tuple(sorted({position for _, where, _ in schema.uniques for position in where}))
    if schema.indexed:
        schema.indexed_values = itemgetter(*schema.indexed)
    for position, node in builder.default_nodes:
        column = schema.columns[position]
        compiler = Compiler(None, allow_parameters=False)
        column.default = compiler.assign(compiler.scalar(node), column.name, column.type, column.coerce)
    checks = []
    for name, node in builder.check_nodes:
        compiler = Compiler(schema, allow_parameters=False)
        checks.append((name, compiler.condition(node, "CHECK")))
    schema.checks = sorted(checks, key=lambda check: check[0])
    return schema


_SCHEMAS: dict[str, Schema] = {}


def schema_of(text: Text) -> Schema:
    """The definition a CREATE TABLE states; the same text gives the same object, plans included."""
    schema = _SCHEMAS.get(text.text)
    if schema is None:
        parsed = text.require()
        assert isinstance(parsed, Query)
        if len(_SCHEMAS) >= MAX_PLANS:
            _SCHEMAS.clear()
        try:
            schema = build_schema(parsed.node)  # type: ignore[arg-type]
        except RecursionError:
            raise failure("54001", "the statement is nested too deeply") from None
        _SCHEMAS[text.text] = schema
    return schema
