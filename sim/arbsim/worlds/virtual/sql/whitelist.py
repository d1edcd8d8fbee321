"""What of SQL is supported: node types and their arguments. Everything else is refused by position.

sqlglot accepts far more than PostgreSQL (`UPDATE ... LIMIT 1`, MERGE) and more than this engine
runs, so a statement passes only if each of its nodes, and each argument of each node, is listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

SUPPORTED_EXPRESSIONS = (
    "columns, literals, parameters, + - * / %, ||, comparisons, BETWEEN, IN (list), IS [NOT] NULL, "
    "IS [NOT] TRUE or FALSE, IS [NOT] DISTINCT FROM, LIKE, AND, OR, NOT, CASE, casts, abs, coalesce, "
    "greatest, least, nullif, round, mod, now(), and the aggregates sum, count, min, max, avg"
)

SUPPORTED_TYPES = "int, bigint, numeric(p,s), text, varchar, boolean, timestamptz"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a SQL text: where (character offsets), what, and the SQLSTATE a server would give."""

    start: int
    end: int
    message: str
    sqlstate: str = "0A000"


_BINARY = ("this", "expression")
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "Select": ("expressions", "from_", "where", "order", "limit", "offset", "locks"),
    "Insert": ("this", "expression", "conflict", "returning"),
    "Update": ("this", "expressions", "where", "returning"),
    "Delete": ("this", "where", "returning"),
    "Create": ("this", "kind", "exists"),
    "Drop": ("tables", "kind", "exists"),
    "From": ("this",),
    "Where": ("this",),
    "Order": ("expressions",),
    "Ordered": ("this", "desc", "nulls_first"),
    "Limit": ("expression",),
    "Offset": ("expression",),
    "Lock": ("update", "expressions", "wait", "key"),
    "Returning": ("expressions",),
    "Values": ("expressions",),
    "Tuple": ("expressions",),
    "OnConflict": ("action", "conflict_keys", "constraint"),
    "Schema": ("this", "expressions"),
    "Table": ("this", "db", "alias"),
    "TableAlias": ("this",),
    "Identifier": ("this", "quoted"),
    "Column": ("this", "table"),
    "Alias": ("this", "alias"),
    "Star": (),
    "Var": ("this",),
    "Literal": ("this", "is_string"),
    "Boolean": ("this",),
    "Null": (),
    "Parameter": ("this",),
    "Paren": ("this",),
    "Neg": ("this",),
    "Not": ("this",),
    "Cast": ("this", "to", "_type"),
    "DataType": ("this", "expressions"),
    "DataTypeParam": ("this",),
    "Div": ("this", "expression", "typed"),
    "DPipe": ("this", "expression", "safe"),
    "Is": ("this", "expression", "negate"),
    "Between": ("this", "low", "high"),
    "In": ("this", "expressions"),
    "Case": ("this", "ifs", "default"),
    "If": ("this", "true"),
    "Coalesce": ("this", "expressions"),
    "Greatest": ("this", "expressions", "ignore_nulls"),
    "Least": ("this", "expressions", "ignore_nulls"),
    "Round": ("this", "decimals"),
    "Abs": ("this",),
    "Sum": ("this",),
    "Avg": ("this",),
    "Min": ("this",),
    "Max": ("this",),
    "Count": ("this", "big_int"),
    "Distinct": ("expressions",),
    "CurrentTimestamp": (),
    "ColumnDef": ("this", "kind", "constraints"),
    "ColumnConstraint": ("this", "kind"),
    "Constraint": ("this", "expressions"),
    "PrimaryKeyColumnConstraint": ("include",),
    "PrimaryKey": ("expressions", "include"),
    "UniqueColumnConstraint": ("this", "include"),
    "NotNullColumnConstraint": ("allow_null",),
    "CheckColumnConstraint": ("this",),
    "DefaultColumnConstraint": ("this",),
    "IndexParameters": (),
    **dict.fromkeys(
        ("Add", "Sub", "Mul", "Mod", "EQ", "NEQ", "GT", "GTE", "LT", "LTE", "And", "Or", "Like"), _BINARY
    ),
    **dict.fromkeys(("NullSafeEQ", "NullSafeNEQ", "Nullif"), _BINARY),
}
_TYPES = ("INT", "BIGINT", "DECIMAL", "TEXT", "VARCHAR", "BOOLEAN", "TIMESTAMPTZ")
_WORDS = {
    "with_": "WITH",
    "joins": "more than one table",
    "group": "GROUP BY",
    "having": "HAVING",
    "distinct": "DISTINCT",
    "windows": "WINDOW",
    "query": "a subquery",
    "from_": "FROM here",
    "using": "USING",
    "limit": "LIMIT here",
    "order": "ORDER BY here",
    "symmetric": "SYMMETRIC",
}


def problems_of(root: exp.Expression, start: int, end: int) -> Iterator[Problem]:
    """Every node and argument outside the subset; (start, end) is the statement's own range."""
    for node in _walk(root):
        message = _fault(node)
        if message:
            position = position_of(node) or (start, end)
            yield Problem(*position, message)


def _walk(root: exp.Expression) -> Iterator[exp.Expression]:
    """Nodes from the outside in; nothing below a node that is refused as a type."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        if type(node).__name__ in _ARGUMENTS:
            stack.extend(reversed(list(node.iter_expressions())))


def _fault(node: exp.Expression) -> str:
    name = type(node).__name__
    allowed = _ARGUMENTS.get(name)
    if allowed is None:
        return f"{_describe(node)} is not supported; supported are {SUPPORTED_EXPRESSIONS}"
    detail = _detail_fault(node)
    if detail:
        return detail
    for argument, value in node.args.items():
        if argument not in allowed and value not in (None, False, []):
            return f"{_WORDS.get(argument, argument.rstrip('_').upper())} is not supported"
    return ""


def _detail_fault(node: exp.Expression) -> str:
    """Faults that lie in an argument's value rather than in its presence."""
    if isinstance(node, exp.DataType) and node.this.name not in _TYPES:
        return f"this type is not supported; supported are {SUPPORTED_TYPES}"
    if isinstance(node, exp.Create | exp.Drop) and node.args.get("kind") != "TABLE":
        return "only tables can be created and dropped"
    if isinstance(node, exp.Parameter) and not node.name.isdigit():
        return "parameters are written $1, $2, ..."
    if isinstance(node, exp.Like) and isinstance(node.expression, exp.Any | exp.All):
        return "LIKE ANY is not supported"
    if isinstance(node, exp.OnConflict) and node.args["action"].name != "DO NOTHING":
        return "only DO NOTHING is supported of ON CONFLICT"
    if isinstance(node, exp.Select) and len(node.args.get("locks") or []) > 1:
        return "one locking clause is supported"
    if isinstance(node, exp.Insert) and not isinstance(node.expression, exp.Values):
        return "only VALUES is supported as the source of INSERT"
    if isinstance(node, exp.From) and not isinstance(node.this, exp.Table):
        return "only a table is supported in FROM"
    return ""


def _describe(node: exp.Expression) -> str:
    if isinstance(node, exp.Anonymous):
        return f"the function {node.name}()"
    if isinstance(node, exp.Func):
        return f"the function {node.sql_name().lower()}()"
    return f"{type(node).__name__}"


def position_of(node: exp.Expression) -> tuple[int, int] | None:
    """The characters a node covers, as far as sqlglot knows: the span of its positioned parts."""
    spans = [part.meta for part in node.walk() if part.meta.get("end") is not None]
    if not spans:
        return None
    return min(span["start"] for span in spans), max(span["end"] for span in spans) + 1
