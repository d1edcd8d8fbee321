"""The command line as people and scripts meet it: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import arbsim
from arbsim.results import results_schema
from tests.command import ARBSIM, run, run_apart

ROOT = Path(__file__).parents[1]
TWO_REGIONS = ROOT / "scenarios" / "two_regions.yaml"

SHORT = """\
name: short
regions:
  east: {location: us-east-1}
  west: {location: us-west-2}
accounts: {1: 100.00}
workload:
  operations:
    - {at: 0 ms, region: east, withdraw: 70.00, account: 1}
    - {at: 5 ms, region: west, withdraw: 60.00, account: 1}
designs: [db/atomic-update]
"""


@pytest.fixture
def short(tmp_path: Path) -> Path:
    path = tmp_path / "short.yaml"
    path.write_text(SHORT, encoding="utf-8")
    return path


def with_expectation(text: str) -> str:
    return SHORT + "expect:\n  db/atomic-update: " + text + "\n"


def test_it_tells_its_version(tmp_path: Path) -> None:
    assert run_apart("--version", cwd=tmp_path).stdout == f"arbsim {arbsim.__version__}\n"


def test_without_a_command_it_shows_the_help(tmp_path: Path) -> None:
    shown = run_apart(cwd=tmp_path)
    assert shown.returncode == 0
    for command in ("run", "explain", "designs", "schema", "init", "audit", "report", "selftest"):
        assert f"\n  {command} " in shown.stdout


def test_a_run_writes_its_files_and_says_where_the_report_is(short: Path) -> None:
    done = run_apart("run", short.name, cwd=short.parent)
    assert done.returncode == 0
    assert done.stderr == ""
    folder = short.parent / "reports" / "short"
    assert sorted(path.name for path in folder.iterdir()) == [
        "history.jsonl",
        "report.html",
        "report.md",
        "results.json",
    ]
    assert done.stdout.splitlines()[-1].startswith("Report: reports/short/report.html (")
    assert "Replay: arbsim run short.yaml --seed 1" in done.stdout


@pytest.mark.parametrize(
    ("expectation", "code"),
    [
        ("{verdict: not-violated, final: {1: [30.00, 40.00]}}", 0),
        ("{verdict: violated}", 1),
        ("{verdict: holds}", 0),
    ],
)
def test_the_exit_code_tells_how_the_expectations_fared(short: Path, expectation: str, code: int) -> None:
    short.write_text(with_expectation(expectation), encoding="utf-8")
    done = run("run", short.name, cwd=short.parent)
    assert done.returncode == code
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"Exit status {code}: " if code else "Report: ")


def test_what_nothing_was_tested_for_is_undecided(short: Path) -> None:
    late = with_expectation("{verdict: holds}").replace("at: 5 ms", "at: 30 s")
    short.write_text(late, encoding="utf-8")
    done = run("run", short.name, cwd=short.parent)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1].startswith("Exit status 3: ")


def test_json_is_one_document_that_fits_its_schema(short: Path) -> None:
    done = run("run", short.name, "--json", cwd=short.parent)
    document = json.loads(done.stdout)
    Draft202012Validator(results_schema()).validate(document)
    assert document["designs"]["db/atomic-update"]["verdict"] == "holds"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["run", "missing.yaml", "--json"], "bad-input"),
        (["run", "short.yaml", "--design", "nope", "--json"], "bad-input"),
        (["run", "short.yaml", "--seed", "-1", "--json"], "usage"),
        (["audit", "missing.jsonl", "--json"], "bad-input"),
    ],
)
def test_an_error_is_a_json_document_of_the_same_outer_shape(
    short: Path, arguments: Sequence[str], kind: str
) -> None:
    done = run(*arguments, cwd=short.parent)
    document = json.loads(done.stdout)
    assert done.returncode == 2
    assert (document["schema_version"], document["exit_code"]) == (1, 2)
    assert document["error"]["kind"] == kind
    assert done.stderr


def test_mistakes_of_a_scenario_come_all_at_once_with_their_places(short: Path) -> None:
    short.write_text(SHORT.replace("withdraw: 70.00", "withdraw: -70").replace("db/atomic", "db/atomik"))
    done = run("run", short.name, "--json", cwd=short.parent)
    mistakes = json.loads(done.stdout)["mistakes"]
    assert [(mistake["file"], mistake["line"]) for mistake in mistakes] == [
        ("short.yaml", 8),
        ("short.yaml", 10),
    ]
    assert "db/atomic-update" in mistakes[1]["hint"]


def test_a_scenario_can_come_from_standard_input(tmp_path: Path) -> None:
    done = run_apart("run", "-", "--json", cwd=tmp_path, stdin=SHORT)
    assert json.loads(done.stdout)["name"] == "short"


def test_one_design_can_be_run_alone_and_the_replay_line_says_so(tmp_path: Path) -> None:
    done = run("run", str(TWO_REGIONS), "--design", "db/serializable", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert list(document["designs"]) == ["db/serializable"]
    replay = "arbsim run scenarios/two_regions.yaml --seed 42 --design db/serializable"
    assert document["manifest"]["replay"] == replay


def test_another_seed_changes_the_replay_line_and_nothing_else_is_needed(short: Path) -> None:
    first = run("run", short.name, "--seed", "7", "--json", cwd=short.parent).stdout
    replay = json.loads(first)["manifest"]["replay"].split()
    assert run(*replay[1:], "--json", cwd=short.parent).stdout == first


def test_a_design_that_broke_is_explained_with_its_cure_beside_it(tmp_path: Path) -> None:
    done = run("explain", str(TWO_REGIONS), "--design", "bus/regional-deltas", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Claim. bus/regional-deltas overdraws account 1 by 30.00.\n")
    assert (
        "The same operations through bus/single-writer, its cure.\nOp 1 was stopped at step 9:" in done.stdout
    )
    replay = "arbsim explain scenarios/two_regions.yaml --seed 42 --design bus/regional-deltas"
    assert done.stdout.splitlines()[-1] == f"Replay: {replay}"
    assert list(tmp_path.iterdir()) == []


def test_the_explanation_is_the_one_in_the_report(tmp_path: Path) -> None:
    design = "db/select-then-update"
    done = run("explain", str(TWO_REGIONS), "--design", design, "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (document["design"], document["verdict"]) == (design, "violated")
    report = json.loads((ROOT / "reports" / "two_regions" / "results.json").read_text(encoding="utf-8"))
    assert document["explanation"] == report["designs"][design]["explanation"]


def test_a_design_that_did_not_break_has_nothing_to_explain(tmp_path: Path) -> None:
    done = run("explain", str(TWO_REGIONS), "--design", "db/atomic-update", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (
        0,
        "db/atomic-update: holds. There is nothing to explain.\n",
    )


def test_what_only_other_orders_violate_is_left_to_explore(short: Path) -> None:
    lucky = SHORT.replace("at: 5 ms", "at: 170 ms").replace("db/atomic-update", "db/select-then-update")
    short.write_text(lucky, encoding="utf-8")
    done = run("explain", short.name, "--design", "db/select-then-update", cwd=short.parent)
    assert done.returncode == 0
    assert done.stdout.startswith("db/select-then-update: violated. This run violates nothing, other orders")


def test_an_unknown_design_cannot_be_explained(tmp_path: Path) -> None:
    done = run("explain", str(TWO_REGIONS), "--design", "db/atomic-updat", cwd=tmp_path)
    assert done.returncode == 2
    assert 'the scenario lists no design "db/atomic-updat"' in done.stderr


def test_a_run_points_to_the_explanation_of_the_first_design_that_broke(tmp_path: Path) -> None:
    done = run("run", str(TWO_REGIONS), "--design", "db/active-active", cwd=tmp_path)
    (pointer,) = [line for line in done.stdout.splitlines() if line.startswith("Step by step: ")]
    command = pointer.removeprefix("Step by step: arbsim ").split()
    command[1] = str(TWO_REGIONS)
    assert run(*command, cwd=tmp_path).stdout.startswith("Claim. db/active-active overdraws account 1")


def test_a_saved_history_is_judged_again_to_the_same_document(short: Path) -> None:
    first = run("run", short.name, "--out", "o", "--json", cwd=short.parent).stdout
    again = run("audit", "o/history.jsonl", "--json", cwd=short.parent)
    assert again.stdout == first


def test_a_report_is_rendered_again_from_its_results(short: Path) -> None:
    run("run", short.name, "--out", "o", cwd=short.parent)
    folder = short.parent / "o"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("report.md", "report.html"):
        (folder / name).unlink()
    assert run("report", "o", cwd=short.parent).returncode == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("text", ["", "{}", "[]", "{", '{"schema_version": 2}', "\udcff"])
def test_results_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    done = run("report", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: results.json")
    assert "Traceback" not in done.stderr


def test_init_writes_a_scenario_that_runs_unedited(tmp_path: Path) -> None:
    assert run("init", cwd=tmp_path).returncode == 0
    assert (tmp_path / "scenario.schema.json").is_file()
    assert run("run", "scenario.yaml", cwd=tmp_path).returncode == 0
    again = run("init", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (2, "error: scenario.yaml exists already\n")


def test_the_shipped_schema_is_the_one_that_the_command_prints(tmp_path: Path) -> None:
    shipped = (ROOT / "scenarios" / "scenario.schema.json").read_text(encoding="utf-8")
    assert run("schema", cwd=tmp_path).stdout == shipped
    assert json.loads(run("schema", "--results", cwd=tmp_path).stdout) == results_schema()


def test_every_design_is_listed_with_its_claims(tmp_path: Path) -> None:
    listed = run("designs", cwd=tmp_path).stdout
    assert "db/select-then-update  (synchronous database)" in listed
    assert "claims to prevent: nothing; cure: db/select-for-update" in listed


# -- what can go wrong ---------------------------------------------------------------------------------


def test_a_reader_that_leaves_does_not_change_the_exit_code(short: Path) -> None:
    short.write_text(with_expectation("{verdict: violated}"), encoding="utf-8")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*ARBSIM, "run", short.name], cwd=short.parent, stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_standard_output_is_an_error(short: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*ARBSIM, "run", short.name], cwd=short.parent, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 2
    assert done.stderr == b"error: standard output: No space left on device\n"


def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing(short: Path) -> None:
    (short.parent / "taken").write_text("")
    done = run("run", short.name, "--out", "taken", cwd=short.parent)
    assert done.returncode == 2
    assert done.stderr == "error: taken: File exists\n"


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
def test_ctrl_c_and_a_polite_kill_are_130_and_leave_no_half_file(tmp_path: Path, how: str) -> None:
    endless = tmp_path / "design.py"
    endless.write_text(
        "import os, signal\n"
        "from arbsim.designs.atomic_update import AtomicUpdate\n"
        "class Interrupting(AtomicUpdate):\n"
        "    name = 'own/interrupting'\n"
        "    async def attempt(self, op, region):\n"
        f"        os.kill(os.getpid(), signal.{how})\n"
        "        await region.sleep(1)\n",
        encoding="utf-8",
    )
    (tmp_path / "short.yaml").write_text(SHORT, encoding="utf-8")
    done = run_apart("run", "short.yaml", "--design", "design.py:Interrupting", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")
    assert not (tmp_path / "reports").exists()


def test_a_bug_of_ours_is_5_and_says_so(short: Path) -> None:
    program = (
        "import arbsim.runner as runner, sys\n"
        "def broken(*a, **k): raise RuntimeError('planted')\n"
        "runner.run_scenario = broken\n"
        f"sys.argv = ['arbsim', 'run', {short.name!r}, '--json']\n"
        "from arbsim.cli import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=short.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 5
    assert json.loads(done.stdout)["error"]["kind"] == "internal"
    assert "planted" in done.stderr


# -- a design of one's own -----------------------------------------------------------------------------

OWN = """\
from dataclasses import dataclass
from arbsim.designs.atomic_update import AtomicUpdate
from arbsim.model import Accepted

@dataclass(frozen=True)
class Careless(AtomicUpdate):
    name = "own/careless"
    summary = "Takes the money without looking."
    check: bool = False

    async def attempt(self, op, region):
        await region.database.execute("UPDATE acct SET balance = balance - $1 WHERE id = $2", op.amount, op.account)
        return Accepted()

class Broken(AtomicUpdate):
    name = "own/broken"
    async def attempt(self, op, region):
        return 1 / 0

class Foreign(AtomicUpdate):
    name = "own/foreign"
    async def attempt(self, op, region):
        import asyncio
        await asyncio.sleep(1)

NotOne = 7
"""


@pytest.fixture
def own(short: Path) -> Path:
    (short.parent / "own.py").write_text(OWN, encoding="utf-8")
    return short


def test_a_class_of_ones_own_is_judged_by_what_it_claims(own: Path) -> None:
    done = run("run", own.name, "--design", "own.py:Careless", "--json", cwd=own.parent)
    result = json.loads(done.stdout)["designs"]["own/careless"]
    assert (result["verdict"], result["as_declared"]) == ("violated", "no")
    assert result["final"] == {"1": {"database": "-30.00"}}
    assert "balance = balance - $1" in result["steps"][0]
    assert done.returncode == 1


def test_a_class_of_ones_own_is_explained_beside_a_design_that_holds(own: Path) -> None:
    with (own.parent / "own.py").open("a", encoding="utf-8") as file:
        file.write("import sys\nprint('this file runs once', file=sys.stderr)\n")
    done = run("explain", own.name, "--design", "own.py:Careless", cwd=own.parent)
    assert (done.returncode, done.stderr) == (0, "this file runs once\n")
    assert done.stdout.startswith("Claim. own/careless overdraws account 1 by 30.00.")
    assert "The same operations through db/atomic-update, a design that holds." in done.stdout


@pytest.mark.parametrize(
    ("design", "said"),
    [
        ("own.py:Broken", "design own/broken ended with ZeroDivisionError: division by zero (own.py:18)"),
        ("own.py:Foreign", "not of this world: use the region's sleep, gather and timeout (own.py:24)"),
        ("own.py:NotOne", "own.py has no class NotOne"),
        ("own.py:Missing", "own.py has no class Missing"),
        ("other.py:Careless", "other.py: no such Python file"),
    ],
)
def test_what_is_wrong_with_ones_own_class_is_said_in_a_line(own: Path, design: str, said: str) -> None:
    done = run("run", own.name, "--design", design, cwd=own.parent)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_shipped_example_is_added_to_the_scenarios_designs_and_holds(tmp_path: Path) -> None:
    example = f"{ROOT / 'scenarios' / 'own_design.py'}:CompareAndSet"
    done = run("run", str(TWO_REGIONS), "--design", example, "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    designs = document["designs"]
    assert document["manifest"]["replay"].endswith("--design scenarios/own_design.py:CompareAndSet")
    assert len(designs) == 14
    result = designs["own/compare-and-set"]
    assert (result["verdict"], result["as_declared"]) == ("holds", "yes")
    assert result["outcomes"] == {"accepted": 1, "rejected": 1, "failed": 0, "unknown": 0}
    assert result["costs"]["client_retries"] == 1


def test_code_runs_only_when_it_is_named(own: Path) -> None:
    (own.parent / "own.py").write_text("raise SystemExit('ran')\n", encoding="utf-8")
    assert run_apart("run", own.name, cwd=own.parent).returncode == 0
