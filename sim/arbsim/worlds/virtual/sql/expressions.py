"""Expressions to closures: every node becomes a function of (row values, environment)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from . import values as v
from .errors import failure, not_supported
from .names import name_of
from .values import BOOL, INT4, INT8, NUMBERS, NUMERIC, TEXT, TIMESTAMPTZ, UNKNOWN, Coerce, SqlType
from .whitelist import position_of

if TYPE_CHECKING:
    from .catalog import Schema


class Env:
    """What an expression may use besides the row: the arguments and the transaction's time."""

    __slots__ = ("args", "now")

    def __init__(self, args: tuple[Any, ...], now: datetime) -> None:
        self.args = args
        self.now = now


Fn = Callable[[Any, Any], Any]


@dataclass(slots=True)
class Aggregate:
    """One aggregate of a query: its function over all argument values (NULLs already left out)."""

    argument: Fn | None
    distinct: bool
    finish: Callable[[list[Any]], Any]


@dataclass(slots=True)
class Expr:
    """A compiled expression: its type, its function, the columns it reads and the name of its result."""

    type: str
    fn: Fn
    columns: frozenset[int] = frozenset()
    name: str = "?column?"
    literal: str | None = None
    parameter: int | None = None
    constant: bool = True


_COMPARE: dict[type[exp.Expression], tuple[str, Callable[[Any, Any], Any]]] = {
    exp.EQ: ("=", operator.eq),
    exp.NEQ: ("<>", operator.ne),
    exp.GT: (">", operator.gt),
    exp.GTE: (">=", operator.ge),
    exp.LT: ("<", operator.lt),
    exp.LTE: ("<=", operator.le),
}
_ARITHMETIC: dict[type[exp.Expression], tuple[str, Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    exp.Add: ("+", operator.add, v.add),
    exp.Sub: ("-", operator.sub, v.subtract),
    exp.Mul: ("*", operator.mul, v.multiply),
    exp.Div: ("/", v.int_divide, v.divide),
    exp.Mod: ("%", v.int_remainder, v.remainder),
}


class ExpressionCompiler:
    """Compiles the expressions of one statement on one table.

    Parameters take the type of their first use, as PostgreSQL infers it; `parameter_types` has them.
    """

    def __init__(self, schema: Schema | None, alias: str = "", *, allow_parameters: bool = True) -> None:
        self.schema = schema
        self.alias = alias or (schema.name if schema else "")
        self.allow_parameters = allow_parameters
        self.parameter_types: dict[int, str] = {}
        self.parameter_count = 0
        self.aggregates: list[Aggregate] | None = None
        self.uses_now = False
        self._inside_aggregate = False

    # -- entry points --------------------------------------------------------------------------

    def scalar(self, node: exp.Expression, expected: str | None = None) -> Expr:
        """Compile; an untyped literal or parameter becomes `expected` (text without one)."""
        return self.resolve(self.compile(node), expected or TEXT)

    def condition(self, node: exp.Expression, where: str) -> Fn:
        """Compile a condition; 42804 where it is not boolean."""
        result = self.resolve(self.compile(node), BOOL)
        if result.type != BOOL:
            raise failure(
                "42804",
                f"argument of {where} must be type boolean, not type {v.title(result.type)}",
                position=position_of(node),
            )
        return result.fn

    def assign(self, value: Expr, column: str, target: SqlType, coerce: Coerce | None) -> Fn:
        """The function that stores `value` in a column: assignment cast, then scale or length."""
        value = self.resolve(value, target.name)
        fn = value.fn
        if value.type != target.name:
            if not (target.name == TEXT or (value.type in NUMBERS and target.name in NUMBERS)):
                raise failure(
                    "42804",
                    f'column "{column}" is of type {v.title(target.name)} '
                    f"but expression is of type {v.title(value.type)}",
                )
            fn = cast_fn(fn, value.type, target.name)
        if coerce is None:
            return fn
        return coerced_fn(fn, coerce)

    def resolve(self, value: Expr, type_name: str) -> Expr:
        """Give an untyped literal or parameter its type; anything else stays."""
        if value.type != UNKNOWN:
            return value
        if value.parameter is not None:
            known = self.parameter_types.setdefault(value.parameter, type_name)
            return Expr(known, value.fn, name=value.name)
        if value.literal is None:  # NULL
            return Expr(type_name, value.fn, name=value.name)
        constant = v.parse_text(value.literal, type_name)
        return Expr(type_name, lambda row, env: constant, name=value.name)

    # -- nodes ---------------------------------------------------------------------------------

    def compile(self, node: exp.Expression) -> Expr:
        """Compile; a literal or parameter without a type stays of type unknown."""
        kind = type(node)
        if kind in _COMPARE:
            return self._comparison(node, *_COMPARE[kind])
        if kind in _ARITHMETIC:
            return self._arithmetic(node, *_ARITHMETIC[kind])
        method = getattr(self, f"_on_{kind.__name__.lower()}", None)
        if method is None:
            raise not_supported(f"{kind.__name__} is not supported here", position_of(node))
        result: Expr = method(node)
        return result

    def _on_paren(self, node: exp.Paren) -> Expr:
        return self.compile(node.this)

    def _on_column(self, node: exp.Column) -> Expr:
        if isinstance(node.this, exp.Star):
            raise not_supported("* is not supported here", position_of(node))
        name = name_of(node.this)
        table = node.args.get("table")
        if table is not None and name_of(table) != self.alias:
            raise failure(
                "42P01", f'missing FROM-clause entry for table "{name_of(table)}"', position=position_of(node)
            )
        position = self.schema.position(name) if self.schema is not None else None
        if position is None or self.schema is None:
            raise failure("42703", f'column "{name}" does not exist', position=position_of(node))
        if self.aggregates is not None and not self._inside_aggregate:
            raise failure(
                "42803",
                f'column "{self.alias}.{name}" must appear in the GROUP BY clause '
                "or be used in an aggregate function",
                position=position_of(node),
            )
        return Expr(
            self.schema.columns[position].type.name,
            lambda row, env: row[position],
            frozenset([position]),
            name,
            constant=False,
        )

    def _on_literal(self, node: exp.Literal) -> Expr:
        if node.is_string:
            text = node.name
            return Expr(UNKNOWN, lambda row, env: text, literal=text)
        number: Any
        if node.name.isdigit():
            number = int(node.name)
            type_name = INT4 if number < 2**31 else INT8 if number < 2**63 else NUMERIC
            if type_name == NUMERIC:
                number = Decimal(number)
        else:
            type_name = NUMERIC
            try:
                number = v.parse_numeric(node.name)
            except (ValueError, ArithmeticError):
                raise failure("22003", "number out of range", position=position_of(node)) from None
        return Expr(type_name, lambda row, env: number)

    def _on_boolean(self, node: exp.Boolean) -> Expr:
        value = bool(node.this)
        return Expr(BOOL, lambda row, env: value, name="bool")

    def _on_null(self, node: exp.Null) -> Expr:
        return Expr(UNKNOWN, lambda row, env: None)

    def _on_parameter(self, node: exp.Parameter) -> Expr:
        number = int(node.name)
        if not self.allow_parameters or not 1 <= number <= 32767:
            raise failure("42P02", f"there is no parameter ${number}", position=position_of(node))
        self.parameter_count = max(self.parameter_count, number)
        index = number - 1

        def fn(row: Any, env: Any) -> Any:
            return env.args[index]

        known = self.parameter_types.get(number)
        return Expr(known or UNKNOWN, fn, parameter=None if known else number)

    def _on_currenttimestamp(self, node: exp.Expression) -> Expr:
        self.uses_now = True
        return Expr(TIMESTAMPTZ, lambda row, env: env.now, name="now", constant=False)

    def _on_neg(self, node: exp.Neg) -> Expr:
        inner = self.compile(node.this)
        inner = self.resolve(inner, NUMERIC)
        self._demand(inner, NUMBERS, "-", node)
        fn, type_name = inner.fn, inner.type

        def negate(row: Any, env: Any) -> Any:
            value = fn(row, env)
            if value is None:
                return None
            return (
                v.subtract(v.to_decimal(0), value) if type_name == NUMERIC else v.check_int(-value, type_name)
            )

        return _like(inner, negate)

    def _on_not(self, node: exp.Not) -> Expr:
        fn = self.condition(node.this, "NOT")
        columns = self.columns_of(node)

        def negate(row: Any, env: Any) -> Any:
            value = fn(row, env)
            return None if value is None else not value

        return Expr(BOOL, negate, columns)

    def _on_and(self, node: exp.And) -> Expr:
        left, right = self.condition(node.this, "AND"), self.condition(node.expression, "AND")

        def both(row: Any, env: Any) -> Any:
            first = left(row, env)
            if first is False:
                return False
            second = right(row, env)
            if second is False:
                return False
            return None if first is None or second is None else True

        return Expr(BOOL, both, self.columns_of(node))

    def _on_or(self, node: exp.Or) -> Expr:
        left, right = self.condition(node.this, "OR"), self.condition(node.expression, "OR")

        def either(row: Any, env: Any) -> Any:
            first = left(row, env)
            if first is True:
                return True
            second = right(row, env)
            if second is True:
                return True
            return None if first is None or second is None else False

        return Expr(BOOL, either, self.columns_of(node))

    def _pair(self, node: exp.Expression, left: exp.Expression, right: exp.Expression) -> tuple[Expr, Expr]:
        """Both sides with their types settled; an untyped one takes the other's type."""
        a, b = self.compile(left), self.compile(right)
        if a.type == UNKNOWN and b.type == UNKNOWN:
            return self.resolve(a, TEXT), self.resolve(b, TEXT)
        return self.resolve(a, b.type), self.resolve(b, a.type)

    def _comparable(self, a: Expr, b: Expr, symbol: str, node: exp.Expression) -> None:
        if a.type != b.type and not (a.type in NUMBERS and b.type in NUMBERS):
            raise failure(
                "42883",
                f"operator does not exist: {v.title(a.type)} {symbol} {v.title(b.type)}",
                position=position_of(node),
            )

    def _comparison(self, node: exp.Expression, symbol: str, compare: Callable[[Any, Any], Any]) -> Expr:
        a, b = self._pair(node, node.this, node.args["expression"])
        self._comparable(a, b, symbol, node)
        left, right = a.fn, b.fn

        def fn(row: Any, env: Any) -> Any:
            first = left(row, env)
            second = right(row, env)
            return None if first is None or second is None else compare(first, second)

        return Expr(BOOL, fn, a.columns | b.columns)

    def _on_nullsafeeq(self, node: exp.Expression) -> Expr:
        a, b = self._pair(node, node.this, node.args["expression"])
        self._comparable(a, b, "=", node)
        return Expr(BOOL, lambda row, env: a.fn(row, env) == b.fn(row, env), a.columns | b.columns)

    def _on_nullsafeneq(self, node: exp.Expression) -> Expr:
        same = self._on_nullsafeeq(node)
        return Expr(BOOL, lambda row, env: not same.fn(row, env), same.columns)

    def _arithmetic(
        self,
        node: exp.Expression,
        symbol: str,
        on_ints: Callable[[Any, Any], Any],
        on_numerics: Callable[[Any, Any], Any],
    ) -> Expr:
        a, b = self.compile(node.this), self.compile(node.args["expression"])
        if a.type == UNKNOWN and b.type == UNKNOWN:
            raise failure(
                "42725", f"operator is not unique: unknown {symbol} unknown", position=position_of(node)
            )
        a, b = self.resolve(a, b.type), self.resolve(b, a.type)
        if a.type not in NUMBERS or b.type not in NUMBERS:
            if {a.type, b.type} == {TIMESTAMPTZ}:
                raise not_supported("intervals are not supported", position_of(node))
            self._comparable(a, b, symbol, node)
            raise failure(
                "42883",
                f"operator does not exist: {v.title(a.type)} {symbol} {v.title(b.type)}",
                position=position_of(node),
            )
        type_name = max(a.type, b.type, key=NUMBERS.index)
        return Expr(type_name, _arithmetic_fn(a, b, type_name, on_ints, on_numerics), a.columns | b.columns)

    def _on_dpipe(self, node: exp.Expression) -> Expr:
        a = self.resolve(self.compile(node.this), TEXT)
        b = self.resolve(self.compile(node.args["expression"]), TEXT)
        left, right = cast_fn(a.fn, a.type, TEXT), cast_fn(b.fn, b.type, TEXT)

        def concatenate(row: Any, env: Any) -> Any:
            first, second = left(row, env), right(row, env)
            return None if first is None or second is None else first + second

        return Expr(TEXT, concatenate, a.columns | b.columns)

    def _on_like(self, node: exp.Like) -> Expr:
        a = self.scalar(node.this)
        b = self.scalar(node.expression)
        self._demand(a, (TEXT,), "~~", node)
        self._demand(b, (TEXT,), "~~", node)

        def like(row: Any, env: Any) -> Any:
            text, pattern = a.fn(row, env), b.fn(row, env)
            return None if text is None or pattern is None else _like_matches(text, pattern)

        return Expr(BOOL, like, a.columns | b.columns)

    def _on_is(self, node: exp.Is) -> Expr:
        negate = bool(node.args.get("negate"))
        if isinstance(node.expression, exp.Null):
            value = self.scalar(node.this)
            return Expr(BOOL, lambda row, env: (value.fn(row, env) is None) is not negate, value.columns)
        if isinstance(node.expression, exp.Boolean):
            wanted = bool(node.expression.this)
            fn = self.condition(node.this, "IS")
            return Expr(BOOL, lambda row, env: (fn(row, env) is wanted) is not negate, self.columns_of(node))
        raise not_supported("IS takes NULL, TRUE or FALSE", position_of(node))

    def _on_between(self, node: exp.Between) -> Expr:
        low = exp.GTE(this=node.this, expression=node.args["low"])
        high = exp.LTE(this=node.this, expression=node.args["high"])
        return self._on_and(exp.And(this=low, expression=high))

    def _on_in(self, node: exp.In) -> Expr:
        items = node.expressions
        if not items:
            raise failure("42601", "syntax error: IN needs a list", position=position_of(node))
        value = self.compile(node.this)
        compiled = [self.compile(item) for item in items]
        typed = next((item.type for item in [value, *compiled] if item.type != UNKNOWN), TEXT)
        value = self.resolve(value, typed)
        compiled = [self.resolve(item, value.type) for item in compiled]
        for item in compiled:
            self._comparable(value, item, "=", node)
        functions = [item.fn for item in compiled]

        def contains(row: Any, env: Any) -> Any:
            wanted = value.fn(row, env)
            if wanted is None:
                return None
            found = [fn(row, env) for fn in functions]
            if any(other is not None and other == wanted for other in found):
                return True
            return None if None in found else False

        columns = value.columns.union(*[item.columns for item in compiled])
        return Expr(BOOL, contains, columns)

    # -- helpers -------------------------------------------------------------------------------

    def _demand(self, value: Expr, types: Sequence[str], what: str, node: exp.Expression) -> None:
        if value.type not in types:
            raise failure(
                "42883", f"{what} does not exist for type {v.title(value.type)}", position=position_of(node)
            )

    def columns_of(self, node: exp.Expression) -> frozenset[int]:
        """The positions of the columns that an expression names."""
        if self.schema is None:
            return frozenset()
        places = [
            self.schema.position(name_of(column.this))
            for column in node.find_all(exp.Column)
            if isinstance(column.this, exp.Identifier)
        ]
        return frozenset(place for place in places if place is not None)


def _like(model: Expr, fn: Fn) -> Expr:
    return Expr(model.type, fn, model.columns)


def _arithmetic_fn(
    a: Expr,
    b: Expr,
    type_name: str,
    on_ints: Callable[[Any, Any], Any],
    on_numerics: Callable[[Any, Any], Any],
) -> Fn:
    if type_name == NUMERIC:
        left, right = cast_fn(a.fn, a.type, NUMERIC), cast_fn(b.fn, b.type, NUMERIC)

        def numeric(row: Any, env: Any) -> Any:
            first, second = left(row, env), right(row, env)
            return None if first is None or second is None else on_numerics(first, second)

        return numeric
    left, right = a.fn, b.fn

    def integer(row: Any, env: Any) -> Any:
        first, second = left(row, env), right(row, env)
        return None if first is None or second is None else v.check_int(on_ints(first, second), type_name)

    return integer


def cast_fn(fn: Fn, source: str, target: str) -> Fn:
    """`fn` with its result cast from one type to another; NULL stays NULL."""
    if source == target or (source == INT4 and target == INT8):
        return fn

    def cast(row: Any, env: Any) -> Any:
        value = fn(row, env)
        return None if value is None else v.cast(value, source, target)

    return cast


def coerced_fn(fn: Fn, coerce: Coerce) -> Fn:
    """`fn` with its result brought to a column's scale or length; NULL stays NULL."""

    def coerced(row: Any, env: Any) -> Any:
        value = fn(row, env)
        return None if value is None else coerce(value)

    return coerced


def _like_matches(text: str, pattern: str) -> bool:
    parts = []
    escaped = False
    for character in pattern:
        if escaped:
            parts.append(re.escape(character))
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            parts.append({"%": ".*", "_": "."}.get(character) or re.escape(character))
    if escaped:
        raise failure("22025", "LIKE pattern must not end with escape character")
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None
