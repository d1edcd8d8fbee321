"""SQL types and the arithmetic on their values, as PostgreSQL does it.

int4 and int8 are Python ints, numeric is `Decimal` whose exponent is the display scale, text is
str, bool is bool, timestamptz is an aware datetime. NULL is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

from .errors import Failure, failure

INT4, INT8, NUMERIC, TEXT, BOOL, TIMESTAMPTZ, UNKNOWN = (
    "int4",
    "int8",
    "numeric",
    "text",
    "bool",
    "timestamptz",
    "unknown",
)
NUMBERS = (INT4, INT8, NUMERIC)
TYPE_TITLES = {
    INT4: "integer",
    INT8: "bigint",
    NUMERIC: "numeric",
    TEXT: "text",
    BOOL: "boolean",
    TIMESTAMPTZ: "timestamp with time zone",
    UNKNOWN: "unknown",
}
_LIMITS = {INT4: 2**31, INT8: 2**63}
_CONTEXT = Context(prec=2000, rounding=ROUND_HALF_UP)
_MIN_SIGNIFICANT = 16  # NUMERIC_MIN_SIG_DIGITS of PostgreSQL's numeric.c

_CENT = Decimal("0.01")

Coerce = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class SqlType:
    """A type with its modifiers: numeric(precision, scale), varchar(length)."""

    name: str
    precision: int | None = None
    scale: int | None = None
    length: int | None = None


def title(type_name: str) -> str:
    """The type's name as PostgreSQL prints it."""
    return TYPE_TITLES[type_name]


def check_int(value: int, type_name: str) -> int:
    """`value` itself, or 22003 where it does not fit."""
    limit = _LIMITS[type_name]
    if -limit <= value < limit:
        return value
    raise failure("22003", f"{title(type_name)} out of range")


def quantize(value: Decimal, scale: int) -> Decimal:
    """`value` rounded to `scale` decimals, half away from zero."""
    return value.quantize(Decimal(1).scaleb(-scale), context=_CONTEXT)


def numeric_coercion(precision: int | None, scale: int | None) -> Coerce:
    """A function that makes any number a numeric(precision, scale): rounds, then checks 22003."""
    if precision is None:
        return to_decimal
    decimals = scale or 0
    unit = Decimal(1).scaleb(-decimals)
    bound = Decimal(10) ** (precision - decimals)

    def coerce(value: Any) -> Decimal:
        rounded = value.quantize(unit, context=_CONTEXT) if type(value) is Decimal else None
        if rounded is None:
            rounded = Decimal(value).quantize(unit, context=_CONTEXT)
        if -bound < rounded < bound:
            return rounded
        raise failure(
            "22003",
            "numeric field overflow",
            detail=f"A field with precision {precision}, scale {decimals} must round to an absolute "
            f"value less than {'10^' + str(precision - decimals) if precision > decimals else 1}.",
        )

    return coerce


def to_decimal(value: Any) -> Decimal:
    """An int or Decimal as a finite Decimal without a positive exponent."""
    result = value if type(value) is Decimal else Decimal(value)
    if result.same_quantum(_CENT):  # as most are, and asking for the exponent is slow
        return result
    if result.as_tuple().exponent > 0:  # type: ignore[operator]
        return result.quantize(Decimal(1), context=_CONTEXT)
    return result


def divide(left: Decimal, right: Decimal) -> Decimal:
    """numeric / numeric with PostgreSQL's result scale (select_div_scale in numeric.c)."""
    if not right:
        raise failure("22012", "division by zero")
    weight_left, first_left = _base_10000(left)
    weight_right, first_right = _base_10000(right)
    weight = weight_left - weight_right - (1 if first_left <= first_right else 0)
    scale = max(_MIN_SIGNIFICANT - weight * 4, scale_of(left), scale_of(right), 0)
    return quantize(_CONTEXT.divide(left, right), min(scale, 1000))


def scale_of(value: Decimal) -> int:
    """The display scale: decimals after the point."""
    exponent = value.as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def _base_10000(value: Decimal) -> tuple[int, int]:
    """Weight and first digit of a value in base 10000, as numeric.c stores it."""
    if not value:
        return 0, 0
    weight = value.adjusted() // 4
    return weight, int(abs(value).scaleb(-4 * weight, context=_CONTEXT))


def add(left: Any, right: Any) -> Any:
    """left + right for numerics, exact."""
    return _CONTEXT.add(left, right)


def subtract(left: Any, right: Any) -> Any:
    """left - right for numerics, exact."""
    return _CONTEXT.subtract(left, right)


def multiply(left: Any, right: Any) -> Any:
    """left * right for numerics, exact."""
    return _CONTEXT.multiply(left, right)


def remainder(left: Any, right: Any) -> Any:
    """left % right for numerics; the sign follows the dividend."""
    if not right:
        raise failure("22012", "division by zero")
    return quantize(_CONTEXT.remainder(left, right), max(scale_of(left), scale_of(right)))


def int_divide(left: int, right: int) -> int:
    """Integer division that truncates toward zero."""
    if not right:
        raise failure("22012", "division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def int_remainder(left: int, right: int) -> int:
    """Integer remainder; the sign follows the dividend."""
    return left - right * int_divide(left, right)


def parse_text(text: str, type_name: str) -> Any:
    """A string literal read as a value of the type (22P02 or 22007 where it is none)."""
    stripped = text.strip()
    try:
        if type_name in (INT4, INT8):
            return check_int(int(stripped), type_name)
        if type_name == NUMERIC:
            return parse_numeric(stripped)
        if type_name == BOOL:
            return _parse_bool(stripped)
        if type_name == TIMESTAMPTZ:
            moment = datetime.fromisoformat(stripped)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, InvalidOperation):
        sqlstate = "22007" if type_name == TIMESTAMPTZ else "22P02"
        raise failure(sqlstate, f'invalid input syntax for type {title(type_name)}: "{text}"') from None
    return text


def parse_numeric(text: str) -> Decimal:
    """A finite decimal number from text; ValueError where it is none."""
    value = Decimal(text)
    if not value.is_finite() or abs(value.adjusted()) > 1000:
        raise ValueError(text)
    return to_decimal(value)


def _parse_bool(text: str) -> bool:
    word = text.lower()
    if word and ("true".startswith(word) or "yes".startswith(word) or word in ("on", "1")):
        return True
    if word and ("false".startswith(word) or "no".startswith(word) or word in ("off", "of", "0")):
        return False
    raise ValueError(text)


def argument(value: Any, type_name: str, number: int) -> Any:
    """A parameter's Python value as asyncpg would send it for a parameter of this type.

    Raises Failure 22000 where asyncpg raises DataError.
    """
    if value is None:
        return None
    kind = type(value)
    if type_name in (INT4, INT8):
        if isinstance(value, int) and kind is not bool:
            limit = _LIMITS[type_name]
            if -limit <= value < limit:
                return value
            raise _bad_argument(
                value, number, f"value out of {'int32' if type_name == INT4 else 'int64'} range"
            )
        if kind is bool:
            return int(value)
        raise _bad_argument(value, number, f"{kind.__name__!r} object cannot be interpreted as an integer")
    if type_name == NUMERIC:
        return _numeric_argument(value, number)
    if type_name == TEXT and isinstance(value, str):
        return value
    if type_name == BOOL and kind in (bool, int):
        return bool(value)
    if type_name == TIMESTAMPTZ and isinstance(value, datetime):
        return value if value.tzinfo else value.astimezone(UTC)
    wanted = {TEXT: "str", BOOL: "a boolean", TIMESTAMPTZ: "a datetime"}[type_name]
    raise _bad_argument(value, number, f"expected {wanted}, got {kind.__name__}")


def _numeric_argument(value: Any, number: int) -> Decimal:
    if type(value) is Decimal and value.is_finite():
        return to_decimal(value)
    try:
        return parse_numeric(str(value))
    except (ValueError, InvalidOperation):
        raise _bad_argument(value, number, "not a finite decimal number") from None


def _bad_argument(value: Any, number: int, why: str) -> Failure:
    return failure("22000", f"invalid input for query argument ${number}: {value!r} ({why})")


def cast(value: Any, source: str, target: str) -> Any:
    """An explicit cast of a value that is not NULL."""
    if source == target:
        return value
    if target == TEXT:
        return "true" if value is True else "false" if value is False else _as_text(value)
    if source == TEXT:
        return parse_text(value, target)
    if target in (INT4, INT8):
        return check_int(int(quantize(Decimal(value), 0)), target)
    if target == NUMERIC:
        return to_decimal(value)
    if target == BOOL:
        return value != 0
    raise failure("42846", f"cannot cast type {title(source)} to {title(target)}")


def _as_text(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def castable(source: str, target: str) -> bool:
    """Whether an explicit cast from source to target exists in this subset."""
    if source in (target, UNKNOWN, TEXT):
        return True
    if target == TEXT:
        return source != TIMESTAMPTZ
    if source in NUMBERS and target in NUMBERS:
        return True
    return {source, target} == {INT4, BOOL}
