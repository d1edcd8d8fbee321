"""docker-compose.yml says what docs/compose.md and the code say. No container is started."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from arbsim import cdc
from arbsim.scenario.load import load_scenario
from arbsim.scenario.models import ACCT_TABLE
from arbsim.worlds.live.compose import CLIENT_REGIONS, LEADER, REPLICA_REGIONS
from arbsim.worlds.virtual.sql import check_statement
from tests.compose.files import GRPC, MAIN, ROOT, SERVICES, WITH_GRPC, document, script

BOTH = pytest.mark.parametrize("services", [SERVICES, WITH_GRPC], ids=["alone", "with compose/grpc.yml"])
YUGABYTE = {name: SERVICES[f"yugabyte-{name}"] for name in REPLICA_REGIONS}
STRETCHED = {name: SERVICES[f"kafka-stretched-{name}"] for name in REPLICA_REGIONS}
ALONE = {name: SERVICES[f"kafka-{name}"] for name in CLIENT_REGIONS}

Services = dict[str, dict[str, Any]]


@pytest.mark.parametrize("path", [MAIN, GRPC], ids=lambda path: path.name)
def test_it_is_valid_by_the_compose_specification_s_schema(path: Path, tmp_path: Path) -> None:
    def valid(file: Path) -> bool:
        checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
        return subprocess.run([*checker, str(file)], capture_output=True, check=False).returncode == 0

    assert valid(path)
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(
        path.read_text(encoding="utf-8").replace("depends_on:", "depends_upon:"), encoding="utf-8"
    )
    assert not valid(wrong)


@BOTH
def test_every_image_is_pinned_to_one_version(services: Services) -> None:
    for name, service in services.items():
        repository, _, tag = service["image"].rpartition(":")
        assert repository, name
        assert re.search(r"\d+\.\d+\.\d+", tag), name
    used: dict[str, set[str]] = {}
    for service in services.values():
        repository, _, tag = service["image"].rpartition(":")
        used.setdefault(repository, set()).add(tag)
    assert {repository: tags for repository, tags in used.items() if len(tags) > 1} == {}


@BOTH
def test_every_published_port_is_on_loopback_and_published_once(services: Services) -> None:
    published = []
    for service in services.values():
        for port in service.get("ports", ()):
            address, number, _ = port.split(":")
            assert address == "127.0.0.1"
            published.append(int(number))
    assert len(published) == 19
    assert len(set(published)) == len(published)
    # Above that, the system hands ports out to whoever asks.
    assert max(published) < 32768


@BOTH
def test_whoever_waits_for_a_service_can_know_when_it_is_ready(services: Services) -> None:
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert services[other]["healthcheck"]["test"], (name, other)
            else:
                assert how["condition"] == "service_completed_successfully"
                assert services[other]["restart"] == "no", (name, other)


@BOTH
def test_every_server_is_checked_and_what_runs_once_is_not(services: Services) -> None:
    for name, service in services.items():
        assert ("healthcheck" in service) == (service["restart"] == "unless-stopped"), name


@BOTH
def test_nobody_waits_for_a_service_that_waits_for_it(services: Services) -> None:
    done: set[str] = set()
    while ready := {
        name for name, one in services.items() if name not in done and set(one.get("depends_on", ())) <= done
    }:
        done |= ready
    assert done == set(services)


@pytest.mark.parametrize("files", [(MAIN,), (MAIN, GRPC)], ids=["alone", "with compose/grpc.yml"])
def test_volumes_and_configurations_are_declared_used_and_there(files: tuple[Path, ...]) -> None:
    services = WITH_GRPC if GRPC in files else SERVICES
    volumes = {name for file in files for name in document(file).get("volumes", {})}
    configs = {name: one for file in files for name, one in document(file).get("configs", {}).items()}
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    assert set(mounted) == volumes
    assert {one["source"] for service in services.values() for one in service.get("configs", ())} == set(
        configs
    )
    assert all((ROOT / one["file"]).is_file() for one in configs.values())


def test_every_server_that_keeps_something_keeps_it_in_a_volume_of_its_own() -> None:
    kept = [one["volumes"] for one in (*YUGABYTE.values(), *STRETCHED.values(), *ALONE.values())]
    assert all(len(volumes) == 1 for volumes in kept)
    assert len({volumes[0] for volumes in kept}) == len(kept)
    assert {volumes[0].split(":")[1] for volumes in kept} == {"/home/yugabyte/yb_data", "/var/lib/kafka/data"}


# -- YugabyteDB ----------------------------------------------------------------------------------------


def ran(command: list[str], folder: Path, environment: dict[str, str]) -> list[list[str]]:
    """Run a container's command with programs in place of its own that note how they were called."""
    programs = folder / "bin"
    programs.mkdir()
    for name in ("yugabyted", "yb-admin", "ysqlsh"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" "" >>"$NOTES"\n', encoding="utf-8")
        program.chmod(0o755)
    notes = folder / "notes"
    path = {"PATH": os.environ["PATH"], "NOTES": str(notes)}
    subprocess.run(command, cwd=folder, env=path | environment, check=True, timeout=30)
    return [call.split("\n") for call in notes.read_text(encoding="utf-8").strip("\n").split("\n\n")]


@pytest.mark.parametrize("region", REPLICA_REGIONS)
def test_a_node_says_where_it_is_and_joins_the_first(region: str, tmp_path: Path) -> None:
    service = YUGABYTE[region]
    host = {"HOSTNAME": service["hostname"]}
    ((program, command, *flags),) = ran(script(service), tmp_path, host | service["environment"])
    assert (program, command) == ("yugabyted", "start")
    said = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
    assert said["advertise_address"] == f"yugabyte-{region}"
    assert said["fault_tolerance"] == "region"
    assert said.get("join") == (None if region == LEADER else f"yugabyte-{LEADER}")
    assert said["base_dir"] in service["volumes"][0]
    switches = dict(flag.split("=") for flag in said["tserver_flags"].split(","))
    assert switches["yb_enable_read_committed_isolation"] == "true"
    assert switches["enable_wait_queues"] == "true"


def test_the_regions_are_where_the_shipped_scenario_has_them() -> None:
    scenario = load_scenario(str(ROOT / "scenarios" / "two_regions.yaml"), check_sql=check_statement)
    assert tuple(scenario.regions) == REPLICA_REGIONS
    for name, region in scenario.regions.items():
        assert YUGABYTE[name]["environment"]["LOCATION"].split(".")[1] == region.location
        assert STRETCHED[name]["environment"]["KAFKA_BROKER_RACK"] == region.location
    assert tuple(name for name, region in scenario.regions.items() if region.clients) == CLIENT_REGIONS
    assert scenario.database.leader == scenario.kafka.leader == LEADER


def test_a_replica_is_placed_in_each_region_and_leaders_prefer_the_leader_region(tmp_path: Path) -> None:
    where = {name: service["environment"]["LOCATION"] for name, service in YUGABYTE.items()}
    place, prefer, sql = ran(script(SERVICES["yugabyte-setup"]), tmp_path, {})
    masters = ",".join(f"yugabyte-{name}:7100" for name in REPLICA_REGIONS)
    assert place[:4] == ["yb-admin", "--master_addresses", masters, "modify_placement_info"]
    assert sorted(place[4].split(",")) == sorted(f"{at}:1" for at in where.values())
    assert place[5] == "3"
    assert prefer[:4] == ["yb-admin", "--master_addresses", masters, "set_preferred_zones"]
    assert prefer[4:] == [f"{where['east']}:1", f"{where['central']}:2", f"{where['west']}:3"]
    assert sql == [
        "ysqlsh",
        "--host",
        "yugabyte-east",
        "--set",
        "ON_ERROR_STOP=1",
        "--file",
        "/etc/arbsim/acct.sql",
    ]


def test_the_table_is_the_scenario_s_and_has_its_replica_identity_before_the_connector_comes() -> None:
    text = (ROOT / "compose" / "acct.sql").read_text(encoding="utf-8")
    statements = [one.strip() for one in re.sub(r"--.*", "", text).split(";")]
    assert statements[0].replace("IF NOT EXISTS ", "") == ACCT_TABLE
    assert statements[1] == "ALTER TABLE acct REPLICA IDENTITY FULL"
    for services in (SERVICES, WITH_GRPC):
        assert services["connector"]["depends_on"]["connect"]["condition"] == "service_healthy"
        assert (
            services["connect"]["depends_on"]["yugabyte-setup"]["condition"]
            == "service_completed_successfully"
        )


# -- Kafka ---------------------------------------------------------------------------------------------


def test_the_stretched_cluster_is_one_with_a_replica_in_each_region() -> None:
    brokers = [service["environment"] for service in STRETCHED.values()]
    voters = [
        f"{b['KAFKA_NODE_ID']}@{s['hostname']}:9093" for b, s in zip(brokers, STRETCHED.values(), strict=True)
    ]
    assert {b["KAFKA_CONTROLLER_QUORUM_VOTERS"] for b in brokers} == {",".join(voters)}
    assert len({b["CLUSTER_ID"] for b in brokers}) == 1
    assert {b["KAFKA_DEFAULT_REPLICATION_FACTOR"] for b in brokers} == {"3"}
    assert {b["KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR"] for b in brokers} == {"3"}
    # A write that two replicas have survives the loss of any region, and a lost region stops no writes.
    assert {b["KAFKA_MIN_INSYNC_REPLICAS"] for b in brokers} == {"2"}


def test_each_region_s_cluster_is_its_own() -> None:
    identities = {service["environment"]["CLUSTER_ID"] for service in (*ALONE.values(), STRETCHED["east"])}
    assert len(identities) == 3
    for region, service in ALONE.items():
        assert service["environment"]["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"1@kafka-{region}:9093"


@pytest.mark.parametrize("name", [n for n in SERVICES if n.startswith("kafka-") and n != "kafka-topics"])
def test_a_broker_advertises_to_containers_its_name_and_to_this_machine_a_published_port(name: str) -> None:
    service = SERVICES[name]
    settings = service["environment"]
    listens = dict(one.split("://:") for one in settings["KAFKA_LISTENERS"].split(","))
    advertised = dict(one.split("://") for one in settings["KAFKA_ADVERTISED_LISTENERS"].split(","))
    published = {port.split(":")[2]: port.split(":")[1] for port in service["ports"]}
    assert service["hostname"] == name
    assert set(advertised) == set(listens) - {"CONTROLLER"}
    assert advertised["INTERNAL"] == f"{name}:{listens['INTERNAL']}"
    assert advertised["OWN"] == f"127.0.0.1:{published[listens['OWN']]}"
    protocols = dict(one.split(":") for one in settings["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert set(protocols) == set(listens)


@pytest.mark.parametrize("name", [n for n in WITH_GRPC if "kafka-" in n or n in ("mirror-maker", "connect")])
def test_addresses_of_brokers_in_commands_are_those_that_are_listened_on(name: str) -> None:
    service = WITH_GRPC[name]
    texts = [
        *map(str, service.get("command", ())),
        str(service.get("environment", {}).get("BOOTSTRAP_SERVERS")),
    ]
    for host, port in re.findall(r"(kafka-[a-z-]+):(\d+)", " ".join(texts)):
        assert f"://:{port}" in SERVICES[host]["environment"]["KAFKA_LISTENERS"]


# -- the change stream ---------------------------------------------------------------------------------


def test_the_change_stream_s_topic_is_made_with_the_partitions_that_arbsim_counts_on() -> None:
    command = SERVICES["kafka-topics"]["command"]
    assert f"--topic={cdc.TOPIC}" in command
    assert f"--partitions={cdc.PARTITIONS}" in command
    assert f"--bootstrap-server=kafka-{LEADER}:19092" in command
    assert SERVICES["connect"]["environment"]["BOOTSTRAP_SERVERS"] == f"kafka-{LEADER}:19092"


@BOTH
def test_events_are_written_without_schemas(services: Services) -> None:
    settings = services["connect"]["environment"]
    assert settings["CONNECT_KEY_CONVERTER_SCHEMAS_ENABLE"] == "false"
    assert settings["CONNECT_VALUE_CONVERTER_SCHEMAS_ENABLE"] == "false"


def test_the_other_connector_does_not_go_on_from_this_one_s_offsets() -> None:
    names = ("GROUP_ID", "CONFIG_STORAGE_TOPIC", "OFFSET_STORAGE_TOPIC", "STATUS_STORAGE_TOPIC")
    ours, other = (services["connect"]["environment"] for services in (SERVICES, WITH_GRPC))
    assert {ours[name] for name in names} & {other[name] for name in names} == set()


def test_the_stream_s_id_is_kept_and_made_only_once(tmp_path: Path) -> None:
    def make() -> None:
        command = [part.replace("/var/lib/arbsim", str(tmp_path)) for part in script(WITH_GRPC["cdc-stream"])]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=30)

    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "yb-admin"
    program.write_text('#!/bin/sh\necho "$@" >>calls\necho "CDC Stream ID: d540f5e4890c"\n', encoding="utf-8")
    program.chmod(0o755)
    make()
    make()
    assert (tmp_path / "stream.properties").read_text(encoding="utf-8") == "id=d540f5e4890c\n"
    (call,) = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert call.endswith("create_change_data_stream ysql.yugabyte EXPLICIT ALL")


def test_a_stream_that_was_not_made_stops_the_start(tmp_path: Path) -> None:
    command = [part.replace("/var/lib/arbsim", str(tmp_path)) for part in script(WITH_GRPC["cdc-stream"])]
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "yb-admin"
    for answer in ("echo 'Error running create_change_data_stream'", "exit 1"):
        program.write_text(f"#!/bin/sh\n{answer}\n", encoding="utf-8")
        program.chmod(0o755)
        ended = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, timeout=30)
        assert ended.returncode != 0
        assert not (tmp_path / "stream.properties").exists()
