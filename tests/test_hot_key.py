"""The ceiling of one hot key is the turn that each operation has at the account, and nothing that is no turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbsim.hot_key import ceiling_per_s
from arbsim.runner import card_of, designs_of, settings_of
from arbsim.scenario.load import parse_scenario
from arbsim.scenario.source import Source

SCENARIO = """\
name: hot key
regions:
  east: {location: us-east-1, clients: EAST}
  west: {location: us-west-2, clients: WEST}
network: {jitter: 0 %, round_trips: {east-west: 64 ms}}
database: {dialect: postgres, leader: east}
accounts: {1: 100.00}
workload:
  operations: [{at: 0 ms, region: CLIENT, withdraw: 1.00, account: 1}]
designs: [{name: tested, design: DESIGN}]
"""
COMMIT_MS = 64
"""The primary in the east waits for its replica in the west."""


def ceiling(design: str, client: str) -> float | None:
    text = SCENARIO.replace("DESIGN", design).replace("CLIENT", client)
    for region in ("east", "west"):
        text = text.replace(region.upper(), "true" if region == client else "false")
    scenario = parse_scenario(Source("hot key", text), folder=Path())
    (name, one), *_ = designs_of(scenario).items()
    return ceiling_per_s(one, card_of(name, one), settings_of(scenario, scenario.seed))


@pytest.mark.parametrize("client", ["east", "west"])
def test_a_statement_by_itself_keeps_the_row_for_the_server_s_work_and_the_replica_s_whoever_asks(
    client: str,
) -> None:
    assert ceiling("db/atomic-update-autocommit", client) == pytest.approx(1000 / (0.1 + COMMIT_MS), abs=0.05)


@pytest.mark.parametrize(("client", "trip_ms"), [("east", 0.5), ("west", 64)])
def test_a_lock_is_kept_while_the_application_thinks_and_its_messages_travel(
    client: str, trip_ms: float
) -> None:
    """The SELECT's answer back, 50 ms of thought, the UPDATE there and back, the COMMIT there; 0.1 ms a statement."""
    kept_ms = 0.1 + 50 + 0.1 + 2 * trip_ms + COMMIT_MS
    assert ceiling("db/select-for-update", client) == pytest.approx(1000 / kept_ms, abs=0.05)


@pytest.mark.parametrize("design", ["bus/regional-deltas", "bus/log-fold", "bus/single-writer"])
def test_where_twice_as_many_take_no_longer_no_ceiling_shows(design: str) -> None:
    assert ceiling(design, "west") is None
