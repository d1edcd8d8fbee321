"""A virtual world: builds what a design asks for, runs the workload through it, returns the history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from arbsim import cdc
from arbsim.history import History
from arbsim.model import (
    Accepted,
    Cents,
    DesignCard,
    Operation,
    Outcome,
    Workload,
    fate_of,
    from_cents,
    to_cents,
)
from arbsim.steps import Step
from arbsim.worlds.api import Design, Topic
from arbsim.worlds.virtual.database import Placement, Universe
from arbsim.worlds.virtual.kernel import NS_PER_MS, NS_PER_S, Kernel, Task, Trace
from arbsim.worlds.virtual.network import Network
from arbsim.worlds.virtual.recorder import Recorder, RegionStore
from arbsim.worlds.virtual.region import EPOCH_NS, Messaging, Places, VirtualClock, VirtualRegion
from arbsim.worlds.virtual.replication import link
from arbsim.worlds.virtual.settings import DatabaseSettings, Settings
from arbsim.worlds.virtual.sql.engine import Engine
from arbsim.worlds.virtual.steps import StepRecorder

if TYPE_CHECKING:
    from arbsim.worlds.virtual.change_stream import ChangeStream
    from arbsim.worlds.virtual.kafka.clusters import Clusters

_EPOCH = datetime.fromtimestamp(EPOCH_NS // NS_PER_S, UTC)


def run_design(design: Design, card: DesignCard, workload: Workload, settings: Settings) -> History:
    """Run one design on the workload in virtual time.

    Raises whatever the design raises that is no outcome: a bug in the design, with its place in the code.
    """
    return VirtualWorld(design, card, workload, settings).run()


def run_watched(
    design: Design,
    card: DesignCard,
    workload: Workload,
    settings: Settings,
    watched: Collection[int],
    until_ns: int | None = None,
) -> tuple[History, tuple[Step, ...]]:
    """Run one design as ``run_design`` does, and return every step of some operations too.

    ``until_ns``: stop once all has happened up to this time; the history is then that of a run cut short.
    """
    world = VirtualWorld(design, card, workload, settings, watched)
    history = world.run(until_ns)
    assert world.kernel.steps is not None
    return history, tuple(world.kernel.steps.steps)


class VirtualWorld:
    """Everything that exists in one run."""

    def __init__(
        self,
        design: Design,
        card: DesignCard,
        workload: Workload,
        settings: Settings,
        watched: Collection[int] = (),
    ) -> None:
        """``watched``: the operations of which every step is wanted."""
        self.design = design
        self.settings = settings
        self.workload = workload
        self.kernel = self._build_kernel()
        self.history = History(card, workload)
        self.recorder = Recorder(self.kernel, self.history)
        self.network = self._build_network()
        self.kernel.steps = StepRecorder(self.recorder, workload, watched) if watched else None
        self.resources = design.resources()
        self.universes = self._build_universes()
        self.distinct_universes = tuple(dict.fromkeys(self.universes.values()))
        self.clusters = self._build_clusters()
        self.change_stream = self._build_change_stream()
        self.stores: dict[str, RegionStore] = {}
        self.services: list[Task[Any]] = []
        self.connecting: dict[str, Task[Any]] = {}
        opening = {account: from_cents(cents) for account, cents in workload.accounts.items()}
        self.places = Places(settings.regions, settings.client_regions, settings.kafka_leader, opening)

    # -- what every design needs -----------------------------------------------------------------------

    def _build_kernel(self) -> Kernel:
        return Kernel()

    def _build_network(self) -> Network:
        settings = self.settings
        return Network(
            self.kernel, settings.seed, settings.regions, settings.round_trip_ns, settings.jitter_ppm
        )

    universe_type = Universe
    messaging_type = Messaging

    # -- what the design asked for ---------------------------------------------------------------------

    def _build_universes(self) -> dict[str, Universe]:
        """Build the database of each client region, or the one that they share, by region."""
        if not self.resources.accounts_table:
            return {}
        settings = self.settings
        if self.resources.universes == "one":
            placement = Placement(settings.database.leader, settings.regions, settings.replicated)
            universe = self._build_universe(placement, "database")
            return dict.fromkeys(settings.regions, universe)
        universes = {
            region: self._build_universe(Placement(region, (region,)), f"database@{region}")
            for region in settings.client_regions
        }
        link(universes)
        return universes

    def _build_universe(self, placement: Placement, store: str) -> Universe:
        database = self.settings.database
        if self.resources.dialect is not None:
            database = replace(database, dialect=self.resources.dialect)
        engine = self._build_engine(database)
        universe = self.universe_type(self.recorder, self.network, database, engine, placement, store)
        universe.watch.create((database.table, *self.resources.tables), self.resources.check)
        universe.watch.seed(self.workload.accounts)
        if self.kernel.steps is not None:
            self.kernel.steps.database(store, placement.leader)
        return universe

    def _build_engine(self, database: DatabaseSettings) -> Engine:
        return self._new_engine(
            dialect=database.dialect,
            now=self._wall_clock,
            max_query_layer_retries=database.query_layer_retries,
            read_committed=database.read_committed,
            split_writes=True,
        )

    def _new_engine(self, **options: Any) -> Engine:
        return Engine(**options)

    def _build_clusters(self) -> Clusters | None:
        """Build the clusters with the design's topics; None where it has none."""
        topics = self.resources.topics
        if self.resources.change_stream:
            topics = (*topics, Topic(cdc.TOPIC, partitions=cdc.PARTITIONS))
        if not topics:
            return None
        # aiokafka costs a tenth of a second to import; a database design does not need it.
        clusters = self._empty_clusters()
        for topic in topics:
            clusters.create_topic(topic.name, topic.cluster, topic.partitions, compacted=topic.seeded)
            if topic.seeded:
                clusters.seed(topic.name, topic.cluster, self._opening_records())
            if topic.mirrored:
                clusters.mirror(topic.name, topic.partitions, self.settings.client_regions)
        return clusters

    def _empty_clusters(self) -> Clusters:
        from arbsim.worlds.virtual.kafka.clusters import Clusters

        settings = self.settings
        return Clusters(
            self.kernel,
            self.network,
            settings.kafka,
            settings.regions,
            settings.kafka_leader,
            settings.replicated,
        )

    def _build_change_stream(self) -> ChangeStream | None:
        if not self.resources.change_stream or self.clusters is None:
            return None
        from arbsim.worlds.virtual.change_stream import ChangeStream

        leader = self.settings.kafka_leader
        self.clusters.mirror(cdc.TOPIC, cdc.PARTITIONS, (leader,))
        universe = self.universes[self.settings.database.leader]
        return ChangeStream(universe, self.clusters.of("local", leader), self.settings.cdc)

    def _opening_records(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"%d" % account, f'{{"account":{account},"balance":"{from_cents(cents)}","op":0}}'.encode())
            for account, cents in self.workload.accounts.items()
        ]

    def _messaging(self, region: str) -> Messaging | None:
        if self.clusters is None:
            return None
        from arbsim.worlds.virtual.kafka.clusters import RegionKafka

        kafka = RegionKafka(self.clusters, region, self._stamps())
        operations = self.workload.operations
        return self.messaging_type(
            self.kernel, kafka, region, lambda number: operations[number - 1].region == region
        )

    def _stamps(self) -> Callable[[], int]:
        """What gives records their timestamps, in milliseconds."""
        clock = VirtualClock(self.recorder)
        return lambda: clock.time_ns() // NS_PER_MS

    def _wall_clock(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self.recorder.now_ns // 1000)

    def _region(self, name: str, role: str) -> VirtualRegion:
        universe = self.universes.get(name)
        pool = universe.pool(name) if universe is not None else None
        store = self._store if role == "service" else None
        region = VirtualRegion(name, role, self.places, self.recorder, pool, self._messaging(name), store)
        if self.kernel.steps is not None:
            self.kernel.steps.actor(region.salt, "client" if role == "client" else "service", name)
        return region

    def _store(self, region: str) -> RegionStore:
        if region not in self.stores:
            self.stores[region] = RegionStore(self.recorder, region, self.workload.accounts)
        return self.stores[region]

    # -- the run ---------------------------------------------------------------------------------------

    def run(self, until_ns: int | None = None) -> History:
        """Start the services, then the clients; go on until everything is quiet, or until a time."""
        kernel, settings = self.kernel, self.settings
        clients = self._begin()
        kernel.run_until_quiet(settings.horizon_ns)
        self._begin_to_count()
        kernel.spawn(self._arrivals(clients))
        if self.change_stream is not None:
            kernel.spawn(self.change_stream.restarts())
        last_ns = self.workload.operations[-1].at_ns if self.workload.operations else 0
        horizon_ns = last_ns + settings.horizon_ns if until_ns is None else until_ns
        quiet = kernel.run_until_quiet(kernel.now_ns + horizon_ns)
        self._finish(quiet)
        return self.history

    def _begin(self) -> dict[str, VirtualRegion]:
        """Start the services, and let the clients connect; return the clients' regions."""
        kernel, settings = self.kernel, self.settings
        for name in settings.regions:
            self.services.append(kernel.spawn(self.design.serve(self._region(name, "service"))))
        clients = {name: self._region(name, "client") for name in settings.client_regions}
        for client in clients.values():
            self.connecting[client.name] = kernel.spawn(self.design.connect(client))
        return clients

    def _begin_to_count(self) -> None:
        """The workload begins now: what it took to get here counts for nothing."""
        self.recorder.start_ns = self.kernel.now_ns
        self.network.begin_to_count()
        self.history.statements.clear()

    async def _arrivals(self, clients: dict[str, VirtualRegion]) -> None:
        """Let each client begin its operation at its time."""
        kernel, recorder = self.kernel, self.recorder
        for op in self.workload:
            if op.at_ns > recorder.now_ns:
                await kernel.sleep_ns(op.at_ns - recorder.now_ns)
            client = clients[op.region]
            kernel.spawn(self._client(op, client), Trace(op.id, client.salt))

    async def _client(self, op: Operation, region: VirtualRegion) -> None:
        """One client: invoke, decide, write down what it was told."""
        recorder, history = self.recorder, self.history
        history.invoke(op.id, recorder.now_ns)
        if self.kernel.steps is not None:
            self.kernel.steps.invoked(op.id, op.region)
        outcome: Outcome = await self.design.decide(op, region)
        told = outcome.balance if isinstance(outcome, Accepted) else None
        history.answer(
            op.id,
            recorder.now_ns,
            fate_of(outcome),
            None if told is None else to_cents(told),
            "" if isinstance(outcome, Accepted) else outcome.reason,
        )
        if self.kernel.steps is not None:
            self.kernel.steps.answered(op.id, op.region, fate_of(outcome))
        trace = self.kernel.trace
        recorder.decided(trace)
        for universe in self.distinct_universes:
            universe.engine.forget(trace)

    def _finish(self, quiet: bool) -> None:
        """Close what still runs, in a fixed order, and read the final balances from the stores themselves."""
        history = self.history
        for service in self.services:
            service.close()
        history.quiet_ns = self.recorder.now_ns
        history.totals["messages"] = self.network.messages
        history.totals["wan_messages"] = self.network.wan_messages
        if not quiet:
            seconds = self.settings.horizon_ns // NS_PER_S
            history.notes.append(
                f"the run was stopped {seconds} s of virtual time after the last operation began"
            )
        history.finals.update(self.balances())

    def balances(self) -> Iterator[tuple[str, dict[int, Cents]]]:
        """What each store holds now, committed."""
        for universe in self.distinct_universes:
            yield universe.watch.store, universe.watch.finals()
        for name, store in self.stores.items():
            yield name, store.finals()
