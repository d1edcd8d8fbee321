"""The network between regions: round trips, jitter, and messages that never overtake each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arbsim.worlds.virtual.draws import STEP, UNIT_BITS, Draws, point
from arbsim.worlds.virtual.kernel import Journey, Kernel


class Network:
    """One-way delays between regions.

    A delay is half the round trip, times 1 + jitter x u with u uniform in [0, 1), drawn for the operation, the leg of
    its journey and the link. Inside a region nothing is drawn.
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
        self._links = {
            (source, target): Link(seed, source, target, round_trip_ns[source, target], jitter_ppm)
            for source in regions
            for target in regions
        }

    @property
    def messages(self) -> int:
        """How many messages were sent since the counting began."""
        return sum(link.messages for link in self._links.values())

    @property
    def wan_messages(self) -> int:
        """How many of them went from one region to another."""
        return sum(link.messages for link in self._links.values() if link.wan)

    def begin_to_count(self) -> None:
        """What was sent until now counts for nothing."""
        for link in self._links.values():
            link.messages = 0

    def channel(self, source: str, target: str) -> Channel:
        """One direction of a new connection."""
        return Channel(self.kernel, self.link(source, target))

    def link(self, source: str, target: str) -> Link:
        """The way from one region to another (or to another node of the same region)."""
        return self._links[source, target]


class Link:
    """The way from one region to another, for any number of connections. ``messages`` counts what was sent."""

    __slots__ = ("_draws", "_spread_ns", "base_ns", "messages", "wan")

    def __init__(self, seed: int, source: str, target: str, round_trip_ns: int, jitter_ppm: int) -> None:
        self._draws = Draws(seed, f"network/{source}/{target}")
        self.messages = 0
        self.wan = source != target
        self.base_ns = round_trip_ns // 2
        self._spread_ns = self.base_ns * jitter_ppm // 1_000_000 if self.wan else 0

    def delay_ns(self, journey: Journey, legs: int = 1) -> int:
        """Count one message and return how long it takes, for the next leg of this journey.

        ``legs`` 2: a message there and one back, whose time is drawn once for both.
        """
        self.messages += legs
        if not self.wan:
            return legs * self.base_ns
        at = journey.point
        if at is None:
            at = point(journey.operation, journey.salt)
        journey.point = at + STEP
        return legs * (self.base_ns + (self._spread_ns * self._draws.at(at) >> UNIT_BITS))

    def single_ns(self, operation: int, step: int) -> int:
        """Count one message, whose journey has no other leg, and return how long it takes."""
        self.messages += 1
        return self.delay_for_ns(operation, step) if self.wan else self.base_ns

    def delay_for_ns(self, subject: int, step: int) -> int:
        """Return the delay that belongs to a subject and step, without counting a message."""
        return self.base_ns + (self._spread_ns * self._draws.uniform(subject, step) >> UNIT_BITS)


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
