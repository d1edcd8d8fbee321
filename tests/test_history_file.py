"""Saved histories: what is read back is what was written, and everything else is refused with its line."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbsim.history_file import HistoryError, SavedRun, load, save
from arbsim.runner import designs_of, judge_again, run_scenario
from arbsim.scenario import load_scenario
from arbsim.workload import build_workload

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def saved() -> SavedRun:
    scenario = load_scenario(ROOT / "scenarios" / "lost_update_trap.yaml")
    return run_scenario(scenario, build_workload(scenario), 42, designs_of(scenario), "replay").saved


@pytest.fixture(scope="module")
def text(saved: SavedRun) -> str:
    file = io.StringIO()
    save(saved, file)
    return file.getvalue()


def read(text: str | bytes, tmp_path: Path) -> SavedRun:
    path = tmp_path / "history.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path)


def test_what_is_read_is_what_was_written(saved: SavedRun, text: str, tmp_path: Path) -> None:
    again = read(text, tmp_path)
    assert again == saved
    assert judge_again(again) == judge_again(saved)


def test_each_line_is_a_json_document(text: str) -> None:
    for line in text.splitlines():
        json.loads(line)


def test_a_file_that_was_cut_off_is_refused(text: str, tmp_path: Path) -> None:
    lines = text.splitlines(keepends=True)
    for kept in (0, 1, 2, len(lines) // 2, len(lines) - 1):
        with pytest.raises(HistoryError, match=f":{kept + 1}: the file ends too early"):
            read("".join(lines[:kept]), tmp_path)
    with pytest.raises(HistoryError, match="cut off"):
        read(text[:-1], tmp_path)


def test_something_after_the_end_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="something comes after"):
        read(text + "{}\n", tmp_path)


def changed(text: str, begins: str, **places: object) -> str:
    """The text with values of the first row that begins so replaced by place."""
    lines = text.splitlines()
    number = next(number for number, line in enumerate(lines) if line.startswith(begins))
    row = json.loads(lines[number])
    for place, value in places.items():
        row[int(place.removeprefix("at"))] = value
    lines[number] = json.dumps(row)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("begins", "places", "said"),
    [
        ('["a"', {"at1": 0}, "there is no operation 0"),
        ('["a"', {"at1": 10**6}, "there is no operation"),
        ('["a"', {"at2": 2**70}, "64 bits"),
        ('["a"', {"at2": "x"}, "whole numbers"),
        ('["a"', {"at2": True}, "whole numbers"),
        ('["a"', {"at2": 1.5}, "whole numbers"),
        ('["a"', {"at5": 9}, "does not fit"),
        ('["a"', {"at10": []}, "does not fit"),
        ('["e"', {"at3": 99}, "no store"),
        ('["e"', {"at5": 0}, "no base"),
        ('["e"', {"at5": -3}, "no base"),
        ('["e"', {"at6": 7}, "not a valid EffectKind"),
        ('["r"', {"at4": 10**6}, "does not exist"),
        ('["e"', {"at0": "x"}, "begins with"),
    ],
)
def test_a_row_that_points_nowhere_is_refused(
    text: str, tmp_path: Path, begins: str, places: dict[str, object], said: str
) -> None:
    with pytest.raises(HistoryError, match=said):
        read(changed(text, begins, **places), tmp_path)


def test_a_version_that_is_its_own_origin_is_refused(text: str, tmp_path: Path) -> None:
    """It would make a ring of the tree by which money is traced."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith('["e"'))
    row = json.loads(lines[first])
    row[5] = 0
    lines[first] = json.dumps(row)
    with pytest.raises(HistoryError, match="no base"):
        read("\n".join(lines) + "\n", tmp_path)


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\n",
        b"\xff\xfe\n",
        b"null\n",
        b"[" * 100_000 + b"\n",
        b'{"arbsim_history": 2}\n',
        b'{"arbsim_history": NaN}\n',
        b"1" * 10_000 + b"\n",
        b'{"lines": 1}\n',
    ],
)
def test_hostile_files_are_refused_with_a_line(hostile: bytes, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"history\.jsonl"):
        read(hostile, tmp_path)


def test_folders_pipes_and_missing_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "missing"):
        with pytest.raises(HistoryError):
            load(tmp_path / name)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_changes_a_value_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, text: str, place: int, byte: int
) -> None:
    raw = bytearray(text.encode())
    raw[place % len(raw)] = byte
    with contextlib.suppress(HistoryError):
        judge_again(read(bytes(raw), tmp_path_factory.getbasetemp()))
