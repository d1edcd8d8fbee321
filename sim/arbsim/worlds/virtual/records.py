"""Rows as asyncpg gives them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Record:
    """A row: by name, by position, iterated by value. asyncpg's own Record cannot be made from Python."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: dict[str, int], values: tuple[Any, ...]) -> None:
        self._places = places
        self._values = values

    def __getitem__(self, key: str | int | slice) -> Any:
        return self._values[self._places[key] if isinstance(key, str) else key]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Record):
            return self._values == other._values
        return self._values == other

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        return f"<Record {' '.join(f'{key}={value!r}' for key, value in self.items())}>"

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a column, or ``default`` where there is no such column."""
        place = self._places.get(key)
        return default if place is None else self._values[place]

    def keys(self) -> Iterator[str]:
        """The columns' names."""
        return iter(self._places)

    def values(self) -> Iterator[Any]:
        """The columns' values."""
        return iter(self._values)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Names with values."""
        return zip(self._places, self._values, strict=True)
