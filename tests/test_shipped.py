"""The shipped scenarios keep their promises, and their committed reports are what a run writes, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SCENARIOS = sorted(path.stem for path in (ROOT / "scenarios").glob("*.yaml"))
REPORT = ("report.html", "report.md", "results.json")


@pytest.fixture(scope="module", params=SCENARIOS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A shipped scenario, and the folder that a fresh process wrote for it.

    Its hash seed is not the one under which the committed report was made.
    """
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    done = subprocess.run(
        [sys.executable, "-m", "arbsim", "run", f"scenarios/{name}.yaml", "--out", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4242"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return name, folder


def test_every_expectation_is_met(made: tuple[str, Path]) -> None:
    _, folder = made
    results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["expectations"]
    assert [one for one in results["expectations"] if one["status"] != "met"] == []


def test_no_money_is_unexplained(made: tuple[str, Path]) -> None:
    _, folder = made
    results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for result in results["designs"].values():
        assert result["findings"]["unexplained"]["count"] == 0


@pytest.mark.parametrize("file", REPORT)
def test_the_committed_report_is_what_a_run_writes(made: tuple[str, Path], file: str) -> None:
    name, folder = made
    committed = (ROOT / "reports" / name / file).read_bytes()
    assert (folder / file).read_bytes() == committed, (
        f"run `arbsim run scenarios/{name}.yaml` and commit its report"
    )


def test_every_scenario_has_a_report_and_every_report_a_scenario() -> None:
    """Reports of live runs are no run's bytes: they are evidence of one day on one machine."""
    folders = sorted(path.name for path in (ROOT / "reports").iterdir())
    assert [name for name in folders if not name.endswith("_live")] == SCENARIOS


def test_a_report_says_nothing_of_the_machine_or_the_day(made: tuple[str, Path]) -> None:
    _, folder = made
    for file in REPORT:
        text = (folder / file).read_text(encoding="utf-8")
        for word in (str(ROOT), str(folder), sys.version.split()[0] + " ", "localhost"):
            assert word not in text
