"""The services of all regions in one run: each in a process of its own, started, killed and started again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arbsim.worlds.live.events import Event, read_log
from arbsim.worlds.live.premises import Plan
from arbsim.worlds.live.service import Assignment, Service, start_service


@dataclass(frozen=True, slots=True)
class KillService:
    """A region's service is killed (``kill -9``) at a time of the run, and started again at once."""

    region: str
    at_ns: int


class Services:
    """None where the design serves nothing."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._running: dict[str, Service] = {}

    def __bool__(self) -> bool:
        return bool(self._running)

    async def start(self) -> None:
        """Start all at once, and wait until all are ready. Raises ServiceFailed."""
        if self._plan.design.serves():
            for region in self._plan.settings.regions:
                self._running[region] = self._started(region)
        for service in self._running.values():
            await service.ready()

    def end(self) -> None:
        """Kill all. Can be called again."""
        for service in self._running.values():
            service.child.kill()

    def check(self) -> None:
        """Raise ServiceFailed where one has ended with an error."""
        for service in self._running.values():
            service.check()

    def restart(self, region: str) -> None:
        """Kill a service and start it again."""
        self._running[region].child.kill()
        self._running[region] = self._started(region)

    def sizes(self) -> list[int]:
        """How much each has noted."""
        return [service.size for service in self._running.values()]

    def logs(self) -> dict[str, Sequence[Event]]:
        """What each has noted, by region."""
        return {region: read_log(service.events) for region, service in self._running.items()}

    def _started(self, region: str) -> Service:
        plan = self._plan
        folder = plan.servers.folder
        assignment = Assignment(
            region=region,
            places=plan.places,
            log=folder / f"{plan.run}-{region}.events",
            database=plan.servers.database_from(region),
            schema=plan.run if plan.resources.accounts_table else None,
            pool_most=plan.servers.pool_size(plan.settings),
            kafka=plan.kafka(region),
        )
        return start_service(plan.design, assignment, folder / f"{plan.run}-{region}.log")
