"""MirrorMaker's properties: both ways, and nothing where it would be ignored."""

import re

import pytest

from arbsim import cdc
from tests.compose.files import SERVICES, mirror_maker

PROPERTIES = mirror_maker()
CLUSTERS = ("east", "west")

# Settings of Connect's workers and of Kafka's clients. MirrorMaker reads them with a cluster's name in front; without
# it an aborted record is mirrored whatever consumer.isolation.level says.
PER_CLUSTER = re.compile(
    r"(consumer|producer|admin)\..*|offset\.flush\..*|scheduled\.rebalance\..*|(heartbeat\.interval|session\.timeout"
    r"|rebalance\.timeout)\.ms|bootstrap\.servers|exactly\.once\..*"
)


def mirrored(topic: str) -> bool:
    """Whether MirrorMaker copies a topic: its name matches as a whole, and no exclusion does."""

    def matches(key: str) -> bool:
        return any(re.fullmatch(pattern.strip(), topic) for pattern in PROPERTIES[key].split(","))

    return matches("topics") and not matches("topics.exclude")


def test_it_mirrors_both_ways_between_the_two_brokers() -> None:
    assert [name.strip() for name in PROPERTIES["clusters"].split(",")] == list(CLUSTERS)
    assert PROPERTIES["east->west.enabled"] == PROPERTIES["west->east.enabled"] == "true"
    for cluster in CLUSTERS:
        broker = SERVICES[f"kafka-{cluster}"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
        assert f"INTERNAL://{PROPERTIES[f'{cluster}.bootstrap.servers']}," in broker


def test_settings_of_workers_and_clients_stand_under_each_cluster_s_name() -> None:
    assert [key for key in PROPERTIES if PER_CLUSTER.fullmatch(key)] == []
    under = {
        cluster: {
            key.removeprefix(f"{cluster}."): value
            for key, value in PROPERTIES.items()
            if key.startswith(f"{cluster}.") and not key.endswith("bootstrap.servers")
        }
        for cluster in CLUSTERS
    }
    assert under["east"] == under["west"]
    assert under["east"]["consumer.isolation.level"] == "read_committed"
    assert under["east"]["offset.flush.interval.ms"] == "1000"
    assert "producer.linger.ms" in under["east"]


def test_plugins_are_found_by_their_manifests_everywhere() -> None:
    keys = ("plugin.discovery", "east.plugin.discovery", "west.plugin.discovery")
    assert {PROPERTIES[key] for key in keys} == {"service_load"}


@pytest.mark.parametrize("topic", [cdc.TOPIC, "run1-mirrored-deltas"])
def test_the_change_stream_and_what_designs_want_mirrored_is_mirrored(topic: str) -> None:
    assert mirrored(topic)


@pytest.mark.parametrize(
    "topic",
    [
        "commands",
        "run1-replies",
        "__consumer_offsets",
        "arbsim-connect-offsets",
        "mm2-offsets.east.internal",
        "yb-public",
    ],
)
def test_everything_else_stays_where_it_is(topic: str) -> None:
    assert not mirrored(topic)


def test_one_broker_is_asked_for_one_replica() -> None:
    factors = {key: value for key, value in PROPERTIES.items() if key.endswith("replication.factor")}
    assert len(factors) == 7
    assert set(factors.values()) == {"1"}


def test_the_health_check_sees_the_heartbeats_of_both_flows() -> None:
    assert PROPERTIES["emit.heartbeats.enabled"] == "true"
    (_, check) = SERVICES["mirror-maker"]["healthcheck"]["test"]
    for here, there in (CLUSTERS, CLUSTERS[::-1]):
        assert f"kafka-{here}:19092 --list | grep -qx {there}.heartbeats" in check
