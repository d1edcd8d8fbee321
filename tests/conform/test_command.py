"""`arbsim conform` as people and programs meet it: what it prints, and its exit code."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from arbsim.cli import conform as commands
from arbsim.cli.app import ending_politely
from arbsim.conform.cases import Case, Observed, Step, dump_case
from arbsim.conform.model import NotPlayable, play
from arbsim.conform.server import Facts, Server, ServerUnreachable
from tests.conform.support import CASES, arbsim, ask, case, schemas_left


def file_of(folder: Path, *cases: Case | dict[str, Any]) -> Path:
    path = folder / "cases.json"
    entries = [one if isinstance(one, dict) else dump_case(one) for one in cases]
    path.write_text(json.dumps({"cases": entries}), encoding="utf-8")
    return path


def recorded(one: Case) -> dict[str, Any]:
    return dump_case(one, play(one))


RACE = case(
    "A: update t set v = v + 1 where id = 1",
    "B: update t set v = v * 2 where id = 1",
    id="race",
    levels=("read committed",),
)


def test_cases_as_expected_make_a_matrix_and_exit_with_0() -> None:
    command = [sys.executable, "-m", "arbsim", "conform", str(CASES / "hermitage_postgres.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "20 cases: 20 as expected." in done.stdout
    head = next(line for line in done.stdout.splitlines() if line.startswith(" case"))
    assert head.split()[-5:] == ["read", "committed", "repeatable", "read", "serializable"]
    assert done.stderr == ""


def test_a_difference_is_told_step_by_step_and_exits_with_1(tmp_path: Path) -> None:
    wrong = recorded(RACE)
    wrong["steps"][1]["expect"]["tag"] = "UPDATE 7"
    wrong["final"]["rows"] = [[1, 0]]
    done = arbsim("conform", file_of(tmp_path, wrong))
    assert done.returncode == 1
    assert done.stdout.split("\n", 3)[3] == (
        " case  read committed\n"
        " race  x different\n\n"
        "x different: race\n"
        "    step 1, B: update t set v = v * 2 where id = 1\n"
        "        tag: expected UPDATE 7, got UPDATE 1\n"
        "    at the end: select * from t order by id\n"
        "        rows: expected [[1, 0]], got [[1, 22], [2, 20]]\n\n"
        "1 case: 1 different.\n"
        "Exit status 1: an answer is not as expected.\n"
    )


def test_the_document_for_programs_has_the_same_and_nothing_else_is_printed(tmp_path: Path) -> None:
    done = arbsim("conform", file_of(tmp_path, recorded(RACE)), "--json")
    document = json.loads(done.stdout)
    assert (document["schema_version"], document["exit_code"], done.returncode) == (1, 0, 0)
    assert document["target"]["kind"] == "model"
    assert [(one["id"], one["status"]) for one in document["cases"]] == [("race", "as-expected")]


def test_each_case_that_cannot_be_run_is_told_with_its_step_and_the_others_run(tmp_path: Path) -> None:
    unknown = {**recorded(RACE), "id": "unknown", "sessions": ["A"]}
    outside = dump_case(case("A: select * from t join t u using (id)", id="outside"))
    done = arbsim("conform", file_of(tmp_path, unknown, outside, recorded(RACE)))
    assert done.returncode == 2
    assert 'step 1: unknown session "B"; the sessions are A' in done.stdout
    assert "step 0 (A): " in done.stdout
    assert "3 cases: 1 bad, 1 not supported, 1 as expected." in done.stdout


def test_a_case_without_expectations_proves_nothing_and_exits_with_3(tmp_path: Path) -> None:
    done = arbsim("conform", file_of(tmp_path, RACE))
    assert done.returncode == 3
    assert "no step says what it expects" in done.stdout


def test_every_order_of_the_statements_is_tried_and_the_outcomes_are_listed(tmp_path: Path) -> None:
    done = arbsim("conform", file_of(tmp_path, RACE), "--all-orders")
    assert done.returncode == 0
    assert "race: 2 outcomes in 2 orders\n" in done.stdout
    assert "final: [[1, 22], [2, 20]]" in done.stdout
    assert "final: [[1, 21], [2, 20]]" in done.stdout
    long = case(*["A: select 1"] * 9)
    done = arbsim("conform", file_of(tmp_path, long), "--all-orders")
    assert done.returncode == 2
    assert "takes up to 8 steps, and this case has 9" in done.stdout


def test_orders_in_which_a_session_would_speak_while_it_waits_are_counted_apart(tmp_path: Path) -> None:
    steps = ["A: begin", "A: update t set v = 0", "A: commit", "B: update t set v = 1", "B: select v from t"]
    document = json.loads(arbsim("conform", file_of(tmp_path, case(*steps)), "--all-orders", "--json").stdout)
    (one,) = document["cases"]
    assert sum(row["count"] for row in one["outcomes"]) + one["impossible_orders"] == 10
    assert one["impossible_orders"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["none.json"], 2, "none.json: No such file"),
        (
            [CASES / "accounts.json", "--dsn", "postgresql://u:s3cret@127.0.0.1:1/x"],
            4,
            "127.0.0.1:1/x cannot",
        ),
        ([CASES / "accounts.json", "--dsn", "x", "--embedded"], 2, "exclude each other"),
    ],
)
def test_what_cannot_begin_is_told_in_one_line(arguments: list[object], code: int, told: str) -> None:
    for extra in ([], ["--json"]):
        done = arbsim("conform", *arguments, *extra)
        assert done.returncode == code
        assert told in done.stderr
        assert "s3cret" not in done.stdout + done.stderr
        assert len(done.stderr.splitlines()) == 1
        if extra:
            assert json.loads(done.stdout)["exit_code"] == code


def test_a_real_server_can_be_asked_instead(dsn: str, tmp_path: Path) -> None:
    stuck = case("A: select pg_sleep(0)", id="only on a server")
    done = arbsim("conform", file_of(tmp_path, recorded(RACE), stuck), "--dsn", dsn)
    assert done.returncode == 3
    assert done.stdout.startswith("On PostgreSQL ")
    assert "2 cases: 1 as expected, 1 nothing expected." in done.stdout
    assert schemas_left(dsn) == 0


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_on_the_server(dsn: str, tmp_path: Path, kind: signal.Signals) -> None:
    hangs = Case("hangs", [], ["A"], [Step("A", f"select pg_sleep(10000 + {kind})")])
    command = [sys.executable, "-m", "arbsim", "conform", str(file_of(tmp_path, hangs)), "--dsn", dsn]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        working = f"select count(*) from pg_stat_activity where query like 'select pg_sleep(10000 + {kind})'"
        until = time.monotonic() + 60
        while not ask(dsn, working) and time.monotonic() < until:
            pass  # ask again: each question takes its time
        process.send_signal(kind)
        out, err = process.communicate()
    assert (process.returncode, out, err.strip().splitlines()[-1:]) == (130, "", ["Interrupted."])
    assert schemas_left(dsn) == 0
    assert ask(dsn, working) == 0


def test_a_polite_kill_cancels_the_work_where_it_waits_and_never_in_the_middle_of_a_step() -> None:
    told: list[str] = []

    async def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
            told.append("the step went on to its end")
            await asyncio.Event().wait()
        finally:
            told.append("it tidied up")

    before = signal.getsignal(signal.SIGTERM)
    with ending_politely(), pytest.raises(KeyboardInterrupt):
        commands._run(work())
    assert told == ["the step went on to its end", "it tidied up"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_campaign_needs_a_server_and_excludes_a_file_of_cases() -> None:
    for arguments, told in (
        (["--fuzz", "5"], "a real server is needed"),
        ([], "either a file of cases or --fuzz N is needed"),
        ([CASES / "accounts.json", "--fuzz", "5"], "not both"),
        (["--fuzz", "5", "--all-orders", "--embedded"], "--all-orders is for a file of cases"),
    ):
        done = arbsim("conform", *arguments)
        assert done.returncode == 2
        assert told in done.stderr


def test_a_campaign_prints_a_table_by_level_and_the_rules_for_serializable(dsn: str) -> None:
    done = arbsim("conform", "--fuzz", "40", "--seed", "9", "--dsn", dsn)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 random schedules of seed 9" in done.stdout
    assert " repeatable read " in done.stdout
    assert "have a serial order that explains what the model committed" in done.stdout
    assert schemas_left(dsn) == 0


@pytest.mark.parametrize("command", [("verify-db",), ("conform", "--fuzz", "3")], ids=" ".join)
@pytest.mark.parametrize(
    ("ends", "code"), [(ServerUnreachable("it went away"), 4), (NotPlayable("its set-up fails"), 2)], ids=repr
)
def test_a_server_that_is_lost_or_cannot_play_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], ends: Exception, code: int
) -> None:
    async def opened(self: Server) -> None:
        self._facts = Facts("PostgreSQL 18.6", False, 8, "told")

    async def played(_: Server, one: Case) -> Observed:
        raise ends

    monkeypatch.setattr(Server, "open", opened)
    monkeypatch.setattr(Server, "play", played)
    done = arbsim(*command, "--dsn", "postgresql://nowhere")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"error: {ends}\n")
