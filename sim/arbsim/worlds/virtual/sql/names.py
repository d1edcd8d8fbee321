"""Names and types as they stand in a syntax tree."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from .errors import failure
from .values import BOOL, INT4, INT8, NUMERIC, TEXT, TIMESTAMPTZ, Coerce, SqlType, numeric_coercion

_TYPE_NAMES = {
    "INT": INT4,
    "BIGINT": INT8,
    "DECIMAL": NUMERIC,
    "TEXT": TEXT,
    "VARCHAR": TEXT,
    "BOOLEAN": BOOL,
    "TIMESTAMPTZ": TIMESTAMPTZ,
}


def name_of(identifier: exp.Expression) -> str:
    """An identifier as PostgreSQL folds it: lower case unless quoted."""
    return identifier.name if identifier.args.get("quoted") else identifier.name.lower()


def target_table(node: exp.Expression) -> exp.Table | None:
    """The table node a query works on, None for a SELECT without FROM."""
    if isinstance(node, exp.Select):
        source = node.args.get("from_")
        return source.this if source is not None else None
    table = node.this.this if isinstance(node.this, exp.Schema) else node.this
    return table if isinstance(table, exp.Table) else None


def table_name(table: exp.Expression) -> str:
    """The name of a table node; only the schema public exists."""
    if not isinstance(table, exp.Table):
        raise failure("42601", "syntax error: a table name is expected")
    db = table.args.get("db")
    if db is not None and name_of(db) != "public":
        raise failure("3F000", f'schema "{name_of(db)}" does not exist')
    return name_of(table.this)


def sql_type(node: exp.DataType) -> SqlType:
    """A type node as SqlType."""
    sizes = [int(parameter.this.name) for parameter in node.expressions]
    name = _TYPE_NAMES[node.this.name]
    if name == NUMERIC and sizes:
        precision, scale = sizes[0], sizes[1] if len(sizes) > 1 else 0
        if not 1 <= precision <= 1000 or not 0 <= scale <= precision:
            raise failure("22023", f"NUMERIC precision {precision} with scale {scale} is not supported")
        return SqlType(name, precision, scale)
    if node.this.name == "VARCHAR" and sizes:
        return SqlType(name, length=sizes[0])
    if sizes:
        raise failure("42601", "this type takes no size")
    return SqlType(name)


def coercion(column_type: SqlType) -> Coerce | None:
    """What storing a value of the type's base type in the column does to it, None for nothing."""
    if column_type.name == NUMERIC:
        return numeric_coercion(column_type.precision, column_type.scale)
    if column_type.length is not None:
        return _varchar(column_type.length)
    return None


def _varchar(length: int) -> Callable[[str], str]:
    def coerce(value: str) -> str:
        if len(value) > length:
            if value[length:].strip(" "):
                raise failure("22001", f"value too long for type character varying({length})")
            return value[:length]
        return value

    return coerce
