"""A race repeated on real servers and on the model, at gaps where neither speed nor chance decides."""

from __future__ import annotations

from typing import Any

import pytest

from arbsim.audit import broken_accounts
from arbsim.history import History
from arbsim.live import as_the_servers
from arbsim.model import Workload
from arbsim.repeating.calibration import calibrate
from arbsim.repeating.pairs import race_of, repeated, unanswered
from arbsim.runner import card_of, designs_of
from arbsim.worlds.virtual.world import run_design as run_model
from tests.live.stack import Live

MS = 1_000_000
FAR_MS = 700
SETTLED_MS = 300
PROBES = 10
LEVELS = {"READ COMMITTED in force": "read committed"}


@pytest.mark.parametrize(("name", "meeting_ms"), [("bus/regional-deltas", 0), ("db/select-then-update", 160)])
def test_servers_and_model_break_the_same_repetitions(name: str, meeting_ms: int, kafka: Live) -> None:
    """Far apart the two operations never break a naive design; where they meet they do.

    On the servers in most of them: on a busy machine one of two may begin or arrive so late that they do not meet.
    """
    race = race_of(kafka.workload)
    gaps_ns = [
        gap_ms * MS for gap_ms in (FAR_MS, meeting_ms, meeting_ms, FAR_MS, meeting_ms, meeting_ms, meeting_ms)
    ]
    meeting = {number for number, gap_ns in enumerate(gaps_ns, start=1) if gap_ns != FAR_MS * MS}
    workload = repeated(race, gaps_ns, FAR_MS * MS + SETTLED_MS * MS)
    design = designs_of(kafka.scenario, [name])[name]
    live = kafka.run(name, workload)
    model = run_model(
        design, card_of(name, design), workload, as_the_servers(kafka.settings, kafka.stack.servers, LEVELS)
    )
    assert unanswered(live) == set()
    assert broken_accounts(model) == meeting
    assert broken_accounts(live) <= meeting
    assert len(broken_accounts(live)) > len(meeting) / 2


def test_probes_measure_links_servers_and_mirror_maker(kafka: Live) -> None:
    def live(name: str, design: Any, workload: Workload) -> History:
        return kafka.run_design(design, name, workload)

    settings = as_the_servers(kafka.settings, kafka.stack.servers, LEVELS)
    designs = designs_of(kafka.scenario, ["bus/regional-deltas", "db/atomic-update"])
    told, found = calibrate(settings, kafka.stack.servers, designs, live, each_way=PROBES)
    wide = settings.round_trip_ns["west", "east"]
    assert {(one.region, one.server) for one in found.links} == {
        (region, server) for region in ("east", "west") for server in ("database", "Kafka east", "Kafka west")
    }
    assert (
        told.round_trip_ns["west", "east"] > 0.9 * wide
    )  # the link holds messages back, whatever the machine does
    assert told.round_trip_ns["east", "east"] < wide
    flows = {(one.source, one.target): one for one in found.flows}
    assert {place: one.probes for place, one in flows.items()} == dict.fromkeys(
        [
            ("east", "database"),
            ("west", "database"),
            ("east", "west"),
            ("west", "east"),
        ],
        PROBES,
    )
    assert flows["west", "database"].p50_ms > 3.5 * wide / MS  # BEGIN, two statements, COMMIT
    assert min(flows["east", "west"].p50_ms, flows["west", "east"].p50_ms) > 0.45 * wide / MS
    assert set(found.parameters_ms) == {"database.statement", "kafka.mirror_lag"}
