"""The audit goes from account to account: what it needs beside the history does not grow with it."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from arbsim.audit import audit
from arbsim.audit.costs import percentiles
from arbsim.history import History
from arbsim.model import FindingKind
from tests.audit.histories import deposit, in_order, withdraw

EACH = 50
"""Operations on one account."""


@given(st.lists(st.integers(0, 2**62) | st.integers(0, 40), min_size=1, max_size=60))
def test_percentiles_by_counting_are_those_by_sorting(times_ns: list[int]) -> None:
    ordered = sorted(times_ns)
    found = percentiles(times_ns)
    for percent, told in ((50, found.p50_ms), (90, found.p90_ms), (99, found.p99_ms), (100, found.max_ms)):
        assert told == round(ordered[-(-percent * len(ordered) // 100) - 1] / 1_000_000, 3)


def long(accounts: int) -> History:
    """Deposits and withdrawals one after the other, EACH on every account."""
    ops = [
        (deposit if number % 3 else withdraw)(
            1 + number % 7, 4 * number, 4 * number + 3, account=1 + number % accounts
        )
        for number in range(EACH * accounts)
    ]
    return in_order(ops, range(1, len(ops) + 1), dict.fromkeys(range(1, accounts + 1), 100))


def beside(history: History) -> int:
    """The most bytes that an audit takes beside what it is given and what it gives."""
    tracemalloc.start()
    try:
        result = audit(history)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert result.findings[FindingKind.LOST_UPDATE].count == 0


def test_an_audit_takes_less_than_an_object_for_each_operation() -> None:
    """An object of Python's with its numbers takes 150 bytes or more; there must not be one for each operation."""
    few, many = beside(long(10)), beside(long(40))
    assert (many - few) / (30 * EACH) < 100
