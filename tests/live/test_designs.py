"""A team's own design on a real server: what it opens, and what it lets run, is there before the first operation."""

from dataclasses import dataclass
from typing import ClassVar

from arbsim.model import Accepted, Fate, Operation, Outcome, Rejected
from arbsim.worlds.api import Design, Region, Resources
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


def test_clients_are_connected_before_anything_is_decided(live: Live) -> None:
    CONNECTED.clear()
    history = live.run_design(Connects())
    assert {answer.fate for answer in history.answers()} == {Fate.REJECTED}


def test_services_run_for_a_design_without_topics(live: Live) -> None:
    history = live.run_design(ServesTables())
    assert {answer.fate for answer in history.answers()} == {Fate.ACCEPTED}
