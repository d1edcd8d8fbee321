"""One run of a design whose every step is chosen from outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from arbsim.history import History
from arbsim.model import DesignCard, Kind, Operation, Workload
from arbsim.worlds.api import Design
from arbsim.worlds.exhaustive.database import ChoiceUniverse, SharedEngine
from arbsim.worlds.exhaustive.kernel import ChoiceKernel, Connection, GroupTask, Learned
from arbsim.worlds.exhaustive.steps import Precedes, Step
from arbsim.worlds.virtual.kernel import Journey, Kernel, Trace
from arbsim.worlds.virtual.network import Channel, Network
from arbsim.worlds.virtual.region import Messaging, VirtualRegion
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.sql.engine import Engine
from arbsim.worlds.virtual.world import _EPOCH, VirtualWorld

if TYPE_CHECKING:
    from arbsim.worlds.virtual.kafka.clusters import Clusters

MOST_SETUP_STEPS = 2_000
"""Services that are not at rest after so many steps never will be; then no run ends, and no search is complete."""


class ChoiceWorld(VirtualWorld):
    """A world in which order is all there is: an execution for the search.

    Services start and clients connect in one fixed order, before the first choice. Every client then begins its
    operation at a step of its own, whatever time the scenario gives it.
    """

    def __init__(
        self,
        design: Design,
        card: DesignCard,
        workload: Workload,
        settings: Settings,
        learned: Learned,
        watched: Collection[int] = (),
    ) -> None:
        self.learned = learned
        super().__init__(design, card, workload, without_delays(settings), watched)
        self._limit()
        self._set_up()

    # -- the parts -------------------------------------------------------------------------------------

    def _build_kernel(self) -> Kernel:
        self._kernel = ChoiceKernel(self.learned)
        self._kernel.isolated = vars(type(self.design)).get("isolated_tasks", False)
        return self._kernel

    def _build_network(self) -> Network:
        settings = self.settings
        return ChoiceNetwork(
            self.kernel, settings.seed, settings.regions, settings.round_trip_ns, settings.jitter_ppm
        )

    def _new_engine(self, **options: Any) -> Engine:
        return SharedEngine(self._kernel, **options)

    universe_type = ChoiceUniverse

    def _messaging(self, region: str) -> Messaging | None:
        if self.clusters is not None:
            from arbsim.worlds.exhaustive.kafka import ChoiceMessaging

            self.messaging_type = ChoiceMessaging
        return super()._messaging(region)

    def _empty_clusters(self) -> Clusters:
        from arbsim.worlds.exhaustive.kafka import ChoiceClusters

        settings = self.settings
        return ChoiceClusters(
            self.kernel, self.network, settings.kafka, settings.regions, settings.kafka_leader
        )

    def _wall_clock(self) -> datetime:
        """SQL's now(): constant where no statement lets the time decide anything."""
        if not self.learned.sql_time_decides:
            return _EPOCH
        return _EPOCH + timedelta(microseconds=self.recorder.clock_ns() // 1000)

    def _stamps(self) -> Callable[[], int]:
        """Timestamps of records are read only where somebody looks at one."""
        if self.learned.stamps_are_read:
            return super()._stamps()
        unread = UnreadStamp(self._kernel)
        return lambda: unread  # type: ignore[return-value]

    def _limit(self) -> None:
        """Note what this world does not do, though the scenario asks for it."""
        if self.change_stream is not None and self.settings.cdc.restart_at_ns:
            self.learned.limits["the connector's restarts are left out"] = None

    # -- the run ---------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        kernel = self._kernel
        clients = self._begin()
        kernel.settle()
        for _ in range(MOST_SETUP_STEPS):
            if not kernel.ready:
                break
            kernel.take(next(iter(kernel.ready)))
        self._begin_to_count()
        kernel.begin()
        groups = self._client_groups()
        for op in self.workload:
            trace = Trace(op.id, clients[op.region].salt)
            task = GroupTask(kernel, self._arrive(op, clients[op.region]), trace, groups[op.id])
            task.alone = True
        kernel.settle()
        kernel.raise_learned()

    def _client_groups(self) -> dict[int, int]:
        """Who may share Python objects: nobody, or the clients of one region, with what connects them."""
        kernel = self._kernel
        if kernel.isolated:
            return {op.id: kernel.mark() for op in self.workload}
        crowds = Counter(op.region for op in self.workload)
        of_region: dict[str, int] = {}
        for region, task in self.connecting.items():
            assert isinstance(task, GroupTask)
            of_region[region] = task.group
            if crowds[region] + task.is_alive > 1:
                kernel.crowd(task.group)
        return {op.id: of_region[op.region] for op in self.workload}

    async def _arrive(self, op: Operation, region: VirtualRegion) -> None:
        """One client. When it begins and ends matters where somebody's answer comes before another's beginning."""
        kernel = self._kernel
        await kernel.sleep_ns(1)
        for other in self._meets[op.id]:
            kernel.touch(self._answers[other], write=False)
        await self._client(op, region)
        if self._meets[op.id]:
            kernel.touch(self._answers[op.id])

    @cached_property
    def _answers(self) -> dict[int, int]:
        numbers = self.learned.names.numbers
        return {op.id: numbers["answer", op.id] for op in self.workload}

    @cached_property
    def _meets(self) -> dict[int, tuple[int, ...]]:
        """For each operation the others whose order in real time a judge may go by.

        Withdrawals alone are judged alike in every order.
        """
        if all(op.kind is Kind.WITHDRAW for op in self.workload):
            return {op.id: () for op in self.workload}
        return {op.id: tuple(o.id for o in self.workload if o.id != op.id) for op in self.workload}

    def choices(self) -> list[int]:
        """The steps that can be taken."""
        return list(self._kernel.ready)

    def take(self, name: int, *answers: int) -> Step:
        """Take one."""
        return self._kernel.take(name, *answers)

    def stand_for(self, precedes: Precedes) -> None:
        """Let the run stand for many orders."""
        self._kernel.comparisons.precedes = precedes

    @property
    def redundant(self) -> bool:
        """Whether what comes of this run comes of another one, too."""
        return self._kernel.redundant

    def finish(self) -> History:
        """Close what still runs, and return what happened. Raises LearnedMore where the closing showed more."""
        self._finish(quiet=True)
        self._kernel.raise_learned()
        return self.history


class ChoiceNetwork(Network):
    """Messages take one nanosecond: any delay but none, for only the order counts."""

    def channel(self, source: str, target: str) -> Channel:
        """One direction of a new connection, on which no message overtakes another."""
        return OrderedChannel(self.kernel, self.link(source, target))


class OrderedChannel(Channel):
    """Tells the kernel that the next timer is a message of this connection. The order of sending is an object."""

    def __init__(self, kernel: Kernel, link: object) -> None:
        assert isinstance(kernel, ChoiceKernel)
        self._choices = kernel
        self._connection = Connection()
        self._mark = kernel.mark()

    def delay_ns(self, journey: Journey) -> int:
        """Send a message."""
        self._choices.touch(self._mark)
        self._choices.connection = self._connection
        return 1


class UnreadStamp:
    """The timestamp of a record at which nobody has looked. Who does makes the search begin anew, with clocks."""

    def __init__(self, kernel: ChoiceKernel) -> None:
        self._kernel = kernel

    def __index__(self) -> int:
        self._kernel.learned.stamps_are_read = self._kernel.learned_more = True
        return 0


@dataclass(frozen=True, slots=True)
class OrderOnly(Settings):
    """Settings in which only the order counts. A delay of 0 means: in the same step."""


def without_delays(settings: Settings) -> OrderOnly:
    """The same scenario where only the order counts. Who makes many worlds of it calls this once before."""
    if isinstance(settings, OrderOnly):
        return settings
    changed = replace(
        settings,
        round_trip_ns=dict.fromkeys(settings.round_trip_ns, 2),
        jitter_ppm=0,
        database=replace(settings.database, statement_ns=0, xcluster_lag_ns=0),
        kafka=replace(
            settings.kafka,
            append_ns=0,
            linger_ns=0,
            fetch_max_wait_ns=0,
            transaction_ns=1,
            mirror_lag_ns=0,
            rebalance_ns=1,
        ),
        cdc=replace(settings.cdc, lag_ns=0, poll_interval_ns=1),
    )
    return OrderOnly(**{one.name: getattr(changed, one.name) for one in fields(changed)})
