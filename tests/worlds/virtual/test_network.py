"""Delays, and the draws behind them."""

from hypothesis import given
from hypothesis import strategies as st

from arbsim.worlds.virtual.draws import STEP, UNIT_BITS, Draws, point
from arbsim.worlds.virtual.kernel import Kernel, Trace
from arbsim.worlds.virtual.network import Channel, Network

MS = 1_000_000
ROUND_TRIPS = {(a, b): 0 if a == b else 64 * MS for a in ("east", "west") for b in ("east", "west")}


def network(jitter_ppm: int = 0, seed: int = 1) -> Network:
    return Network(Kernel(), seed, ("east", "west"), ROUND_TRIPS, jitter_ppm)


def test_without_jitter_a_message_takes_half_the_round_trip() -> None:
    assert network().link("east", "west").delay_ns(Trace(1)) == 32 * MS


@given(st.integers(0, 2**40), st.integers(0, 100), st.integers(1, 500_000))
def test_jitter_only_adds_and_stays_below_its_bound(operation: int, leg: int, jitter_ppm: int) -> None:
    delay_ns = network(jitter_ppm).link("east", "west").delay_for_ns(operation, leg)
    assert 32 * MS <= delay_ns <= 32 * MS * (1_000_000 + jitter_ppm) // 1_000_000


def test_the_weather_of_an_operation_does_not_depend_on_what_was_asked_before() -> None:
    one, other = network(50_000), network(50_000)
    for operation in range(2, 50):
        other.link("east", "west").delay_ns(Trace(operation))
    assert one.link("east", "west").delay_ns(Trace(1)) == other.link("east", "west").delay_ns(Trace(1))


def test_each_leg_of_a_journey_has_a_draw_of_its_own() -> None:
    link, trace = network(500_000).link("east", "west"), Trace(1)
    assert len({link.delay_ns(trace) for _ in range(20)}) == 20


def test_a_message_never_overtakes_an_earlier_one_on_its_connection() -> None:
    net = network(500_000)
    channel = Channel(net.kernel, net.link("east", "west"))
    arrivals = [channel.delay_ns(Trace(operation)) for operation in range(1, 200)]
    assert arrivals == sorted(arrivals)


def test_messages_between_regions_are_counted_apart() -> None:
    net = network()
    net.link("east", "west").delay_ns(Trace(1))
    net.link("east", "east").delay_ns(Trace(1))
    assert (net.messages, net.wan_messages) == (2, 1)


def test_draws_are_uniform_enough() -> None:
    draws = Draws(42, "network/east/west")
    buckets = [0] * 10
    for operation in range(10_000):
        buckets[draws.uniform(operation, 0) * 10 >> UNIT_BITS] += 1
    # Chi squared with 9 degrees of freedom stays below 27.9 in 999 of 1,000 cases.
    assert sum((count - 1000) ** 2 for count in buckets) / 1000 < 27.9


@given(st.integers(0, 2**40), st.integers(0, 2**48), st.integers(0, 50))
def test_going_on_from_a_point_draws_what_its_step_draws(subject: int, step: int, legs: int) -> None:
    draws = Draws(42, "network/east/west")
    assert draws.at(point(subject, step) + legs * STEP) == draws.uniform(subject, step + legs)


def test_another_seed_gives_other_weather() -> None:
    one, other = network(50_000, seed=1), network(50_000, seed=2)
    assert one.link("east", "west").delay_ns(Trace(1)) != other.link("east", "west").delay_ns(Trace(1))
