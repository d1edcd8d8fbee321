"""Delta debugging: what is left holds, and nothing can be left out of it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from arbsim.shrinking.ddmin import ddmin


@given(st.sets(st.integers(0, 60)), st.integers(0, 60))
def test_of_many_things_it_finds_those_that_are_needed(needed: set[int], more: int) -> None:
    things = sorted(needed | set(range(more)))
    assert ddmin(things, lambda some: needed <= set(some)) == sorted(needed)


@given(st.lists(st.integers(0, 9), max_size=12), st.sets(st.integers(0, 400)))
def test_nothing_can_be_left_out_whatever_it_is_that_holds(things: list[int], also: set[int]) -> None:
    def holds(some: Sequence[int]) -> bool:
        # Not monotone: all of them, and any part whose digits give one of these numbers.
        return list(some) == things or sum(one * 7**place for place, one in enumerate(some, 1)) % 401 in also

    kept = ddmin(things, holds)
    assert holds(kept)
    assert not any(holds(kept[:place] + kept[place + 1 :]) for place in range(len(kept)))


def test_two_of_a_thousand_are_found_in_few_trials() -> None:
    asked = 0

    def holds(some: Sequence[int]) -> bool:
        nonlocal asked
        asked += 1
        return {137, 842} <= set(some)

    assert ddmin(range(1000), holds) == [137, 842]
    assert asked < 150
