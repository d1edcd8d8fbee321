"""The connectors' configurations, held against their documented keys."""

import re

import pytest

from arbsim import cdc
from tests.compose import documented
from tests.compose.files import SERVICES, WITH_GRPC, connector

LOGICAL = connector("connector.json")
GRPC = connector("connector-grpc.json")
EITHER = pytest.mark.parametrize("config", [LOGICAL, GRPC], ids=["logical", "gRPC"])


@pytest.mark.parametrize(
    ("config", "known", "required", "values"),
    [
        (LOGICAL, documented.LOGICAL, documented.LOGICAL_REQUIRED, documented.LOGICAL_VALUES),
        (GRPC, documented.GRPC, documented.GRPC_REQUIRED, documented.GRPC_VALUES),
    ],
    ids=["logical", "gRPC"],
)
def test_every_key_is_documented_and_none_that_is_needed_lacks(
    config: dict[str, str], known: frozenset[str], required: frozenset[str], values: dict[str, set[str]]
) -> None:
    assert {key for key in config if not key.startswith("transforms.")} <= known
    assert required <= set(config)
    assert all(config[key] in allowed for key, allowed in values.items() if key in config)


def test_the_default_is_the_class_for_logical_replication_and_grpc_the_alternative() -> None:
    assert LOGICAL["connector.class"] == "io.debezium.connector.postgresql.YugabyteDBConnector"
    assert SERVICES["connect"]["image"].startswith("quay.io/yugabyte/ybdb-debezium:dz.2.5.2.yb.")
    assert GRPC["connector.class"] == "io.debezium.connector.yugabytedb.YugabyteDBgRPCConnector"
    assert WITH_GRPC["connect"]["image"].startswith("quay.io/yugabyte/debezium-connector:dz.1.9.5.yb.grpc.")


@pytest.mark.parametrize("services", [SERVICES, WITH_GRPC], ids=["logical", "gRPC"])
def test_the_connector_is_not_older_than_the_database(services: dict[str, dict[str, str]]) -> None:
    """A connector supports the YugabyteDB release it was built for and earlier ones, no later one."""
    database = re.search(r":(\d+)\.(\d+)\.(\d+)\.", services["yugabyte-east"]["image"])
    built_for = re.search(r"\.yb\.(?:grpc\.)?(\d+)\.(\d+)\.(\d+)$", services["connect"]["image"])
    assert database is not None
    assert built_for is not None
    assert tuple(map(int, built_for.groups())) >= tuple(map(int, database.groups()))


@EITHER
def test_money_stays_text(config: dict[str, str]) -> None:
    assert config["decimal.handling.mode"] == "string"


@EITHER
def test_events_of_the_table_go_to_the_topic_that_arbsim_reads(config: dict[str, str]) -> None:
    prefix = config.get("topic.prefix") or config["database.server.name"]
    assert f"{prefix}.{config['table.include.list']}" == cdc.TOPIC


@EITHER
def test_it_connects_to_the_nodes_of_the_universe(config: dict[str, str]) -> None:
    nodes = [name for name, service in SERVICES.items() if "LOCATION" in service.get("environment", {})]
    assert config["database.hostname"] == ",".join(f"{node}:5433" for node in nodes)
    masters = config.get("database.master.addresses")
    assert masters in (None, ",".join(f"{node}:7100" for node in nodes))


def test_columns_come_as_plain_values() -> None:
    """yboutput and the gRPC connector wrap each value: {"value": ..., "set": true}."""
    assert LOGICAL["plugin.name"] == "pgoutput"
    assert GRPC["transforms.plain.type"] == "io.debezium.connector.yugabytedb.transforms.PGCompatible"


def test_names_of_slot_and_publication_are_allowed() -> None:
    assert re.fullmatch(r"[a-z0-9_]{1,63}", LOGICAL["slot.name"])
    assert re.fullmatch(r"[a-z0-9_]{1,63}", LOGICAL["publication.name"])


def test_the_stream_s_id_is_read_from_the_file_that_is_made_for_it() -> None:
    reference = re.fullmatch(r"\$\{(\w+):(.*)/stream\.properties:id\}", GRPC["database.streamid"])
    assert reference is not None
    provider, folder = reference.groups()
    settings = WITH_GRPC["connect"]["environment"]
    assert settings["CONNECT_CONFIG_PROVIDERS"] == provider
    assert settings["CONNECT_CONFIG_PROVIDERS_FILE_CLASS"].endswith(".FileConfigProvider")
    assert WITH_GRPC["connect"]["volumes"] == [f"cdc-stream:{folder}:ro"]
    assert WITH_GRPC["cdc-stream"]["volumes"] == [f"cdc-stream:{folder}"]
    assert f"{folder}/stream.properties" in WITH_GRPC["cdc-stream"]["command"][-1]


@pytest.mark.parametrize("services", [SERVICES, WITH_GRPC], ids=["logical", "gRPC"])
def test_connect_is_given_the_configuration_at_its_own_address(
    services: dict[str, dict[str, list[str]]],
) -> None:
    assert services["connector"]["entrypoint"][-1] == "http://connect:8083/connectors/acct/config"
    assert "127.0.0.1:8083:8083" in services["connect"]["ports"]
    assert services["connector"]["image"] == services["connect"]["image"]
