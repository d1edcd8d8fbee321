"""Looking at SQL text before anything runs: what is outside the subset, and unknown names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from .catalog import Schema, schema_of
from .errors import Failure, SqlError
from .names import name_of, table_name, target_table
from .parsing import Query, Statement, parse
from .plans import compile_query
from .whitelist import Problem, position_of


def check_statement(sql: str, tables: Sequence[str] = ()) -> list[Problem]:
    """Every fault of a text, with character offsets into it; an empty list means that it would run.

    `tables` are the CREATE TABLE texts the statement may rely on; CREATE TABLE inside `sql` counts
    for what follows it. Nothing is executed.
    """
    schemas: dict[str, Schema] = {}
    for text in tables:
        for statement in parse(text):
            _remember(statement, schemas)
    problems: list[Problem] = []
    statements = parse(sql)
    if not statements:
        return [Problem(0, len(sql), "there is no statement", "42601")]
    for statement in statements:
        problems += statement.problems or list(_names_and_types(statement, schemas))
    return problems


def _remember(statement: Statement, schemas: dict[str, Schema]) -> None:
    parsed = statement.parsed
    if isinstance(parsed, Query) and isinstance(parsed.node, exp.Create) and not statement.problems:
        try:
            schema = schema_of(statement)
        except Failure:
            return
        schemas[schema.name] = schema


def _names_and_types(statement: Statement, schemas: dict[str, Schema]) -> Iterator[Problem]:
    parsed = statement.parsed
    if not isinstance(parsed, Query):
        return
    node = parsed.node
    whole = (statement.start, statement.end)
    try:
        if isinstance(node, exp.Create):
            schemas[schema_of(statement).name] = schema_of(statement)
            return
        if isinstance(node, exp.Drop):
            return
        target = target_table(node)
        schema = schemas.get(table_name(target)) if target is not None else None
    except Failure as fault:
        yield _problem(fault.error, whole)
        return
    if target is not None and schema is None:
        known = ", ".join(sorted(schemas)) or "none"
        yield Problem(
            *(position_of(target) or whole),
            f'table "{table_name(target)}" does not exist; known tables: {known}',
            "42P01",
        )
        return
    unknown = list(_unknown_columns(node, schema, whole)) if schema is not None else []
    yield from unknown
    if not unknown:
        try:
            compile_query(node, schema)
        except Failure as fault:
            yield _problem(fault.error, whole)


def _unknown_columns(node: exp.Expression, schema: Schema, whole: tuple[int, int]) -> Iterator[Problem]:
    aliases = {name_of(alias.args["alias"]) for alias in node.find_all(exp.Alias)}
    for column in node.find_all(exp.Column):
        if not isinstance(column.this, exp.Identifier):
            continue
        name = name_of(column.this)
        if name in schema.names or name in aliases or name == "default":
            continue
        yield Problem(
            *(position_of(column) or whole),
            f'column "{name}" does not exist; table "{schema.name}" has {", ".join(schema.names)}',
            "42703",
        )


def _problem(error: SqlError, whole: tuple[int, int]) -> Problem:
    return Problem(*(error.position or whole), error.message, error.sqlstate)
