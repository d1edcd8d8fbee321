"""Counterexamples as data: what is written leads there again, and what does not is refused aloud."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from arbsim.cli.app import _run_app
from arbsim.designs.active_active import ActiveActive
from arbsim.designs.regional_deltas import RegionalDeltas
from arbsim.designs.select_then_update import SelectThenUpdate
from arbsim.designs.serializable import Serializable
from arbsim.explore.counterexample import Assumption, Counterexample, as_text, counterexample_schema
from arbsim.explore.witness import Diverged, Origin, Subject, play, write_down
from arbsim.runner import card_of
from arbsim.worlds.api import Design
from arbsim.worlds.exhaustive.kernel import Learned
from tests.command import ARBSIM, run
from tests.worlds.exhaustive.support import (
    POSTGRES,
    TWO_WITHDRAWALS,
    YUGABYTE,
    Driver,
    GivesUp,
    Impatient,
    LastWriterWinsInSql,
)

from .test_command import TRAP

BROKEN = "db/select-then-update"
ORIGIN = Origin("a test", False, "by hand", (1, 2), {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a scenario was explored."""
    folder = tmp_path_factory.mktemp("explored")
    (folder / "trap.yaml").write_text(TRAP, encoding="utf-8")
    explored = run("explore", "trap.yaml", "--design", BROKEN, cwd=folder)
    assert explored.returncode == 0
    written = "reports/trap/counterexamples/db-select-then-update.json"
    assert f"Counterexample: arbsim replay {written}\n" in explored.stdout
    (folder / written).rename(folder / "counterexample.json")
    return folder


@pytest.fixture
def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "counterexample.json").read_text(encoding="utf-8"))
    return found


# -- any order -------------------------------------------------------------------------------------------

DESIGNS: list[Design] = [
    SelectThenUpdate(), Serializable(), ActiveActive(), RegionalDeltas(),
    LastWriterWinsInSql(), Impatient(), GivesUp(),
]  # fmt: skip


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_any_order_that_is_written_down_can_be_run_again(design: Design) -> None:
    settings = POSTGRES if design.name.startswith("db/") else YUGABYTE
    subject = Subject(design, card_of(design.name, design), TWO_WITHDRAWALS, settings)
    driver = Driver(design, TWO_WITHDRAWALS, settings)
    for seed in range(3):
        steps = driver.random(random.Random(seed)).steps
        written = write_down(subject, driver._learned, [step.name for step in steps], ORIGIN)
        fresh, result = play(Counterexample.model_validate_json(as_text(written)), subject)
        assert fresh == written
        assert len(fresh.steps) == len(steps)
        assert {kind: found.count for kind, found in result.findings.items() if found.count} == fresh.findings


def test_all_that_a_search_finds_out_of_a_design_is_written_down() -> None:
    flags = {field.name for field in fields(Learned) if field.type == "bool"}
    assert flags - {"nothing_at_once"} == {word.replace("-", "_") for word in get_args(Assumption)}


# -- the file ----------------------------------------------------------------------------------------------


def test_a_counterexample_has_the_published_shape(document: dict[str, Any]) -> None:
    Draft202012Validator(counterexample_schema()).validate(document)
    assert document["findings"]["lost_update"] == 1
    assert document["start"]["balances"] == {"database": {"1": "100.00"}}
    assert document["steps"][-1]["state"] == {
        "balances": document["final"],
        "answers": {"1": "accepted", "2": "accepted"},
    }


def test_it_is_the_shortest_order_and_the_same_bytes_whatever_the_hash_seed_is(folder: Path) -> None:
    again = subprocess.run(
        [*ARBSIM, "explore", "trap.yaml", "--design", BROKEN, "--out", "again"],
        cwd=folder, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, check=True,
    )  # fmt: skip
    assert b"Counterexample: arbsim replay again/db-select-then-update.json" in again.stdout
    written = (folder / "again" / "db-select-then-update.json").read_bytes()
    assert written == (folder / "counterexample.json").read_bytes()


def test_replay_shows_the_order_and_prints_the_same_document(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = folder / "counterexample.json"
    assert _run_app(["replay", str(saved)], as_json=False) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "UPDATE of op 1 finds 100.00\n" in shown.out
    assert "\nafter: account 1 40.00\n" in shown.out
    assert shown.out.endswith("\nEvery step and the end are as the file has them.\n")
    assert _run_app(["replay", str(saved), "--json"], as_json=True) == 0
    assert capsys.readouterr().out == saved.read_text(encoding="utf-8")


def test_a_shipped_design_that_fails_on_the_way_is_a_bug_of_ours_and_no_bad_input(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("nobody expects this")

    monkeypatch.setattr("arbsim.explore.replaying.play", fail)
    assert _run_app(["replay", str(folder / "counterexample.json")], as_json=False) == 5


# -- a file that cannot be used ------------------------------------------------------------------------------


def _change(document: dict[str, Any], *path: Any, to: Any) -> None:
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], int, str]] = {
    "another version": (
        lambda found: _change(found, "arbsim", to="0.0.1"), 2,
        "written by arbsim 0.0.1, and this is arbsim ",
    ),
    "a later format": (lambda found: _change(found, "schema_version", to=2), 2, "find it again: arbsim explore "),
    "a step that there is not": (
        lambda found: _change(found, "steps", 4, "choice", to="4.9"), 1,
        "At step 5: there is no step 4.9; those that can be taken: 2.2",
    ),
    "another balance": (
        lambda found: _change(found, "steps", 2, "events", 0, "balance", to="90.00"), 1,
        "the file has balance of op 2 at account 1 in east 90.00, this run has 100.00",
    ),
    "another amount in the scenario": (
        lambda found: _change(found, "scenario", "workload", "operations", 0, "withdraw", to="20.00"), 1,
        "does not lead there any more",
    ),
    "an order that is not over": (lambda found: found["steps"].pop(), 1, "the run is not over: 1 more steps"),
    "another end": (lambda found: _change(found, "findings", to={}), 1, "it is over, and the file has findings"),
    "a scenario that is none": (
        lambda found: _change(found, "scenario", "regions", to={}), 2, "its scenario: this is empty",
    ),
    "a number that is none": (
        lambda found: _change(found, "steps", 0, "number", to="x"), 2, "steps.0.number: input should be a valid",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_was_changed_is_refused_aloud(
    what: str, document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, code, told = CHANGES[what]
    change(document)
    (tmp_path / "changed.json").write_text(json.dumps(document), encoding="utf-8")
    assert _run_app(["replay", str(tmp_path / "changed.json")], as_json=False) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert told in shown.err
    assert "Traceback" not in shown.err


def test_a_file_that_was_cut_off_is_told_from_one_that_is_no_counterexample(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (folder / "counterexample.json").read_text(encoding="utf-8")
    for text, told in (
        (whole[: len(whole) // 2], "this is not JSON; the file was cut off"),
        ("name: a scenario\n", "this is not JSON; a counterexample was expected"),
        ("[]", "this is no counterexample; arbsim explore writes them"),
    ):
        (tmp_path / "file.json").write_text(text, encoding="utf-8")
        assert _run_app(["replay", str(tmp_path / "file.json"), "--json"], as_json=True) == 2
        assert told in json.loads(capsys.readouterr().out)["error"]["message"]


# -- a class of one's own --------------------------------------------------------------------------------------

OWN = """\
from dataclasses import dataclass
from arbsim.designs.database import DatabaseDesign
from arbsim.model import Accepted, Rejected

@dataclass(frozen=True)
class Mine(DatabaseDesign):
    name = "own/mine"
    summary = "Reads, then writes."
    async def attempt(self, op, region):
        async with region.database.acquire() as conn:
            balance = await conn.fetchval("SELECT balance FROM acct WHERE id = $1", op.account)
            if balance < op.amount:
                return Rejected()
            await conn.execute("UPDATE acct SET balance = $1 WHERE id = $2", balance - op.amount, op.account)
            return Accepted()
"""


def test_a_design_of_ones_own_is_named_again_and_a_mended_one_no_longer_leads_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trap.yaml").write_text(TRAP, encoding="utf-8")
    Path("mine.py").write_text(OWN, encoding="utf-8")
    found = ["explore", "trap.yaml", "--design", "mine.py:Mine", "--out", "found"]
    assert _run_app(found, as_json=False) == 1  # it claims to prevent what it does not
    assert _run_app(["replay", "found/own-mine.json"], as_json=False) == 2
    assert "the design is own/mine; name it with --design path.py:ClassName" in capsys.readouterr().err
    named = ["replay", "found/own-mine.json", "--design", "mine.py:Mine"]
    assert _run_app(named, as_json=False) == 0
    mended = OWN.replace("WHERE id = $1", "WHERE id = $1 FOR UPDATE").replace(
        "as conn:", "as conn, conn.transaction():"
    )
    Path("mine.py").write_text(mended, encoding="utf-8")
    assert _run_app(named, as_json=False) == 1
    assert "found/own-mine.json does not lead there any more" in capsys.readouterr().err


# -- other tools -------------------------------------------------------------------------------------------------


def test_a_pytest_file_asserts_the_violation_and_fails_where_the_file_does_not_lead_there(
    folder: Path, document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, test = tmp_path / "found.json", tmp_path / "checks" / "test_it.py"
    saved.write_bytes((folder / "counterexample.json").read_bytes())
    assert _run_app(["replay", str(saved), "--pytest", str(test)], as_json=False) == 0
    assert f"Wrote {test}" in capsys.readouterr().out
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    space: dict[str, Any] = {"__file__": str(test)}
    exec(compile(test.read_text(encoding="utf-8"), str(test), "exec"), space)
    _change(document, "steps", 4, "choice", to="4.9")
    saved.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(Diverged):
        space["test_db_select_then_update_breaks_in_this_order"]()


def test_psql_scripts_are_refused_where_there_is_more_than_sql(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trap = TRAP.replace("db/select-then-update", "db/active-active")
    (tmp_path / "trap.yaml").write_text(trap, encoding="utf-8")
    options = ["--design", "db/active-active", "--out", str(tmp_path)]
    assert _run_app(["explore", str(tmp_path / "trap.yaml"), *options], as_json=False) == 0
    saved = str(tmp_path / "db-active-active.json")
    assert _run_app(["replay", saved, "--psql", str(tmp_path / "scripts")], as_json=False) == 2
    assert "db/active-active is more than SQL on one database" in capsys.readouterr().err
    assert not (tmp_path / "scripts").exists()
