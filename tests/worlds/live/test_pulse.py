"""A server that has gone is noticed, one that is there or comes back in time is not."""

import socket
import threading
from collections.abc import Callable

import pytest

from arbsim.worlds.live.processes import ServerUnavailable
from arbsim.worlds.live.pulse import Pulse


def until(happened: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    for _ in range(600):
        if happened():
            return
        threading.Event().wait(0.05)
    raise AssertionError("it never happened")


def test_a_server_that_has_gone_is_named_with_its_address() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listening.getsockname()[1]}"

    def gone() -> bool:
        try:
            pulse.check()
        except ServerUnavailable as problem:
            return f"Kafka west at {address} does not answer any more: Connection refused" == str(problem)
        return False

    with Pulse({"Kafka west": address}, patience_s=0.2) as pulse:
        listening.accept()[0].close()  # it has asked
        assert not gone()
        listening.close()
        until(gone)


def test_one_that_comes_back_in_time_is_not_missed() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    place = listening.getsockname()
    listening.close()
    with Pulse({"Kafka west": f"127.0.0.1:{place[1]}"}, patience_s=1000.0) as pulse:
        until(lambda: bool(pulse._why))
        pulse.check()
        with socket.create_server(place) as again:
            again.accept()[0].close()
            until(lambda: not pulse._why)
            pulse.check()


def test_where_there_is_nobody_to_ask_nobody_is_missed() -> None:
    with Pulse({}, patience_s=0.01) as pulse:
        pulse.check()


@pytest.mark.parametrize("address", ["[::1]:1", "localhost:1"])
def test_an_address_can_be_of_any_kind(address: str) -> None:
    with Pulse({"Kafka": address}, patience_s=0.04) as pulse:
        until(lambda: bool(pulse._why))
