"""The committed reports of the shipped sweeps are what a sweep writes, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from arbsim.scenario import load_scenario
from arbsim.sweep.store import FILE
from tests.sweep.support import documents

ROOT = Path(__file__).parents[2]
SWEEPS = [path.stem for path in sorted((ROOT / "scenarios").glob("*.yaml")) if load_scenario(path).sweep]


@pytest.mark.parametrize("name", SWEEPS)
def test_the_committed_report_is_what_a_sweep_writes(name: str, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "arbsim", "sweep", f"scenarios/{name}.yaml", "--out", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4242"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=True,
    )
    made, committed = documents(tmp_path), documents(ROOT / "reports" / name / "sweep")
    made.pop(FILE)
    committed.pop(FILE, None)
    assert made == committed, f"run `arbsim sweep scenarios/{name}.yaml` and commit its report"


def test_there_is_one() -> None:
    assert SWEEPS == ["sweep_lag"]
