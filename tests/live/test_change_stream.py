"""The change stream through real Debezium, Connect and MirrorMaker, killed in every way that matters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from arbsim import cdc
from arbsim.audit import audit
from arbsim.delivery import KILLS
from arbsim.designs.read_model import ReadModel
from arbsim.history import History
from arbsim.model import FindingKind, Verdict
from arbsim.results import StreamFacts
from arbsim.runner import card_of
from arbsim.worlds.live.change_stream import Delivered
from arbsim.worlds.virtual.world import run_design as run_model
from tests.live.stack import Live


def check(sides: Sequence[StreamFacts], delivery: str) -> None:
    """However it went, both sides of MirrorMaker end with the table."""
    assert [(one.region, one.delivery, one.killed) for one in sides] == [
        ("east", delivery, True),
        ("west", delivery, True),
    ]
    for one in sides:
        assert one.differences == {}
        assert one.lag_p50_ms is not None
        assert one.lag_p99_ms is not None
        assert 0 < one.lag_p50_ms <= one.lag_p99_ms


def test_at_least_once_repeats_what_came_after_the_last_flush_and_loses_nothing(kafka: Live) -> None:
    sides = kafka.trial(KILLS[0])
    check(sides, "at least once")
    for one in sides:
        assert (one.changes, one.missing) == (500, 0)
        assert one.again > 0


def test_exactly_once_loses_nothing_and_repeats_nothing(kafka: Live) -> None:
    sides = kafka.trial(KILLS[1])
    check(sides, "exactly once")
    for one in sides:
        assert (one.changes, one.missing, one.again) == (500, 0, 0)


def test_killed_before_the_first_flush_a_new_snapshot_swallows_what_happened_in_between(kafka: Live) -> None:
    sides = kafka.trial(KILLS[2])
    check(sides, "at least once")
    for one in sides:
        assert one.missing > 0
        assert one.changes == 500 - one.missing
        assert one.snapshots == 2


@pytest.fixture(name="read_model", scope="module")
def _read_model(kafka: Live) -> tuple[History, Sequence[Delivered]]:
    told: list[Sequence[Delivered]] = []
    return kafka.run_design(ReadModel(check=False), on_delivered=told.append), told[0]


def test_deciding_on_the_read_model_follows_the_real_stream(
    read_model: tuple[History, Sequence[Delivered]],
) -> None:
    history, delivered = read_model
    result = audit(history)
    assert result.verdict is Verdict.VIOLATED
    assert result.findings[FindingKind.OVERDRAFT].count >= 1
    assert result.findings[FindingKind.DIVERGENCE].count == 0
    assert result.findings[FindingKind.UNEXPLAINED].count == 0
    for one in delivered:
        assert (one.missing, one.again, one.differences) == (0, 0, {})
        assert len(one.lags_ns) == one.changes == 4
        assert all(lag_ns > 0 for lag_ns in one.lags_ns)


def shape(value: Any) -> Any:
    """An envelope without its values: keys in their order, and types."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items()]
    return type(value).__name__


def test_the_simulated_envelope_has_the_fields_the_types_and_the_order_of_the_real_one(
    kafka: Live, read_model: tuple[History, Sequence[Delivered]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    pack = cdc.pack

    def recording(event: cdc.ChangeEvent) -> bytes:
        sent.append(pack(event))
        return sent[-1]

    monkeypatch.setattr(cdc, "pack", recording)
    design = ReadModel(check=False)
    run_model(design, card_of("tested", design), kafka.workload, kafka.settings)
    shapes: list[dict[str, set[str]]] = []
    for values in (sent, [value for _, value in read_model[1][0].records]):
        shapes.append({})
        for event in map(json.loads, values):
            shapes[-1].setdefault(event["op"], set()).add(json.dumps(shape(event)))
            assert isinstance(event["after"]["balance"], str)
    simulated, real = shapes
    assert real.keys() == {"r", "u"}
    assert simulated == real
    assert {json.dumps(shape(json.loads(key))) for key, _ in read_model[1][0].records} == {
        json.dumps(shape(json.loads(cdc.key_of({"id": 1}))))
    }
