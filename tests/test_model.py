"""A workload's operations are kept as columns, and are the same that were put in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbsim.model import Kind, Operation, Operations, Workload

wide = st.integers(-(2**62) + 1, 2**62 - 1)
drafts = st.tuples(
    st.integers(0, 2**62),
    st.sampled_from(["east", "west", ""]),
    st.sampled_from(Kind),
    wide,
    wide,
    st.none() | wide,
)


def numbered(drafts: list[tuple[int, str, Kind, int, int, int | None]]) -> tuple[Operation, ...]:
    return tuple(Operation(number, *draft) for number, draft in enumerate(drafts, start=1))


@given(st.lists(drafts, max_size=6))
def test_what_is_taken_out_is_what_was_put_in(
    drafts: list[tuple[int, str, Kind, int, int, int | None]],
) -> None:
    operations = numbered(drafts)
    columns = Operations(operations)
    assert tuple(columns) == operations == columns[:]
    assert columns == operations == tuple(columns[place] for place in range(len(operations)))
    assert columns[-2:] == operations[-2:] == tuple(columns[place] for place in range(-len(columns[-2:]), 0))
    assert (columns == operations[1:]) == (not operations)


def test_there_is_nothing_behind_the_last() -> None:
    with pytest.raises(IndexError):
        Operations(())[0]


@given(st.lists(drafts, max_size=12))
def test_each_operation_is_listed_once_under_every_account_that_it_touches(
    drafts: list[tuple[int, str, Kind, int, int, int | None]],
) -> None:
    near = [
        (*draft[:3], draft[3] % 3, draft[4], None if draft[5] is None else draft[5] % 3) for draft in drafts
    ]
    operations = numbered(near)
    grouped = Workload(operations, {}).by_account
    touched = sorted({account for op in operations for account in (op.account, op.to_account)} - {None})  # type: ignore[type-var]
    assert list(grouped) == touched
    for account, listed in grouped.items():
        assert listed == [op for op in operations if account in (op.account, op.to_account)]
