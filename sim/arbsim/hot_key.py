"""How much one hot key can carry."""

from __future__ import annotations

from arbsim.model import DesignCard, Fate, Kind, Operation, Workload
from arbsim.worlds.api import Design
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_design

LOT = 20
"""Withdrawals from one account, all at once, in the smaller of the two runs."""

_LONGER = 1.25
"""From here on the larger run counts as longer. It is twice as long where operations wait for each other."""

_NS_PER_S = 1_000_000_000


def ceiling_per_s(design: Design, card: DesignCard, settings: Settings) -> float | None:
    """Accepted operations a second on one account, where they wait for each other; None where no ceiling shows.

    So many withdrawals at once, from all regions in turn, and twice as many in a run of their own: what the larger one
    takes longer is the time for which operations keep others waiting. What both take, such as the way there and back,
    is no limit. Where twice as many take hardly longer nothing queues: what is carried grows with what is asked for.
    """
    accepted, last_ns = _carried(design, card, settings, LOT)
    accepted_of_more, last_of_more_ns = _carried(design, card, settings, 2 * LOT)
    if last_of_more_ns < _LONGER * last_ns:
        return None
    return round((accepted_of_more - accepted) * _NS_PER_S / (last_of_more_ns - last_ns), 1)


def _carried(design: Design, card: DesignCard, settings: Settings, asked: int) -> tuple[int, int]:
    """How many of so many withdrawals at once were accepted, and when the last of all was answered."""
    regions = settings.client_regions
    operations = tuple(
        Operation(number, 0, regions[number % len(regions)], Kind.WITHDRAW, 1, 100)
        for number in range(1, asked + 1)
    )
    answers = list(run_design(design, card, Workload(operations, {1: 100 * asked}), settings).answers())
    accepted = sum(answer.fate is Fate.ACCEPTED for answer in answers)
    return accepted, max(answer.answered_ns for answer in answers)
