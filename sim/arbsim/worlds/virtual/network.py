"""The network between regions: round trips, jitter, and messages that never overtake each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arbsim.worlds.virtual.draws import UNIT_BITS, Draws, purpose
from arbsim.worlds.virtual.kernel import Kernel, Trace


class Network:
    """One-way delays between regions.

    A delay is half the round trip, times 1 + jitter x u with u uniform in [0, 1), drawn for the operation,
    the leg of its journey and the link. ``messages`` and ``wan_messages`` (between two regions) count what
    was sent.
    """

    def __init__(
        self,
        kernel: Kernel,
        draws: Draws,
        regions: Sequence[str],
        round_trip_ns: Mapping[tuple[str, str], int],
        jitter_ppm: int,
    ) -> None:
        """``round_trip_ns`` has every ordered pair of regions, a region with itself included."""
        self.kernel = kernel
        self.messages = 0
        self.wan_messages = 0
        self._links = {
            (source, target): Link(
                self, draws, round_trip_ns[source, target], jitter_ppm, f"{source}/{target}", source != target
            )
            for source in regions
            for target in regions
        }

    def link(self, source: str, target: str) -> Link:
        """The way from one region to another (or to another node of the same region)."""
        return self._links[source, target]

    def round_trip_delay_ns(self, source: str, target: str, trace: Trace) -> int:
        """Count a message there and one back, and return how long both take together."""
        return self._links[source, target].delay_ns(trace) + self._links[target, source].delay_ns(trace)

    def round_trip_ns(self, source: str, target: str) -> int:
        """The round trip without jitter."""
        return self._links[source, target].base_ns + self._links[target, source].base_ns


class Link:
    """The way from one region to another, for any number of connections."""

    __slots__ = ("_draws", "_jitter_ppm", "_network", "_purpose", "base_ns", "wan")

    def __init__(
        self, network: Network, draws: Draws, round_trip_ns: int, jitter_ppm: int, name: str, wan: bool
    ) -> None:
        self._network = network
        self._draws = draws
        self._jitter_ppm = jitter_ppm
        self._purpose = purpose(f"network/{name}")
        self.base_ns = round_trip_ns // 2
        self.wan = wan

    def delay_ns(self, trace: Trace) -> int:
        """Count one message and return how long it takes, for the next leg of this trace."""
        network = self._network
        network.messages += 1
        if self.wan:
            network.wan_messages += 1
        leg = trace.leg
        trace.leg = leg + 1
        return self.delay_for_ns(trace.operation, trace.salt + leg)

    def delay_for_ns(self, subject: int, step: int) -> int:
        """Return the delay that belongs to a subject and step, without counting a message."""
        drawn = self._draws.uniform(self._purpose, subject, step)
        return self.base_ns + ((self.base_ns * self._jitter_ppm * drawn) >> UNIT_BITS) // 1_000_000


class Channel:
    """One direction of one connection: TCP delivers in order, so a message never overtakes an earlier one."""

    __slots__ = ("_kernel", "_last_arrival_ns", "_link")

    def __init__(self, kernel: Kernel, link: Link) -> None:
        self._kernel = kernel
        self._link = link
        self._last_arrival_ns = 0

    def delay_ns(self, trace: Trace) -> int:
        """Send a message now; return in how many nanoseconds it arrives."""
        now_ns = self._kernel.now_ns
        arrival_ns = max(now_ns + self._link.delay_ns(trace), self._last_arrival_ns)
        self._last_arrival_ns = arrival_ns
        return arrival_ns - now_ns
