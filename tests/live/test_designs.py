"""A team's own design on a real server: what it opens, and what it lets run, is there before the first operation."""

from dataclasses import dataclass
from typing import Any, ClassVar

import asyncpg
import pytest

from arbsim.model import Accepted, Fate, Operation, Outcome, Rejected
from arbsim.worlds.api import Design, Region, Resources, Topic
from arbsim.worlds.live.processes import ServerUnavailable
from tests.live.stack import Live

CONNECTED: set[str] = set()


@dataclass(frozen=True)
class Connects(Design):
    """Opens something for a region's clients, and relies on it."""

    name: ClassVar[str] = "tested/connects"
    family: ClassVar = "db"
    agreement: ClassVar = "synchronous"
    summary: ClassVar[str] = "A design of a test."

    def resources(self) -> Resources:
        return Resources(accounts_table=True)

    async def connect(self, region: Region) -> None:
        CONNECTED.add(region.name)

    async def decide(self, op: Operation, region: Region) -> Outcome:
        if region.name not in CONNECTED:
            raise RuntimeError("asked to decide before it was connected")
        return Rejected()


@dataclass(frozen=True)
class ServesTables(Connects):
    """A service that needs no Kafka: it says in a table that it is there."""

    name: ClassVar[str] = "tested/serves-tables"

    def resources(self) -> Resources:
        return Resources(accounts_table=True, tables=("CREATE TABLE serving (region TEXT PRIMARY KEY)",))

    async def serve(self, region: Region) -> None:
        await region.database.execute("INSERT INTO serving VALUES ($1)", region.name)

    async def decide(self, op: Operation, region: Region) -> Outcome:
        while await region.database.fetchval("SELECT count(*) FROM serving") < len(region.regions):
            await region.sleep(0.01)
        return Accepted()


@dataclass(frozen=True)
class ServesInVain(Connects):
    """Its service meets a database that has run out of something."""

    name: ClassVar[str] = "tested/serves-in-vain"

    async def serve(self, region: Region) -> None:
        raise asyncpg.DiskFullError("could not extend a file with a secret name")


@dataclass(frozen=True)
class Sends(Connects):
    """Sends to a topic, and looks whether its producer knew it before."""

    name: ClassVar[str] = "tested/sends"

    def resources(self) -> Resources:
        return Resources(topics=(Topic("orders"), Topic("all-orders", cluster="stretched")))

    async def connect(self, region: Region) -> None:
        for cluster in ("local", "stretched"):
            await region.kafka.producer(cluster)

    async def decide(self, op: Operation, region: Region) -> Outcome:
        known: list[str] = []
        for cluster in ("local", "stretched"):
            producer: Any = await region.kafka.producer(cluster)
            known += producer.client.cluster.topics()
        ends = sorted(topic.partition("-")[2] for topic in known)
        return Accepted() if ends == ["orders", "stretched-all-orders"] else Rejected(str(known))


def test_a_service_that_meets_a_full_disk_is_no_fault_of_its_design(live: Live) -> None:
    with pytest.raises(
        ServerUnavailable, match=r"disk space:\nthe database .*DiskFullError .SQLSTATE 53100."
    ):
        live.run_design(ServesInVain())


def test_a_producer_knows_the_design_s_topics_before_its_first_message(kafka: Live) -> None:
    """To ask for one then would delay the messages of all who send at that time."""
    assert {answer.reason for answer in kafka.run_design(Sends()).answers()} == {""}


def test_clients_are_connected_before_anything_is_decided(live: Live) -> None:
    CONNECTED.clear()
    history = live.run_design(Connects())
    assert {answer.fate for answer in history.answers()} == {Fate.REJECTED}


def test_services_run_for_a_design_without_topics(live: Live) -> None:
    history = live.run_design(ServesTables())
    assert {answer.fate for answer in history.answers()} == {Fate.ACCEPTED}
