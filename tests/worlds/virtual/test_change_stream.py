"""The change stream: what the connector tells, what it tells twice, and what readers make of it."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from arbsim import cdc
from arbsim.audit import audit
from arbsim.designs.atomic_update import AtomicUpdate
from arbsim.designs.read_model import ReadModel
from arbsim.history import EffectKind, History
from arbsim.model import FindingKind, Workload
from arbsim.worlds.api import Region
from tests.worlds.virtual.worlds import MS, SETTINGS, deposit, fates, run, withdraw, workload

FOLLOWED = AtomicUpdate(change_stream=True)
RACE = workload(withdraw(0, "east", 7000), withdraw(5, "west", 6000))
DEPOSITS = workload(*(deposit(at_ms, "east", 100) for at_ms in range(0, 2000, 100)))
"""Twenty deposits, one every 100 ms. The connector flushes every second, counted from its own start."""


def stream(design: AtomicUpdate | ReadModel, operations: Workload, **connector: Any) -> History:
    return run(design, operations, replace(SETTINGS, cdc=replace(SETTINGS.cdc, **connector)))


def adopted(history: History, store: str) -> list[int]:
    """The balances of account 1 that a store took over, in order."""
    return [
        effect.after_cents
        for effect in history.effects()
        if effect.store == store and effect.kind is EffectKind.ADOPTED
    ]


def test_every_region_ends_with_the_balances_of_the_table() -> None:
    history = stream(FOLLOWED, RACE)
    assert set(history.finals) == {"database", "east", "west", "central"}
    assert len({tuple(balances.items()) for balances in history.finals.values()}) == 1


def test_a_read_model_never_sees_the_overdraft() -> None:
    history = stream(FOLLOWED, RACE)
    assert history.totals["change_events"] == 1
    assert all(effect.after_cents >= 0 for effect in history.effects())


def test_events_come_in_commit_order_and_each_once() -> None:
    history = stream(FOLLOWED, DEPOSITS)
    for region in ("east", "west", "central"):
        assert adopted(history, region) == list(range(10_100, 12_100, 100))
    assert "change_events_again" not in history.totals


def test_a_killed_connector_sends_again_what_came_after_its_last_flush_and_readers_drop_it() -> None:
    history = stream(FOLLOWED, DEPOSITS, restart_at_ns=(1600 * MS,))
    again = history.totals["change_events_again"]
    assert 1 <= again <= 10
    assert history.totals["change_events"] == 20
    for region in ("east", "west", "central"):
        assert adopted(history, region) == list(range(10_100, 12_100, 100))


def test_a_connector_that_flushes_often_sends_less_again() -> None:
    seldom = stream(FOLLOWED, DEPOSITS, restart_at_ns=(1650 * MS,))
    often = stream(FOLLOWED, DEPOSITS, restart_at_ns=(1650 * MS,), offset_flush_interval_ns=100 * MS)
    assert often.totals.get("change_events_again", 0) < seldom.totals["change_events_again"]


def test_killed_before_its_first_flush_it_takes_a_new_snapshot_and_never_tells_what_came_before() -> None:
    history = stream(FOLLOWED, DEPOSITS, restart_at_ns=(450 * MS,), offset_flush_interval_ns=5000 * MS)
    assert history.totals["change_events"] < 20
    assert adopted(history, "east")[-1] == 12_000
    assert {balances[1] for balances in history.finals.values()} == {12_000}


def test_a_reader_that_does_not_drop_repeats_goes_back_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdc.Seen, "add", lambda self, account, lsn: True)
    history = stream(FOLLOWED, DEPOSITS, restart_at_ns=(1600 * MS,))
    balances = adopted(history, "east")
    assert balances != sorted(balances)


def test_an_event_waits_for_the_next_poll() -> None:
    one = workload(deposit(0, "east", 100))
    slow = stream(FOLLOWED, one, poll_interval_ns=500 * MS)
    quick = stream(FOLLOWED, one, poll_interval_ns=1 * MS)

    def arrival_ns(history: History) -> int:
        return next(effect.time_ns for effect in history.effects() if effect.store == "east")

    committed_ns = 40 * MS
    assert 0 < arrival_ns(quick) - committed_ns <= 1 * MS
    assert arrival_ns(slow) > arrival_ns(quick)
    assert arrival_ns(slow) - committed_ns <= 500 * MS


def test_the_topic_holds_envelopes_keyed_by_primary_key() -> None:
    records = []

    class Listening(AtomicUpdate):
        async def serve(self, region: Region) -> None:
            if region.name == "west":
                consumer = await region.kafka.consumer("east.yb.public.acct", auto_offset_reset="earliest")
                while True:
                    for batch in (await consumer.getmany(timeout_ms=1000)).values():
                        records.extend(batch)

    stream(Listening(change_stream=True), workload(withdraw(0, "west", 7000)))
    snapshot, change = (cdc.unpack(record.value) for record in records)
    assert {record.key for record in records} == {b'{"id":1}'}
    assert snapshot is not None
    assert (snapshot.op, snapshot.before) == ("r", None)
    assert change is not None
    assert change.op == "u"
    assert change.before is not None
    assert Decimal(change.before["balance"]) == 100
    assert change.after is not None
    assert change.after["balance"] == "30.00"
    assert change.lsn > snapshot.lsn


def test_deciding_on_the_read_model_is_stopped_by_a_check_alone() -> None:
    checked = stream(ReadModel(), RACE)
    assert sorted(fates(checked)) == ["accepted", "rejected"]
    unchecked = stream(ReadModel(check=False), RACE)
    assert fates(unchecked) == ["accepted", "accepted"]
    assert unchecked.finals["database"] == {1: -3000}
    assert audit(unchecked).findings[FindingKind.OVERDRAFT].count == 1
