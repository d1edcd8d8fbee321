"""Common random numbers: a draw is a pure function of what it is for.

Every design must meet the same network weather, whatever it does in between. So no generator is advanced: a
draw mixes the seed with a purpose (a link), a subject (an operation) and a step (the leg of its journey). The
mixing is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014).
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_SILVER = 0xD1342543DE82EF95  # odd, so that no step is lost; no multiple of the other
STEP = _SILVER
"""How far it is from the point of one step to that of the next."""

UNIT_BITS = 32
"""A draw is an integer below 2**UNIT_BITS, to be read as a fraction of it."""


@lru_cache(maxsize=1024)
def purpose(name: str) -> int:
    """Return the number that stands for a purpose, such as "network/east/west"."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")


def point(subject: int, step: int) -> int:
    """Return the number that a subject and a step are drawn by."""
    return subject * _GOLDEN + step * _SILVER


class Draws:
    """Uniform draws for one seed and purpose."""

    __slots__ = ("_origin",)

    def __init__(self, seed: int, what_for: str) -> None:
        self._origin = purpose(f"seed/{seed}") + purpose(what_for)

    def uniform(self, subject: int, step: int) -> int:
        """Return an integer in [0, 2**UNIT_BITS), always the same for the same arguments."""
        return self.at(point(subject, step))

    def at(self, point: int) -> int:
        """Return the draw of a point. Who goes from step to step adds STEP, which is less work than ``uniform``."""
        z = (self._origin + point) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return (z ^ (z >> 31)) >> 32
