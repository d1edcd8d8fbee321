"""What the probes measure: the delays of a model that has other ones are found again."""

from __future__ import annotations

from dataclasses import replace

from arbsim.history import History
from arbsim.model import Workload
from arbsim.repeating.calibration import Trip, told_links
from arbsim.repeating.probes import measure_database, measure_mirrors
from arbsim.runner import card_of
from arbsim.worlds.api import Design
from arbsim.worlds.virtual.world import run_design
from tests.repeating.support import MS, SETTINGS, with_kafka


def test_the_lag_of_the_servers_is_found_from_the_probes() -> None:
    servers = with_kafka(mirror_lag_ns=25 * MS)

    def live(name: str, design: Design, workload: Workload) -> History:
        return run_design(design, card_of(name, design), workload, servers)

    told, flows = measure_mirrors(SETTINGS, live, each_way=40)
    assert abs(told.kafka.mirror_lag_ns - 25 * MS) < MS
    assert [(one.source, one.target, one.probes) for one in flows] == [
        ("east", "west", 40),
        ("west", "east", 40),
    ]
    for one in flows:
        assert one.modelled_ms < one.p50_ms <= one.p90_ms <= one.p99_ms
    assert replace(told, kafka=SETTINGS.kafka) == SETTINGS


def test_what_a_statement_takes_is_found_from_transactions() -> None:
    servers = replace(SETTINGS, database=replace(SETTINGS.database, statement_ns=7 * MS))

    def live(name: str, design: Design, workload: Workload) -> History:
        return run_design(design, card_of(name, design), workload, servers)

    told, flows = measure_database(SETTINGS, live, each_way=20)
    assert abs(told.database.statement_ns - 7 * MS) < MS / 10
    assert [(one.source, one.target, one.probes) for one in flows] == [
        ("east", "database", 20),
        ("west", "database", 20),
    ]
    assert replace(told, database=SETTINGS.database) == SETTINGS


def test_links_are_told_as_measured_in_both_directions() -> None:
    trips = [
        Trip("west", "east", "database", 63 * MS),
        Trip("west", "east", "Kafka east", 67 * MS),
        Trip("east", "west", "Kafka west", 80 * MS),
        Trip("east", "east", "database", MS),
    ]
    told = told_links(SETTINGS, trips).round_trip_ns
    assert told["west", "east"] == told["east", "west"] == 70 * MS
    assert told["east", "east"] == MS
    assert told["west", "west"] == SETTINGS.round_trip_ns["west", "west"]
