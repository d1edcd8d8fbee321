"""``arbsim sweep`` as people and scripts meet it."""

from __future__ import annotations

import csv
import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from arbsim.sweep.results import SweepResults
from tests.command import ARBSIM, run, run_apart
from tests.sweep.support import TINY, VARIED


def write(folder: Path, sweep: str | None = VARIED, text: str = TINY) -> str:
    block = "" if sweep is None else f"sweep: {sweep}\n"
    (folder / "tiny.yaml").write_text(text + block, encoding="utf-8")
    return "tiny.yaml"


def test_a_sweep_writes_its_files_and_says_what_it_found(tmp_path: Path) -> None:
    shown = run_apart("sweep", write(tmp_path), "--workers", "1", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""
    lines = shown.stdout.splitlines()
    assert lines[0] == "tiny: How often?"
    assert lines[1] == "4 points, 4 replications of 2 designs at each, seeds 7 to 10; the same seeds"
    assert "Replay: arbsim sweep tiny.yaml" in lines
    assert max(len(line) for line in lines if not line.startswith("  arbsim run")) <= 80
    folder = tmp_path / "reports" / "tiny" / "sweep"
    assert sorted(path.name for path in folder.iterdir()) == [
        "differences.csv",
        "estimates.csv",
        "frontier.svg",
        "rates.svg",
        "report.html",
        "report.md",
        "runs.jsonl",
        "sensitivity.svg",
        "sweep.json",
    ]
    with (folder / "estimates.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 4 * 2 * 10
    assert str(tmp_path) not in "".join(path.read_text(encoding="utf-8") for path in folder.iterdir())


def test_json_is_one_document_that_fits_its_schema(tmp_path: Path) -> None:
    shown = run("sweep", write(tmp_path), "--json", cwd=tmp_path)
    document = json.loads(shown.stdout)
    Draft202012Validator(SweepResults.model_json_schema(mode="serialization")).validate(document)
    assert document["exit_code"] == shown.returncode == 0


def test_the_replay_lines_say_all_that_was_asked_of_the_sweep(tmp_path: Path) -> None:
    shown = run("sweep", write(tmp_path), "--precision", "60 %", "--json", cwd=tmp_path)
    document = json.loads(shown.stdout)
    assert document["manifest"]["replay"] == "arbsim sweep tiny.yaml --precision '60 %'"
    assert document["witnesses"][0]["replay"].startswith("arbsim run tiny.yaml --seed ")


def test_a_run_does_not_look_at_the_sweep(tmp_path: Path) -> None:
    with_sweep = run("run", write(tmp_path), cwd=tmp_path)
    without = run("run", write(tmp_path, None), cwd=tmp_path)
    assert with_sweep.returncode == without.returncode
    assert with_sweep.stdout.split("Report:")[0] == without.stdout.split("Report:")[0]


@pytest.mark.parametrize(
    ("sweep", "arguments", "told"),
    [
        (None, (), "error: the scenario has no sweep: block, such as sweep: {vary:"),
        (VARIED, ("--precision", "abc"), 'error: --precision: "abc" is not a percentage; write it like 5%'),
        (VARIED, ("--precision", "0%"), "error: --precision: a percentage from 0.1 % to 100 % was expected"),
        (VARIED, ("--workers", "0"), "Invalid value for '--workers'"),
        ("{vary: {kafka.lag: [1 ms]}}", (), 'no parameter "kafka.lag"'),
        (
            "{vary: {kafka.mirror_lag: {from: 1 ms, to: 9 s, steps: 500}, kafka.linger: [0 ms, 1 ms, 2 ms]}}",
            (),
            "error: the sweep has 1,500 points, more than 1,000: at least 300,000 runs of a design; vary less,",
        ),
    ],
)
def test_bad_input_is_told_with_its_cure(
    tmp_path: Path, sweep: str | None, arguments: tuple[str, ...], told: str
) -> None:
    shown = run("sweep", write(tmp_path, sweep), *arguments, cwd=tmp_path)
    assert shown.returncode == 2
    assert told in shown.stderr
    assert "Traceback" not in shown.stderr
    assert not (tmp_path / "reports").exists()


def test_a_cluster_that_cannot_be_reached_ends_with_4(tmp_path: Path) -> None:
    shown = run_apart("sweep", write(tmp_path), "--dask", "nonsense", "--json", cwd=tmp_path)
    assert shown.returncode == 4
    document = json.loads(shown.stdout)
    assert document["error"]["kind"] == "unreachable"
    assert document["exit_code"] == 4
    assert "no Dask scheduler answers at nonsense" in shown.stderr


def test_a_changed_scenario_is_refused(tmp_path: Path) -> None:
    assert run("sweep", write(tmp_path), cwd=tmp_path).returncode == 0
    shown = run("sweep", write(tmp_path, text=TINY.replace("20/s", "21/s")), cwd=tmp_path)
    assert shown.returncode == 2
    assert "was begun with another scenario" in shown.stderr


def test_what_is_missing_for_a_sweep_is_told(tmp_path: Path) -> None:
    """As where arbsim was installed without its extra: a finder that knows neither library."""
    script = (
        "import importlib.util as util, sys\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'scipy' else found(name, *more)\n"
        "sys.argv = ['arbsim', 'sweep', 'tiny.yaml']\n"
        "from arbsim.cli import main\n"
        "main()\n"
    )
    write(tmp_path)
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 2
    assert shown.stderr == "error: this needs scipy: pip install 'arbsim[sweep]'\n"


def test_a_log_file_gets_lines(tmp_path: Path) -> None:
    write(tmp_path)
    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        subprocess.run(
            [*ARBSIM, "sweep", "tiny.yaml"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=log, check=True
        )
    last = (tmp_path / "log").read_text(encoding="utf-8").splitlines()[-1]
    assert last.startswith("sweep: 16 of 16 replications, 4 of 4 points")


def test_a_terminal_gets_a_bar_with_rate_and_time_left(tmp_path: Path) -> None:
    write(tmp_path)
    ours, theirs = pty.openpty()
    sweep = subprocess.Popen(
        [*ARBSIM, "sweep", "tiny.yaml"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    os.close(ours)
    assert sweep.wait() == 0
    text = shown.decode("utf-8")
    assert "16/16" in text
    assert "4 of 4 points" in text
    assert "/s" in text
    assert "0:00:0" in text


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other side is closed
        return b""


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
def test_ctrl_c_and_a_polite_kill_end_with_130_and_the_sweep_goes_on_later(tmp_path: Path, how: str) -> None:
    """The interrupt comes when the first runs are on the disk."""
    write(tmp_path, VARIED.replace("replications: 4", "replications: 400"))
    script = (
        "import os, signal\n"
        "from arbsim.sweep import run\n"
        "tell = run._Work._tell\n"
        "def interrupting(work):\n"
        "    tell(work)\n"
        "    if work._runs:\n"
        f"        os.kill(os.getpid(), signal.{how})\n"
        "run._Work._tell = interrupting\n"
        "import sys\n"
        "sys.argv = ['arbsim', 'sweep', 'tiny.yaml']\n"
        "from arbsim.cli import main\n"
        "if __name__ == '__main__':\n"
        "    main()\n"
    )
    (tmp_path / "interrupted.py").write_text(script, encoding="utf-8")
    shown = subprocess.run(
        [sys.executable, "interrupted.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 130, shown.stderr
    assert shown.stderr == "Interrupted.\n"
    kept = (tmp_path / "reports" / "tiny" / "sweep" / "runs.jsonl").read_text(encoding="utf-8")
    assert kept.count("\n") > 1


def test_a_violating_run_of_the_sweep_can_be_seen_by_itself(tmp_path: Path) -> None:
    write(tmp_path)
    found = json.loads(run("sweep", "tiny.yaml", "--json", cwd=tmp_path).stdout)
    (witness,) = found["witnesses"]
    shown = run(*shlex.split(witness["replay"])[1:], "--json", cwd=tmp_path)
    results = json.loads(shown.stdout)
    assert results["designs"][witness["design"]]["verdict"] == "violated"
    assert results["manifest"]["replay"] == witness["replay"]
    lag = found["points"][witness["point"]]["values"]["kafka.mirror_lag"]
    assert results["manifest"]["scenario"]["kafka"]["mirror_lag"] == {"0 ms": "0 s"}.get(lag, lag)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("kafka.mirror_lag", '--set "kafka.mirror_lag": write it like kafka.mirror_lag="40 ms"'),
        ("kafka.mirror_lg=5 ms", '--set: no parameter "kafka.mirror_lg"; did you mean "kafka.mirror_lag"?'),
        ("kafka.mirror_lag=5", '--set: "5" has no unit; write "5 ms" (ns, us, ms, s, min, h)'),
    ],
)
def test_a_value_that_cannot_be_set_is_told(tmp_path: Path, change: str, told: str) -> None:
    shown = run("run", write(tmp_path), "--set", change, cwd=tmp_path)
    assert shown.returncode == 2
    assert shown.stderr == f"error: {told}\n"
