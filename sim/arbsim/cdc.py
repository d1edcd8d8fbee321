"""The change stream: Debezium's envelope, written and read.

One committed change of a row is one record: its key is the row's primary key, its value the envelope with ``op``
(``c`` create, ``u`` update, ``d`` delete, ``r`` a row of the first snapshot), ``before``, ``after``, ``source`` and
``ts_ms`` (Debezium documentation, "PostgreSQL connector", "Data change events"). Money is text
(``decimal.handling.mode=string``): YugabyteDB's connector refuses ``precise``, and ``double`` loses cents.

Delivery is at least once: after a restart events come again with the same LSN, so a reader drops what it has seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

TOPIC = "yb.public.acct"
"""``topic.prefix``, schema and table."""

PARTITIONS = 3
"""Partitions of the topic. Order is per key only, as in every topic."""

Op = Literal["c", "u", "d", "r"]
Row = Mapping[str, Any]

_OPS = ("c", "u", "d", "r")
_dump = json.JSONEncoder(separators=(",", ":")).encode
_load = json.JSONDecoder(parse_float=Decimal).decode


class EnvelopeError(ValueError):
    """A record of the topic that is no change event; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One change of one row.

    ``lsn`` is the place of the change in the database's log: it grows with every change of the same row, and is the
    same when an event is sent again. ``transaction`` is the database's transaction id. ``changed_ns`` is when the
    database committed it and ``sent_ns`` when the connector dealt with it, in nanoseconds since the epoch.
    """

    op: Op
    before: Row | None
    after: Row | None
    lsn: int
    transaction: int | None
    changed_ns: int
    sent_ns: int


def key_of(row: Mapping[str, Any]) -> bytes:
    """Encode the primary key of a row of the accounts table, as the connector does without schemas."""
    return _dump({"id": row["id"]}).encode()


def pack(event: ChangeEvent) -> bytes:
    """Encode an event as the connector does without schemas (``value.converter.schemas.enable=false``)."""
    snapshot = event.op == "r"
    source = {
        "version": "arbsim",
        "connector": "postgresql",
        "name": "yb",
        "ts_ms": event.changed_ns // 1_000_000,
        "snapshot": "true" if snapshot else "false",
        "db": "yugabyte",
        "sequence": _dump([None if snapshot else str(event.lsn), str(event.lsn)]),
        "ts_us": event.changed_ns // 1000,
        "ts_ns": event.changed_ns,
        "schema": "public",
        "table": "acct",
        "txId": event.transaction,
        "lsn": event.lsn,
        "xmin": None,
        "origin": None,
        "origin_lsn": None,
    }
    envelope = {
        "before": event.before,
        "after": event.after,
        "source": source,
        "transaction": None,
        "op": event.op,
        "ts_ms": event.sent_ns // 1_000_000,
        "ts_us": event.sent_ns // 1000,
        "ts_ns": event.sent_ns,
    }
    return _dump(envelope).encode()


def unpack(value: bytes | None) -> ChangeEvent | None:
    """Decode a record's value; None for a tombstone, which follows a delete.

    Understands envelopes with and without schemas, and columns wrapped as ``{"value": 1, "set": true}`` (YugabyteDB's
    gRPC connector). Raises EnvelopeError.
    """
    if value is None:
        return None
    try:
        envelope = _load(value.decode())
    except ValueError as error:
        raise EnvelopeError(f"a change event is not JSON: {error}") from None
    if isinstance(envelope, dict) and "payload" in envelope:
        envelope = envelope["payload"]
        if envelope is None:
            return None
    if not isinstance(envelope, dict) or envelope.get("op") not in _OPS:
        raise EnvelopeError("a change event needs an op of c, u, d or r")
    source = envelope.get("source")
    if not isinstance(source, dict) or not isinstance(source.get("lsn"), int):
        raise EnvelopeError("a change event needs source.lsn, by which readers know what they have seen")
    return ChangeEvent(
        envelope["op"],
        _row(envelope.get("before")),
        _row(envelope.get("after")),
        source["lsn"],
        source.get("txId"),
        _nanoseconds(source),
        _nanoseconds(envelope),
    )


def _row(columns: Any) -> Row | None:
    if columns is None:
        return None
    if not isinstance(columns, dict):
        raise EnvelopeError("before and after are rows, or null")
    return {name: _column(value) for name, value in columns.items()}


def _column(value: Any) -> Any:
    wrapped = isinstance(value, dict) and "value" in value and set(value) <= {"value", "set"}
    return value["value"] if wrapped else value


def _nanoseconds(part: Mapping[str, Any]) -> int:
    for name, factor in (("ts_ns", 1), ("ts_us", 1000), ("ts_ms", 1_000_000)):
        if isinstance(part.get(name), int):
            return int(part[name]) * factor
    return 0


class Seen:
    """What a reader has seen of each account: the last LSN. Changes of one row come in order of LSN."""

    def __init__(self) -> None:
        self._last: dict[int, int] = {}

    def add(self, account: int, lsn: int) -> bool:
        """Note an event; return False where this account's state is as new, or newer, already."""
        if lsn <= self._last.get(account, -1):
            return False
        self._last[account] = lsn
        return True
