"""The network between regions: round trips, jitter, and messages that never overtake each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arbsim.worlds.virtual.draws import UNIT_BITS, Draws
from arbsim.worlds.virtual.kernel import Journey, Kernel


class Network:
    """One-way delays between regions.

    A delay is half the round trip, times 1 + jitter x u with u uniform in [0, 1), drawn for the operation, the leg of
    its journey and the link. Inside a region nothing is drawn. ``messages`` and ``wan_messages`` (between two
    regions) count what was sent.
    """

    def __init__(
        self,
        kernel: Kernel,
        seed: int,
        regions: Sequence[str],
        round_trip_ns: Mapping[tuple[str, str], int],
        jitter_ppm: int,
    ) -> None:
        """``round_trip_ns`` has every ordered pair of regions, a region with itself included."""
        self.kernel = kernel
        self.messages = 0
        self.wan_messages = 0
        self._links = {
            (source, target): Link(self, seed, source, target, round_trip_ns[source, target], jitter_ppm)
            for source in regions
            for target in regions
        }

    def channel(self, source: str, target: str) -> Channel:
        """One direction of a new connection."""
        return Channel(self.kernel, self.link(source, target))

    def link(self, source: str, target: str) -> Link:
        """The way from one region to another (or to another node of the same region)."""
        return self._links[source, target]


class Link:
    """The way from one region to another, for any number of connections."""

    __slots__ = ("_draws", "_network", "_spread_ns", "base_ns", "wan")

    def __init__(
        self, network: Network, seed: int, source: str, target: str, round_trip_ns: int, jitter_ppm: int
    ) -> None:
        self._network = network
        self._draws = Draws(seed, f"network/{source}/{target}")
        self.wan = source != target
        self.base_ns = round_trip_ns // 2
        self._spread_ns = self.base_ns * jitter_ppm // 1_000_000 if self.wan else 0

    def delay_ns(self, journey: Journey, legs: int = 1) -> int:
        """Count one message and return how long it takes, for the next leg of this journey.

        ``legs`` 2: a message there and one back, whose time is drawn once for both.
        """
        network = self._network
        network.messages += legs
        if not self.wan:
            return legs * self.base_ns
        network.wan_messages += legs
        leg = journey.leg
        journey.leg = leg + 1
        drawn = self._draws.uniform(journey.operation, journey.salt + leg)
        return legs * (self.base_ns + (self._spread_ns * drawn >> UNIT_BITS))

    def round_trip_ns(self, journey: Journey) -> int:
        """Count a message there and one back, and return how long both take together."""
        return self.delay_ns(journey, 2)

    def single_ns(self, operation: int, salt: int) -> int:
        """Count one message, whose journey has no other leg, and return how long it takes."""
        network = self._network
        network.messages += 1
        if not self.wan:
            return self.base_ns
        network.wan_messages += 1
        return self.delay_for_ns(operation, salt)

    def delay_for_ns(self, subject: int, step: int) -> int:
        """Return the delay that belongs to a subject and step, without counting a message."""
        drawn = self._draws.uniform(subject, step)
        return self.base_ns + (self._spread_ns * drawn >> UNIT_BITS)


class Channel:
    """One direction of one connection: TCP delivers in order, so a message never overtakes an earlier one."""

    __slots__ = ("_kernel", "_last_arrival_ns", "_link")

    def __init__(self, kernel: Kernel, link: Link) -> None:
        self._kernel = kernel
        self._link = link
        self._last_arrival_ns = 0

    def delay_ns(self, journey: Journey) -> int:
        """Send a message now; return in how many nanoseconds it arrives."""
        now_ns = self._kernel.now_ns
        arrival_ns = now_ns + self._link.delay_ns(journey)
        if arrival_ns < self._last_arrival_ns:
            return self._last_arrival_ns - now_ns
        self._last_arrival_ns = arrival_ns
        return arrival_ns - now_ns
