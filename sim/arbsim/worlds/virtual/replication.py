"""Asynchronous replication between databases, both ways: per row the last writer wins, by commit time.

YugabyteDB documentation, "xCluster replication", "Inconsistencies affecting transactions": a change that arrives
is written with its source's commit time, takes no locks and honours none; where both sides wrote a row, the later
commit stays. Rows of one transaction arrive together here; the documentation does not promise that.
"""

from __future__ import annotations

from collections.abc import Mapping

from arbsim.worlds.virtual.database import ACCOUNTS, Universe
from arbsim.worlds.virtual.draws import purpose
from arbsim.worlds.virtual.kernel import Journey, Trace
from arbsim.worlds.virtual.network import Channel
from arbsim.worlds.virtual.sql.results import Change, Commit

_Stamp = tuple[int, str, int]
"""Time of the commit, its region, and its place among the commits of that region."""


class Replica:
    """One database that takes part: what its rows' last writers were, and the ways to the other databases."""

    def __init__(self, region: str, universe: Universe) -> None:
        self.region = region
        self.universe = universe
        self.links: list[tuple[Replica, Channel]] = []
        self._stamps: dict[int, _Stamp] = {}
        self._salt = purpose(f"replication/{region}") >> 16
        self._mark = universe.kernel.mark()
        universe.engine.on_commit.append(self.committed)

    def committed(self, commit: Commit) -> None:
        """Stamp what was committed here, and send it to every other database."""
        universe, trace = self.universe, commit.trace
        changes = [change for change in commit.changes if change.table == ACCOUNTS]
        if not changes or not isinstance(trace, Trace) or not trace.operation:
            return
        universe.kernel.touch(self._mark)
        stamp = (universe.kernel.clock_ns(order_only=True), self.region, commit.sequence)
        for change in changes:
            self._stamps[change.version.key[0]] = stamp
        journey = Journey(trace.operation, self._salt)
        for target, channel in self.links:
            self._send(target, channel.delay_ns(journey), changes, stamp, trace.operation)

    def _send(
        self, target: Replica, delay_ns: int, changes: list[Change], stamp: _Stamp, operation: int
    ) -> None:
        kernel, store = self.universe.kernel, self.universe.watch.store
        sent_ns = kernel.now_ns

        def arrived(_: object) -> None:
            for change in changes:
                if kernel.steps is not None:
                    kernel.steps.carries(operation, store, change.version.key[0], sent_ns)
                target.receive(change, stamp, operation)

        lag_ns = self.universe.settings.xcluster_lag_ns
        self.universe.kernel.call_ns(delay_ns + lag_ns, arrived)

    def receive(self, change: Change, stamp: _Stamp, operation: int) -> None:
        """Take over a row from another database, unless a later writer has won here already."""
        self.universe.kernel.touch(self._mark)
        account = change.version.key[0]
        wins = stamp > self._stamps.get(account, (0, "", 0))
        if wins:
            self._stamps[account] = stamp
        self.universe.watch.received(operation, change.version, wins)


def link(universes: Mapping[str, Universe]) -> None:
    """Link the databases of some regions, each with each."""
    replicas = [Replica(region, universe) for region, universe in universes.items()]
    for source in replicas:
        network = source.universe.network
        for target in replicas:
            if target is not source:
                source.links.append((target, network.channel(source.region, target.region)))
