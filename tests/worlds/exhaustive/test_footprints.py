"""What steps were seen to touch, and when a search that went by it is void."""

from __future__ import annotations

import pytest

from arbsim.worlds.exhaustive.steps import Footprints, Step

READS_ONE = Step(7, reads=frozenset({1}))
WRITES_ONE = Step(7, writes=frozenset({1}))
WRITES_BOTH = Step(7, writes=frozenset({1, 2}))


def seen(*steps: Step) -> Footprints:
    footprints = Footprints()
    for step in steps:
        footprints.note(step)
    return footprints


def test_a_step_touches_all_if_it_touched_no_more_in_any_other_order() -> None:
    assert seen(READS_ONE).touches_all(READS_ONE)
    assert not seen(READS_ONE, WRITES_BOTH).touches_all(READS_ONE)
    assert seen(WRITES_ONE, WRITES_BOTH, READS_ONE).touches_all(WRITES_BOTH)


def test_a_search_is_void_once_a_step_touches_more_than_the_search_went_by() -> None:
    footprints = seen(WRITES_ONE)
    assert footprints.touches_all(WRITES_ONE)
    footprints.note(WRITES_BOTH)
    assert footprints.void


def test_a_search_that_is_begun_anew_goes_by_all_that_is_known() -> None:
    footprints = seen(WRITES_ONE)
    assert footprints.touches_all(WRITES_ONE)
    footprints.note(WRITES_BOTH)
    footprints.begin()
    assert not footprints.void
    assert not footprints.touches_all(WRITES_ONE)


def test_whoever_meets_a_step_that_reads_meets_it_where_it_writes() -> None:
    footprints = seen(WRITES_ONE)
    assert footprints.touches_all(WRITES_ONE)
    footprints.note(READS_ONE)
    assert not footprints.void


def test_what_nobody_went_by_makes_nothing_void() -> None:
    footprints = seen(WRITES_ONE)
    footprints.note(WRITES_BOTH)
    assert footprints.touches_all(WRITES_BOTH)
    footprints.note(WRITES_ONE)
    assert not footprints.void


@pytest.mark.parametrize(("first", "second"), [(WRITES_ONE, WRITES_BOTH), (WRITES_BOTH, WRITES_ONE)])
def test_what_one_process_went_by_is_void_by_what_another_one_saw(first: Step, second: Step) -> None:
    here, there, both = seen(first), seen(second), Footprints()
    assert here.touches_all(first)
    assert there.touches_all(second)
    both.take_in(here.news())
    both.take_in(there.news())
    assert both.void
    assert not here.void
    assert not there.void


def test_news_are_told_once_and_again_where_there_is_more() -> None:
    footprints = seen(WRITES_ONE)
    assert footprints.news() == {7: ((frozenset(), frozenset({1})), frozenset())}
    assert footprints.news() == {}
    assert footprints.touches_all(WRITES_ONE)
    here = (frozenset[int](), frozenset({1}))
    assert footprints.news() == {7: (here, frozenset({here}))}
    assert footprints.touches_all(WRITES_ONE)
    assert footprints.news() == {}
