"""Runs on disk survive whatever ends a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbsim.sweep.store import FILE, Store, StoreError
from arbsim.sweep.task import Record
from tests.sweep.support import TINY, VARIED, tiny_plan

SETTING = tiny_plan().setting


def record(number: int) -> Record:
    return {"db/atomic-update": {"verdict": "none-seen", "number": number}}


def kept(folder: Path) -> dict[tuple[int, int], Record]:
    with Store(folder, SETTING) as store:
        return dict(store.records)


def test_what_was_added_is_there_the_next_time(tmp_path: Path) -> None:
    with Store(tmp_path, SETTING) as store:
        store.add([((0, 1), record(1)), ((0, 0), record(0))])
    assert kept(tmp_path) == {(0, 0): record(0), (0, 1): record(1)}


@given(st.integers(0, 400))
def test_wherever_the_last_line_breaks_off_the_others_are_kept_and_the_sweep_goes_on(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    with Store(folder, SETTING) as store:
        for number in range(3):
            store.add([((0, number), record(number))])
    path = folder / FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    lines = whole[:cut].count(b"\n")
    assert kept(folder) == {(0, number): record(number) for number in range(max(0, lines - 1))}
    with Store(folder, SETTING) as store:
        store.add([((0, number), record(number)) for number in range(3)])
        store.finish()
    assert path.read_bytes() == whole


def test_a_damaged_line_in_the_middle_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path, SETTING) as store:
        store.add([((0, 0), record(0)), ((0, 1), record(1))])
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes().replace(b'{"point":0,"replication":0', b'{"point":0,"replicat'))
    with pytest.raises(StoreError, match=r"runs.jsonl:2: the line is damaged"):
        Store(tmp_path, SETTING)


@pytest.mark.parametrize("text", ["hello\n", '{"sweep": 2}\n', "{}\n{}\n", "[]"])
def test_a_file_of_somebody_elses_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match="holds no runs of a sweep"):
        Store(tmp_path, SETTING)
    assert (tmp_path / FILE).read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("sweep", "text"),
    [
        (VARIED.replace("0 ms, 100", "0 ms, 90"), TINY),
        (VARIED, TINY.replace("seed: 7", "seed: 8")),
        (VARIED, TINY.replace("64 ms", "65 ms")),
        (VARIED, TINY.replace(", db/atomic-update", "")),
    ],
)
def test_a_changed_scenario_is_refused(tmp_path: Path, sweep: str, text: str) -> None:
    Store(tmp_path, SETTING).__exit__()
    with pytest.raises(StoreError, match="another scenario"):
        Store(tmp_path, tiny_plan(sweep, text).setting)


@pytest.mark.parametrize(
    ("sweep", "text"),
    [
        (VARIED.replace("replications: 4", "replications: 9"), TINY),
        (VARIED.replace("replications: 4", "precision: 5 %"), TINY),
        (VARIED, TINY.replace("How often?", "How often is it?")),
    ],
)
def test_what_decides_no_run_may_change(tmp_path: Path, sweep: str, text: str) -> None:
    Store(tmp_path, SETTING).__exit__()
    Store(tmp_path, tiny_plan(sweep, text).setting).__exit__()


def test_another_version_is_refused_with_both(tmp_path: Path) -> None:
    from dataclasses import replace

    Store(tmp_path, replace(SETTING, version="0.0.9")).__exit__()
    with pytest.raises(StoreError, match=rf"begun by arbsim 0\.0\.9, and this is {SETTING.version}"):
        Store(tmp_path, SETTING)


def test_two_sweeps_do_not_write_the_same_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with Store(tmp_path, SETTING), pytest.raises(StoreError, match="another sweep is writing"):
        Store(tmp_path, SETTING)
