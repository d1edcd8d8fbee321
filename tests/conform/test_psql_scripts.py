"""The scripts that a counterexample is written as: two real psql sessions come to the same end on a real server."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from arbsim.cli.app import _run_app
from arbsim.explore.counterexample import load
from arbsim.worlds.live.postgres import installed
from tests.explore.test_command import TRAP


class Psql:
    """One session, driven as by hand: a statement, then its answer."""

    def __init__(self, dsn: str) -> None:
        folder = installed()
        assert folder is not None
        secret = {
            "PGPASSWORD": urlsplit(dsn).password or "",
            "PGOPTIONS": "-c search_path=witness -c lock_timeout=60s",
        }
        options = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-")
        self._process = subprocess.Popen(
            [folder / "bin" / "psql", *options, "-d", dsn],
            env={**os.environ, **secret}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def send(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n\\echo --done--\n")
        self._process.stdin.flush()

    def answer(self) -> list[str]:
        assert self._process.stdout is not None
        lines: list[str] = []
        while (line := self._process.stdout.readline().rstrip("\n")) != "--done--":
            assert self._process.poll() is None, lines
            lines.append(line)
        return lines

    def run(self, text: str) -> list[str]:
        self.send(text)
        return self.answer()

    def close(self) -> None:
        self._process.communicate("\\q\n")
        assert self._process.returncode == 0


def numbered(path: Path) -> dict[int, tuple[str, str]]:
    """The statements of a session file: number to comment and statement."""
    found = re.findall(
        r"^-- (\d+) of \d+, (.*)\n((?:(?!-- ).*\n)+)", path.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {int(number): (comment, statement) for number, comment, statement in found}


def test_two_psql_sessions_lose_the_same_update_on_a_real_server(dsn: str, tmp_path: Path) -> None:
    scenario, scripts = tmp_path / "trap.yaml", tmp_path / "scripts"
    scenario.write_text(TRAP, encoding="utf-8")
    design = ["--design", "db/select-then-update", "--out", str(tmp_path)]
    assert _run_app(["explore", str(scenario), *design], as_json=False) == 0
    saved = tmp_path / "db-select-then-update.json"
    assert _run_app(["replay", str(saved), "--psql", str(scripts)], as_json=False) == 0
    sessions = [Psql(dsn), Psql(dsn)]
    files = [numbered(scripts / f"session-{number}.sql") for number in (1, 2)]
    assert sorted([*files[0], *files[1]]) == list(range(1, 9))
    sessions[0].run("CREATE SCHEMA witness;")
    sessions[0].run((scripts / "setup.sql").read_text(encoding="utf-8"))
    waits = [False, False]
    for number in range(1, 9):
        who = 0 if number in files[0] else 1
        comment, statement = files[who][number]
        if waits[who]:
            sessions[who].answer()
        sessions[who].send(statement)
        waits[who] = "it waits for another session" in comment
        if not waits[who]:
            answer = sessions[who].answer()
            if statement.startswith("SELECT"):
                assert comment.startswith(f"op {who + 1}: it gives balance {answer[0]}.")
    final = load(saved).final["database"]
    told = sessions[1].run((scripts / "check.sql").read_text(encoding="utf-8"))
    assert told == [f"{account}|{balance}" for account, balance in final.items()]
    sessions[0].run("DROP SCHEMA witness CASCADE;")
    for session in sessions:
        session.close()
