"""Change events: what Debezium sends is understood, and what arbsim sends has the same shape."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbsim.cdc import ChangeEvent, EnvelopeError, Seen, key_of, pack, unpack

ENVELOPES = Path(__file__).parent / "envelopes"
"""Recorded from Debezium 3.6.1 on PostgreSQL 18.6: KEY and VALUE lines, with and without schemas."""


def recorded(name: str) -> Iterator[bytes]:
    for line in (ENVELOPES / name).read_text().splitlines():
        kind, _, text = line.partition(" ")
        if kind == "VALUE":
            yield text.encode()


def events(name: str) -> list[ChangeEvent]:
    return [event for event in map(unpack, recorded(name)) if event is not None]


def test_recorded_events_are_understood() -> None:
    update, create, again, delete = events("without_schemas.txt")
    assert (update.op, update.after and update.after["balance"]) == ("u", "40.00")
    assert update.before is not None
    assert update.before["balance"] == "100.00"
    assert (update.lsn, update.transaction) == (24085040, 856)
    assert update.changed_ns == 1795418037108579000
    assert (create.op, create.before) == ("c", None)
    assert create.transaction == again.transaction
    assert create.lsn < again.lsn
    assert (delete.op, delete.after) == ("d", None)


def test_schemas_around_an_event_are_passed_over() -> None:
    (first, *_) = events("with_schemas.txt")
    assert (first.op, first.after and first.after["balance"], first.lsn) == ("u", "30.00", 24085040)


def test_columns_that_are_wrapped_are_unwrapped() -> None:
    value = b'{"op":"u","before":null,"after":{"id":{"value":1,"set":true}},"source":{"lsn":7}}'
    event = unpack(value)
    assert event is not None
    assert event.after == {"id": 1}


def test_a_tombstone_is_no_event() -> None:
    assert unpack(None) is None
    assert unpack(b'{"schema":null,"payload":null}') is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"op":"x","source":{"lsn":1}}',
        b'{"op":"u","after":{}}',
        b'{"op":"u","after":[],"source":{"lsn":1}}',
        b'{"op":"u","source":{"lsn":null}}',
    ],
)
def test_what_is_no_change_event_is_refused(value: bytes) -> None:
    with pytest.raises(EnvelopeError):
        unpack(value)


def test_an_event_that_we_send_has_the_fields_of_a_recorded_one() -> None:
    theirs = json.loads(next(recorded("without_schemas.txt")))
    row = {"id": 1, "balance": "40.00", "updated_at": "2026-01-01T00:00:00.000000Z"}
    ours = json.loads(pack(ChangeEvent("u", row, row, 5, 6, 7_000_000, 8_000_000)))
    assert list(ours) == list(theirs)
    assert list(ours["source"]) == list(theirs["source"])
    assert list(ours["after"]) == list(theirs["after"])
    assert key_of(row) == b'{"id":1}'


rows = st.none() | st.fixed_dictionaries(
    {"id": st.integers(), "balance": st.decimals(allow_nan=False).map(str)}
)


@given(
    st.builds(
        ChangeEvent,
        st.sampled_from(["c", "u", "d", "r"]),
        rows,
        rows,
        st.integers(0, 2**63),
        st.none() | st.integers(0, 2**32),
        st.integers(0, 2**62),
        st.integers(0, 2**62),
    )
)
def test_an_event_survives_the_way(event: ChangeEvent) -> None:
    assert unpack(pack(event)) == event


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20))))
def test_a_reader_takes_each_account_forward_only(arrivals: list[tuple[int, int]]) -> None:
    seen = Seen()
    taken: dict[int, list[int]] = {}
    for account, lsn in arrivals:
        if seen.add(account, lsn):
            taken.setdefault(account, []).append(lsn)
    for account, lsns in taken.items():
        assert lsns == sorted(set(lsns))
        assert lsns[-1] == max(lsn for other, lsn in arrivals if other == account)
