"""``arbsim explore`` as people and scripts meet it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from arbsim.cli import app
from arbsim.explore.document import exploration_schema
from arbsim.worlds.exhaustive.search import Progress
from tests.command import run
from tests.test_cli import ROOT, SHORT, TWO_REGIONS

TRAP = SHORT.replace("[db/atomic-update]", "[db/select-then-update, db/atomic-update]").replace(
    "accounts:", "database: {dialect: postgres, leader: east}\naccounts:"
)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    path = tmp_path / "trap.yaml"
    path.write_text(TRAP, encoding="utf-8")
    return path


def test_it_tells_how_many_orders_hold_and_violate(trap: Path) -> None:
    shown = run("explore", trap.name, cwd=trap.parent)
    assert shown.stderr == ""
    assert shown.returncode == 0
    assert "x db/select-then-update: violated" in shown.stdout
    assert "\n  12 of 14 orders violate (in 6 classes)\n" in shown.stdout
    assert "+ db/atomic-update: holds\n  6 of 6 orders hold" in shown.stdout
    assert "\nReplay: arbsim explore trap.yaml --seed 1\n" in shown.stdout


def test_json_is_one_document_of_the_published_shape(trap: Path) -> None:
    shown = run("explore", trap.name, "--json", cwd=trap.parent)
    document = json.loads(shown.stdout)
    Draft202012Validator(exploration_schema()).validate(document)
    row = document["designs"]["db/select-then-update"]
    assert row["verdict"] == "violated"
    assert row["in_time"] == "violated"
    assert sum(outcome["orders"] for outcome in row["outcomes"]) == row["orders"]
    again = run("explore", trap.name, "--json", cwd=trap.parent)
    assert again.stdout == shown.stdout


def test_outcomes_that_differ_in_nothing_else_are_told_apart_by_what_clients_heard(trap: Path) -> None:
    trap.write_text(TRAP.replace("withdraw: 60.00", "withdraw: 20.00"), encoding="utf-8")
    shown = run("explore", trap.name, "--design", "db/atomic-update", cwd=trap.parent)
    assert "orders: account 1 10.00; op 1 accepted, op 2 accepted; heard: op 1" in shown.stdout
    lines = [line for line in shown.stdout.replace("\n    ", " ").splitlines() if line.startswith("  - ")]
    assert len(lines) == len(set(lines)) == 2


def test_plain_and_reduced_count_the_same_orders(trap: Path) -> None:
    def row(*options: str) -> dict[str, object]:
        shown = run("explore", trap.name, "--json", "--design", "db/atomic-update", *options, cwd=trap.parent)
        found: dict[str, object] = json.loads(shown.stdout)["designs"]["db/atomic-update"]
        return found

    plain, reduced = row("--plain"), row()
    assert plain["orders"] == plain["classes"] == reduced["orders"]
    assert plain["violating_orders"] == reduced["violating_orders"] == 0


def test_a_time_limit_gives_what_was_covered_and_no_proof() -> None:
    shown = run("explore", str(TWO_REGIONS), "--design", "bus/single-writer", "--time-limit", "0", cwd=ROOT)
    assert shown.returncode == 3
    assert "? bus/single-writer: inconclusive\n  no violation in " in shown.stdout
    assert "0 orders that were tried" in shown.stdout
    assert "the time limit ended the search" in shown.stdout


def test_what_is_too_much_for_a_limit_is_told_with_an_estimate_and_what_would_fit(
    trap: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def soon(_: object, progress: Progress) -> str | None:
        return "time" if progress.runs == 20 else None

    monkeypatch.setattr("arbsim.cli.explore._Limits.ask", soon)
    more = "".join(f"    - {{at: {n} ms, region: west, withdraw: 1.00, account: 1}}\n" for n in (7, 8))
    trap.write_text(TRAP.replace("designs:", f"{more}designs:", 1), encoding="utf-8")
    arguments = ["explore", str(trap), "--design", "db/atomic-update", "--operations", "4", "--workers", "1"]
    assert app([*arguments, "--out", str(trap.parent)], standalone_mode=False) == 3
    shown = " ".join(capsys.readouterr().out.split())
    assert "no violation in 70 orders that were tried (in 20 classes)" in shown
    assert re.search(
        r"at most about [1-9]\d?\.\d\d% of it was done: all of it takes an estimated \d+ runs", shown
    )
    assert "3 operations would have taken 28 runs: --operations 3" in shown


def test_an_order_that_is_not_as_declared_breaks_the_expectation(trap: Path) -> None:
    trap.write_text(TRAP + "expect:\n  db/select-then-update: {verdict: holds}\n", encoding="utf-8")
    shown = run("explore", trap.name, cwd=trap.parent)
    assert shown.returncode == 1
    assert "  broken: expected holds\n" in shown.stdout


def test_the_manual_shows_what_the_command_prints() -> None:
    manual = (ROOT / "docs" / "explore.md").read_text(encoding="utf-8")
    block = manual.split("    $ arbsim ")[1].split("\n\nThe models")[0]
    command, *lines = block.split("\n")
    shown = run(*command.split(), cwd=ROOT)
    assert shown.stdout.splitlines() == [line.removeprefix("    ") for line in lines]


def test_ctrl_c_tells_what_was_covered_and_leaves_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ctrl_c(_: object, progress: Progress) -> str | None:
        if progress.runs == 3:
            raise KeyboardInterrupt
        return None

    monkeypatch.setattr("arbsim.cli.explore._Limits.ask", ctrl_c)
    arguments = ["explore", str(TWO_REGIONS), "--design", "db/serializable", "--json"]
    with pytest.raises(SystemExit) as left:
        app(arguments, standalone_mode=False)
    assert left.value.code == 130
    row = json.loads(capsys.readouterr().out)["designs"]["db/serializable"]
    assert (row["classes"], row["complete"], row["verdict"]) == (3, False, "inconclusive")
    assert row["reasons"] == ["interrupted"]
