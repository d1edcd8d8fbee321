"""Delta debugging: the fewest of some things that still do what all of them do.

Algorithm ddmin of Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE Transactions on
Software Engineering 28(2), 2002, section 3. What is left is 1-minimal: without any one of it, it no longer holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")


def ddmin(things: Sequence[T], holds: Callable[[Sequence[T]], bool]) -> list[T]:
    """Return a 1-minimal part of ``things``, in their order, that holds.

    All of them must hold. ``holds`` must answer alike whenever it is asked alike; it is asked about nothing at all,
    too, and need not be monotone.
    """
    if holds([]):
        return []
    kept, parts = list(things), 2
    while len(kept) > 1:
        pieces = _pieces(kept, parts)
        complements = [[one for other in pieces if other is not piece for one in other] for piece in pieces]
        smaller = next((part for part in pieces if holds(part)), None) if parts > 2 or len(kept) > 2 else None
        if smaller is not None:
            kept, parts = smaller, 2
            continue
        smaller = next((part for part in complements if part and holds(part)), None)
        if smaller is not None:
            kept, parts = smaller, max(parts - 1, 2)
        elif parts < len(kept):
            parts = min(len(kept), 2 * parts)
        else:
            break
    return kept


def _pieces(things: list[T], parts: int) -> list[list[T]]:
    """Cut a list into so many parts of about the same size; none is empty."""
    bounds = [len(things) * number // parts for number in range(parts + 1)]
    return [things[start:end] for start, end in pairwise(bounds)]
