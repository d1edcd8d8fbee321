"""Statements compiled against a table definition: what to scan, test, compute, lock and return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar

from sqlglot import exp

from .access import Access, choose
from .catalog import Column, Schema
from .errors import failure, not_supported
from .expressions import Aggregate, Env, Fn
from .functions import Compiler
from .locks import BLOCK, KEY_SHARE, NO_KEY_UPDATE, NOWAIT, SHARE, SKIP, UPDATE
from .names import name_of, target_table
from .values import INT4, INT8, NUMERIC, TEXT, argument
from .whitelist import position_of


@dataclass(slots=True)
class Plan:
    """What all statements share. `parameters` are the types of $1, $2, ...; `uses_now` asks for the time.

    PostgreSQL answers with `tag` and the number of rows. `lock` is the strength of the lock that it takes on a row,
    or 0. `row_key` is the index, its column and the value by which a SELECT or an UPDATE finds the one row that it is
    about, where that is all there is to it.
    """

    tag: ClassVar[str]

    schema: Schema | None
    kind: str
    parameters: tuple[str, ...] = ()
    uses_now: bool = False
    fast_path: bool = False
    columns: tuple[str, ...] = ()
    outputs: tuple[Fn, ...] = ()
    access: Access = field(default_factory=Access)
    where: Fn | None = None
    lock: int = 0
    row_key: tuple[int, int, Fn] | None = None

    def arguments(self, args: Sequence[object]) -> tuple[Any, ...]:
        """The Python arguments as values of the parameters' types."""
        if len(args) != len(self.parameters):
            raise failure(
                "08P01",
                f"the statement requires {len(self.parameters)} parameters, but {len(args)} were given",
            )
        return tuple(map(argument, args, self.parameters, count(1)))


@dataclass(slots=True)
class SelectPlan(Plan):
    """SELECT; `sort` are (function, descending, nulls first).

    `stops_early`: the scan gives the rows in the order asked for, so a LIMIT ends it.
    """

    tag = "SELECT"

    aggregates: tuple[Aggregate, ...] | None = None
    sort: tuple[tuple[Fn, bool, bool], ...] = ()
    limit: Fn | None = None
    offset: Fn | None = None
    policy: str = BLOCK
    stops_early: bool = False


@dataclass(slots=True)
class InsertPlan(Plan):
    """INSERT; each row has one function per column of the table; `conflict` are the arbiter indexes."""

    tag = "INSERT 0"

    rows: tuple[tuple[Fn, ...], ...] = ()
    conflict: frozenset[int] | None = None


@dataclass(slots=True)
class UpdatePlan(Plan):
    """UPDATE; `assignments` are (position, function); one that changes a key takes a stronger lock than `lock`."""

    tag = "UPDATE"

    assignments: tuple[tuple[int, Fn], ...] = ()
    touches_key: bool = False
    relative: bool = True


@dataclass(slots=True)
class DeletePlan(Plan):
    """DELETE."""

    tag = "DELETE"


def compile_query(node: exp.Expression, schema: Schema | None) -> Plan:
    """The plan of a SELECT, INSERT, UPDATE or DELETE; raises Failure as a server would."""
    try:
        return _compile(node, schema)
    except RecursionError:
        raise failure("54001", "the statement is nested too deeply") from None


def _compile(node: exp.Expression, schema: Schema | None) -> Plan:
    if isinstance(node, exp.Select):
        return _select(node, schema)
    if schema is None:
        raise failure("42601", "syntax error: a table is expected")
    if isinstance(node, exp.Insert):
        return _insert(node, schema)
    if isinstance(node, exp.Update):
        return _update(node, schema)
    if isinstance(node, exp.Delete):
        return _delete(node, schema)
    raise not_supported("this statement is not supported")


def _compiler(node: exp.Expression, schema: Schema | None) -> Compiler:
    table = target_table(node)
    alias = table.args.get("alias") if table is not None else None
    return Compiler(schema, name_of(alias.this) if alias is not None else "")


def _finish(plan: Plan, compiler: Compiler) -> None:
    missing = [n for n in range(1, compiler.parameter_count + 1) if n not in compiler.parameter_types]
    if missing:
        raise failure("42P18", f"could not determine data type of parameter ${missing[0]}")
    plan.parameters = tuple(compiler.parameter_types[n] for n in range(1, compiler.parameter_count + 1))
    plan.uses_now = compiler.uses_now


def _where(node: exp.Expression, compiler: Compiler) -> Fn | None:
    where = node.args.get("where")
    return compiler.condition(where.this, "WHERE") if where is not None else None


def _outputs(
    nodes: Sequence[exp.Expression], compiler: Compiler
) -> tuple[tuple[str, ...], tuple[Fn, ...], dict[str, Fn]]:
    """Names and functions of a result's columns, and those that have an alias."""
    names: list[str] = []
    functions: list[Fn] = []
    aliases: dict[str, Fn] = {}
    for node in nodes:
        star = isinstance(node, exp.Star) or (
            isinstance(node, exp.Column) and isinstance(node.this, exp.Star)
        )
        if star:
            _star(node, compiler, names, functions)
            continue
        inner = node.this if isinstance(node, exp.Alias) else node
        value = compiler.scalar(inner)
        name = name_of(node.args["alias"]) if isinstance(node, exp.Alias) else value.name
        names.append(name)
        functions.append(value.fn)
        aliases[name] = value.fn
    return tuple(names), tuple(functions), aliases


def _star(node: exp.Expression, compiler: Compiler, names: list[str], functions: list[Fn]) -> None:
    if compiler.schema is None:
        raise failure("42601", "SELECT * with no tables specified is not valid", position=position_of(node))
    for name in compiler.schema.names:
        column = exp.Column(this=exp.Identifier(this=name, quoted=True), table=node.args.get("table"))
        names.append(name)
        functions.append(compiler.scalar(column).fn)


def _select(node: exp.Select, schema: Schema | None) -> SelectPlan:
    compiler = _compiler(node, schema)
    plan = SelectPlan(schema, "read")
    plan.where = _where(node, compiler)
    if any(node.find(kind) for kind in (exp.Sum, exp.Count, exp.Min, exp.Max, exp.Avg)):
        compiler.aggregates = []
    plan.columns, plan.outputs, aliases = _outputs(node.expressions, compiler)
    if compiler.aggregates is not None:
        plan.aggregates = tuple(compiler.aggregates)
    order = node.args.get("order")
    terms = order.expressions if order is not None else []
    plan.sort = tuple(_sort_term(term, compiler, plan, aliases) for term in terms)
    for name in ("limit", "offset"):
        clause = node.args.get(name)
        if clause is not None:
            count = compiler.scalar(clause.expression, INT8)
            if count.type not in (INT4, INT8, NUMERIC) or count.columns:
                raise failure("42804", f"argument of {name.upper()} must be a number without columns")
            setattr(plan, name, count.fn)
    _lock_clause(node, plan)
    if schema is not None:
        ordered = bool(terms) and _is_key_order(terms, schema)
        _settle_access(plan, node, compiler, ordered)
        in_order = not terms or (ordered and plan.access.index == 0)
        plan.stops_early = in_order and plan.aggregates is None
        if plan.stops_early and plan.outputs and plan.limit is None and plan.offset is None:
            plan.row_key = _row_key(plan.access, schema)
    _finish(plan, compiler)
    return plan


def _settle_access(plan: Plan, node: exp.Expression, compiler: Compiler, ordered: bool) -> None:
    where = node.args.get("where")
    aggregates, compiler.aggregates = compiler.aggregates, None
    assert compiler.schema is not None
    plan.access = choose(compiler.schema, where.this if where is not None else None, compiler, ordered)
    compiler.aggregates = aggregates


def _row_key(access: Access, schema: Schema) -> tuple[int, int, Fn] | None:
    """The index, the column and the value of a look-up by one key of one column."""
    if access.index is None or access.keys is None or len(access.keys) != 1 or len(access.keys[0]) != 1:
        return None
    return access.index, schema.uniques[access.index][1][0], access.keys[0][0]


def _is_key_order(terms: Sequence[exp.Expression], schema: Schema) -> bool:
    """Whether ORDER BY asks for exactly the primary key's order, so that an index gives it."""
    names = [
        name_of(term.this.this)
        for term in terms
        if isinstance(term.this, exp.Column) and not term.args.get("desc")
    ]
    return len(names) == len(terms) and names == [schema.names[column] for column in schema.key]


def _sort_term(
    term: exp.Expression, compiler: Compiler, plan: SelectPlan, aliases: dict[str, Fn]
) -> tuple[Fn, bool, bool]:
    target = term.this
    fn: Fn
    if isinstance(target, exp.Literal) and not target.is_string:
        place = int(target.name) if target.name.isdigit() else 0
        if not 1 <= place <= len(plan.outputs):
            raise failure(
                "42P10", f"ORDER BY position {target.name} is not in select list", position=position_of(term)
            )
        fn = plan.outputs[place - 1]
    elif (
        isinstance(target, exp.Column)
        and target.args.get("table") is None
        and name_of(target.this) in aliases
    ):
        fn = aliases[name_of(target.this)]
    else:
        fn = compiler.scalar(target).fn
    return fn, bool(term.args.get("desc")), bool(term.args.get("nulls_first"))


def _lock_clause(node: exp.Select, plan: SelectPlan) -> None:
    locks = node.args.get("locks") or []
    if not locks:
        return
    lock = locks[0]
    if plan.schema is None:
        raise not_supported("FOR UPDATE needs a table")
    if plan.aggregates is not None:
        raise not_supported("FOR UPDATE is not allowed with aggregate functions")
    update, key = bool(lock.args.get("update")), bool(lock.args.get("key"))
    plan.lock = (NO_KEY_UPDATE if key else UPDATE) if update else (KEY_SHARE if key else SHARE)
    wait = lock.args.get("wait")
    plan.policy = BLOCK if wait is None else NOWAIT if wait else SKIP
    plan.kind = "lock"


def _target_columns(nodes: Sequence[exp.Expression], schema: Schema) -> list[int]:
    positions = []
    for node in nodes:
        inner = node.this if isinstance(node, exp.Column) else node
        name = name_of(inner)
        position = schema.position(name)
        if position is None:
            raise failure(
                "42703",
                f'column "{name}" of relation "{schema.name}" does not exist',
                position=position_of(node),
            )
        if position in positions:
            raise failure("42701", f'column "{name}" specified more than once', position=position_of(node))
        positions.append(position)
    return positions


def _null(row: Any, env: Env) -> None:
    return None


def _value(node: exp.Expression, column: Column, compiler: Compiler) -> Fn:
    """The function for one assigned value, DEFAULT included."""
    if _is_default(node):
        return column.default or _null
    compiled = compiler.compile(node)
    return compiler.assign(compiled, column.name, column.type, column.coerce)


def _is_default(node: exp.Expression) -> bool:
    if isinstance(node, exp.Var):
        return node.name.upper() == "DEFAULT"
    return (
        isinstance(node, exp.Column)
        and isinstance(node.this, exp.Identifier)
        and not node.this.args.get("quoted")
        and node.name.upper() == "DEFAULT"
    )


def _insert(node: exp.Insert, schema: Schema) -> InsertPlan:
    compiler = _compiler(node, schema)
    listed = node.this.expressions if isinstance(node.this, exp.Schema) else []
    targets = _target_columns(listed, schema) if listed else list(range(len(schema.columns)))
    plan = InsertPlan(schema, "write", uses_now=True)
    scope, compiler.schema = compiler.schema, None  # VALUES sees no columns
    rows = [_insert_row(row, targets, bool(listed), schema, compiler) for row in node.expression.expressions]
    compiler.schema = scope
    plan.rows = tuple(rows)
    conflict = node.args.get("conflict")
    if conflict is not None:
        plan.conflict = _arbiters(conflict, schema)
    _returning(node, plan, compiler)
    _finish(plan, compiler)
    plan.uses_now = True  # a default may be now()
    plan.fast_path = len(rows) == 1 and conflict is None and len(schema.uniques) == 1
    return plan


def _insert_row(
    row: exp.Expression, targets: list[int], listed: bool, schema: Schema, compiler: Compiler
) -> tuple[Fn, ...]:
    nodes = row.expressions if isinstance(row, exp.Tuple) else [row]
    if len(nodes) > len(targets):
        raise failure("42601", "INSERT has more expressions than target columns", position=position_of(row))
    if len(nodes) < len(targets) and listed:
        raise failure("42601", "INSERT has more target columns than expressions", position=position_of(row))
    functions: list[Fn] = [column.default or _null for column in schema.columns]
    for position, node in zip(targets, nodes, strict=False):
        functions[position] = _value(node, schema.columns[position], compiler)
    return tuple(functions)


def _arbiters(conflict: exp.Expression, schema: Schema) -> frozenset[int]:
    """The unique indexes whose conflicts ON CONFLICT DO NOTHING forgives."""
    constraint = conflict.args.get("constraint")
    if constraint is not None:
        for number, (name, _, _) in enumerate(schema.uniques):
            if name == name_of(constraint):
                return frozenset([number])
        raise failure("42704", f'constraint "{name_of(constraint)}" for table "{schema.name}" does not exist')
    keys = conflict.args.get("conflict_keys") or []
    if not keys:
        return frozenset(range(len(schema.uniques)))
    wanted = set(_target_columns([key.this for key in keys], schema))
    for number, (_, columns, _) in enumerate(schema.uniques):
        if set(columns) == wanted:
            return frozenset([number])
    raise failure(
        "42P10",
        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        position=position_of(conflict),
    )


def _returning(node: exp.Expression, plan: Plan, compiler: Compiler) -> None:
    returning = node.args.get("returning")
    if returning is not None:
        plan.columns, plan.outputs, _ = _outputs(returning.expressions, compiler)


def _update(node: exp.Update, schema: Schema) -> UpdatePlan:
    compiler = _compiler(node, schema)
    plan = UpdatePlan(schema, "write")
    plan.where = _where(node, compiler)
    _settle_access(plan, node, compiler, ordered=False)
    pairs = node.expressions
    if not all(isinstance(pair, exp.EQ) and isinstance(pair.this, exp.Column) for pair in pairs):
        raise not_supported("only SET column = expression is supported")
    targets = _target_columns([pair.this for pair in pairs], schema)
    own: dict[int, frozenset[int]] = {}
    assignments = []
    for position, pair in zip(targets, pairs, strict=True):
        own[position] = compiler.columns_of(pair.expression)
        assignments.append((position, _value(pair.expression, schema.columns[position], compiler)))
    plan.assignments = tuple(assignments)
    plan.lock = NO_KEY_UPDATE
    plan.touches_key = any(position in schema.indexed for position in targets)
    if not plan.touches_key:
        plan.row_key = _row_key(plan.access, schema)
    plan.relative = _is_relative(own, schema)
    _returning(node, plan, compiler)
    _finish(plan, compiler)
    plan.uses_now = plan.uses_now or any(_is_default(pair.expression) for pair in pairs)
    reads = any(used and schema.columns[position].not_null for position, used in own.items())
    plan.fast_path = _single_row(node, plan, schema) and not reads and not plan.touches_key
    return plan


def _is_relative(own: dict[int, frozenset[int]], schema: Schema) -> bool:
    """Whether the amounts that an UPDATE sets are computed from the row's own old amounts.

    Judged by the numeric columns it sets, without those by the integer ones, without those by all
    (a transaction that counts a balance down and notes its id beside it is relative).
    """
    plain = [position for position in own if position not in schema.key]
    for types in ((NUMERIC,), (INT4, INT8), (TEXT,)):
        judged = [position for position in plain if schema.columns[position].type.name in types]
        if judged:
            return all(position in own[position] for position in judged)
    return False


def _single_row(node: exp.Expression, plan: Plan, schema: Schema) -> bool:
    """Whether YugabyteDB's single-row path may apply (createplan.c, yb_single_row_update_or_delete_path).

    It asks for equality on the whole primary key, nothing else in WHERE, and no CHECK.
    """
    where = node.args.get("where")
    if where is None or schema.checks or not schema.key or plan.access.index != 0 or plan.access.keys is None:
        return False
    comparisons = [part for part in where.find_all(exp.Predicate) if not isinstance(part, exp.Paren)]
    only_equal = all(isinstance(part, exp.EQ) for part in comparisons)
    return only_equal and len(comparisons) == len(schema.key) and where.find(exp.Or, exp.Not, exp.In) is None


def _delete(node: exp.Delete, schema: Schema) -> DeletePlan:
    compiler = _compiler(node, schema)
    plan = DeletePlan(schema, "write")
    plan.where = _where(node, compiler)
    _settle_access(plan, node, compiler, ordered=False)
    _returning(node, plan, compiler)
    _finish(plan, compiler)
    plan.fast_path = _single_row(node, plan, schema) and len(schema.uniques) == 1
    return plan
