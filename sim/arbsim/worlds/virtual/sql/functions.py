"""The rest of the expressions: CASE, functions, casts and aggregates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from sqlglot import exp

from . import values as v
from .errors import failure, not_supported
from .expressions import Aggregate, Expr, ExpressionCompiler, Fn, cast_fn, coerced_fn
from .names import coercion, sql_type
from .values import INT4, INT8, NUMBERS, NUMERIC, TEXT, UNKNOWN
from .whitelist import position_of


class Compiler(ExpressionCompiler):
    """Compiles every expression of the subset; see `ExpressionCompiler` for how."""

    def _on_case(self, node: exp.Case) -> Expr:
        branches = []
        for branch in node.args["ifs"]:
            test = branch.this if node.this is None else exp.EQ(this=node.this, expression=branch.this)
            branches.append((self.condition(test, "CASE/WHEN"), self.compile(branch.args["true"])))
        default = node.args.get("default")
        results = [result for _, result in branches]
        results.append(self.compile(default) if default is not None else self._on_null(exp.Null()))
        type_name, functions = self._common(results, node)
        tests = [test for test, _ in branches]

        def choose(row: Any, env: Any) -> Any:
            for test, fn in zip(tests, functions, strict=False):
                if test(row, env) is True:
                    return fn(row, env)
            return functions[-1](row, env)

        name = results[-1].name
        return Expr(type_name, choose, self.columns_of(node), name if name != "?column?" else "case")

    def _on_coalesce(self, node: exp.Coalesce) -> Expr:
        type_name, functions = self._list(node)

        def coalesce(row: Any, env: Any) -> Any:
            for fn in functions:
                value = fn(row, env)
                if value is not None:
                    return value
            return None

        return Expr(type_name, coalesce, self.columns_of(node), "coalesce")

    def _on_greatest(self, node: exp.Greatest) -> Expr:
        return self._extreme(node, max, "greatest")

    def _on_least(self, node: exp.Least) -> Expr:
        return self._extreme(node, min, "least")

    def _extreme(self, node: exp.Expression, pick: Callable[..., Any], name: str) -> Expr:
        type_name, functions = self._list(node)

        def extreme(row: Any, env: Any) -> Any:
            found = [value for fn in functions if (value := fn(row, env)) is not None]
            return pick(found) if found else None

        return Expr(type_name, extreme, self.columns_of(node), name)

    def _list(self, node: exp.Expression) -> tuple[str, list[Fn]]:
        return self._common([self.compile(item) for item in [node.this, *node.expressions]], node)

    def _common(self, items: Sequence[Expr], node: exp.Expression) -> tuple[str, list[Fn]]:
        """The common type of several results, and each as a function of that type."""
        types = [item.type for item in items if item.type != UNKNOWN]
        type_name = types[0] if types else TEXT
        for other in types:
            if other in NUMBERS and type_name in NUMBERS:
                type_name = max(type_name, other, key=NUMBERS.index)
            elif other != type_name:
                raise failure(
                    "42804",
                    f"types {v.title(type_name)} and {v.title(other)} cannot be matched",
                    position=position_of(node),
                )
        resolved = [self.resolve(item, type_name) for item in items]
        return type_name, [cast_fn(item.fn, item.type, type_name) for item in resolved]

    def _on_nullif(self, node: exp.Expression) -> Expr:
        a, b = self._pair(node, node.this, node.args["expression"])
        self._comparable(a, b, "=", node)

        def nullif(row: Any, env: Any) -> Any:
            value = a.fn(row, env)
            return None if value is not None and value == b.fn(row, env) else value

        return Expr(a.type, nullif, a.columns | b.columns, "nullif")

    def _on_abs(self, node: exp.Abs) -> Expr:
        inner = self.resolve(self.compile(node.this), NUMERIC)
        self._demand(inner, NUMBERS, "abs", node)
        fn, type_name = inner.fn, inner.type

        def absolute(row: Any, env: Any) -> Any:
            value = fn(row, env)
            if value is None or value >= 0:
                return value
            return value.copy_abs() if type_name == NUMERIC else v.check_int(-value, type_name)

        return Expr(inner.type, absolute, inner.columns, "abs")

    def _on_round(self, node: exp.Round) -> Expr:
        inner = self.resolve(self.compile(node.this), NUMERIC)
        self._demand(inner, NUMBERS, "round", node)
        decimals = node.args.get("decimals")
        places = self.scalar(decimals, INT4) if decimals is not None else None
        if places is not None:
            self._demand(places, (INT4,), "round", node)

        def rounded(row: Any, env: Any) -> Any:
            value = inner.fn(row, env)
            scale = places.fn(row, env) if places is not None else 0
            if value is None or scale is None:
                return None
            result = v.quantize(Decimal(value), min(max(scale, -1000), 1000))
            return v.to_decimal(result)

        return Expr(NUMERIC, rounded, self.columns_of(node), "round")

    def _on_cast(self, node: exp.Cast) -> Expr:
        target = sql_type(node.args["to"])
        inner = self.compile(node.this)
        name = inner.name if inner.columns or inner.name != "?column?" else target.name
        inner = self.resolve(inner, target.name)
        if not v.castable(inner.type, target.name):
            raise failure(
                "42846",
                f"cannot cast type {v.title(inner.type)} to {v.title(target.name)}",
                position=position_of(node),
            )
        fn = cast_fn(inner.fn, inner.type, target.name)
        if target.length is not None:
            length = target.length
            cut = fn
            fn = lambda row, env: None if (text := cut(row, env)) is None else text[:length]  # noqa: E731
        elif (coerce := coercion(target)) is not None:
            fn = coerced_fn(fn, coerce)
        return Expr(target.name, fn, inner.columns, name, constant=inner.constant)

    # -- aggregates ----------------------------------------------------------------------------

    def _on_sum(self, node: exp.Expression) -> Expr:
        return self._aggregate(node, "sum")

    def _on_count(self, node: exp.Expression) -> Expr:
        return self._aggregate(node, "count")

    def _on_min(self, node: exp.Expression) -> Expr:
        return self._aggregate(node, "min")

    def _on_max(self, node: exp.Expression) -> Expr:
        return self._aggregate(node, "max")

    def _on_avg(self, node: exp.Expression) -> Expr:
        return self._aggregate(node, "avg")

    def _aggregate(self, node: exp.Expression, name: str) -> Expr:
        if self.aggregates is None or self._inside_aggregate:
            place = "nested" if self._inside_aggregate else "allowed here"
            raise failure("42803", f"aggregate function {name} cannot be {place}", position=position_of(node))
        inner = node.this
        distinct = isinstance(inner, exp.Distinct)
        if isinstance(inner, exp.Distinct):
            if len(inner.expressions) != 1:
                raise not_supported("DISTINCT takes one expression in an aggregate", position_of(node))
            inner = inner.expressions[0]
        argument: Expr | None = None
        if not isinstance(inner, exp.Star):
            self._inside_aggregate = True
            try:
                argument = self.scalar(inner)
            finally:
                self._inside_aggregate = False
        elif name != "count":
            raise failure("42883", f"function {name}() does not exist", position=position_of(node))
        type_name, finish = self._finisher(name, argument, node)
        index = len(self.aggregates)
        self.aggregates.append(Aggregate(argument.fn if argument else None, distinct, finish))
        return Expr(type_name, lambda row, env: row[index], name=name, constant=False)

    def _finisher(
        self, name: str, argument: Expr | None, node: exp.Expression
    ) -> tuple[str, Callable[[list[Any]], Any]]:
        if name == "count" or argument is None:
            return INT8, len
        if name in ("min", "max"):
            pick = min if name == "min" else max
            return argument.type, lambda found: pick(found) if found else None
        self._demand(argument, NUMBERS, name, node)
        if name == "avg":
            return NUMERIC, lambda found: _average(found) if found else None
        if argument.type == INT4:
            return INT8, lambda found: v.check_int(sum(found), INT8) if found else None
        return NUMERIC, lambda found: _total(found) if found else None


def _total(found: list[Any]) -> Decimal:
    total = v.to_decimal(0)
    for value in found:
        total = v.add(total, v.to_decimal(value))
    return total


def _average(found: list[Any]) -> Decimal:
    return v.divide(_total(found), Decimal(len(found)))
