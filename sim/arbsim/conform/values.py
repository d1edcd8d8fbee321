"""SQL values as a case file writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any


def json_rows(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Rows of a result: integers as numbers, numerics with a fraction and dates as strings."""
    return [[_json(value) for value in row] for row in rows]


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        whole = value.is_finite() and value.as_tuple().exponent == 0
        return int(value) if whole else str(value)
    if isinstance(value, datetime | date):
        return str(value)
    return value if isinstance(value, str | int | bool | None) else str(value)
