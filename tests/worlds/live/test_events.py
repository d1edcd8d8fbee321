"""The log of a live process: at once in its file, and readable up to the moment of a kill."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from arbsim.worlds.live.events import Log, no_pauses, read_log


def written(file: Path) -> Log:
    log = Log(file)
    with log.working_on(7, own_order=3):
        log.add("put", "east", 1, 4000)
        log.statement(12, 99, "SELECT 1", [(1, 4000)])
    return log


EXPECTED = [
    ("place", 7, (3,)),
    ("put", 7, ("east", 1, 4000)),
    ("statement", 7, (12, 99, "SELECT 1", [(1, 4000)])),
    ("decided", 7, ()),
]


def test_what_was_noted_is_in_the_file_at_once_and_in_order(tmp_path: Path) -> None:
    file = tmp_path / "events"
    written(file)
    events = read_log(file)
    assert [(event.kind, event.operation, event.values) for event in events] == EXPECTED
    assert [event.time_ns for event in events] == sorted(event.time_ns for event in events)


def test_a_service_that_is_started_again_goes_on_in_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / "events"
    written(file)
    written(file)
    assert len(read_log(file)) == 2 * len(EXPECTED)


@pytest.mark.parametrize("cut", [1, 3, 10])
def test_a_last_event_that_was_cut_off_is_left_out(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "events"
    written(file)
    file.write_bytes(file.read_bytes()[:-cut])
    assert [event.kind for event in read_log(file)] == ["place", "put", "statement"]


def test_a_process_that_noted_nothing_has_no_events(tmp_path: Path) -> None:
    assert read_log(tmp_path / "events") == []
    (tmp_path / "events").touch()
    assert read_log(tmp_path / "events") == []


def test_the_garbage_collector_waits_while_a_run_is_at_work_and_goes_on_whatever_ends_it() -> None:
    def fails() -> None:
        with no_pauses():
            assert not gc.isenabled()
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - nobody asks which
        fails()
    assert gc.isenabled()
