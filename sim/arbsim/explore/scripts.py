"""A counterexample in the form of other tools: a test for pytest, and scripts for psql sessions."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from pprint import pformat
from typing import Any

from arbsim.explore.counterexample import Counterexample, CounterexampleError
from arbsim.explore.witness import Subject, play
from arbsim.report.words import clean
from arbsim.worlds.exhaustive.database import SharedEngine, SharedSession
from arbsim.worlds.exhaustive.kernel import ChoiceKernel
from arbsim.worlds.exhaustive.world import ChoiceWorld
from arbsim.worlds.virtual.sql.engine import Engine, Session
from arbsim.worlds.virtual.sql.results import Result

# -- pytest ------------------------------------------------------------------------------------------------


def pytest_text(document: Counterexample, saved: Path, target: Path, own: str | None) -> str:
    """Return a test that runs the saved counterexample and asserts what it shows.

    ``target`` is where the test will be: it finds the counterexample, and a class of one's own (``own``:
    path.py:ClassName), from there.
    """
    name = re.sub(r"\W+", "_", document.design.lower(), flags=re.ASCII).strip("_") or "it"
    told = clean(document.design).replace("\\", "/").replace('"', "'")
    imports, design, given = "", "", ""
    if own is not None:
        file, _, class_name = own.rpartition(":")
        imports = "from arbsim.own_design import load_design\n"
        design = f'DESIGN = f"{{HERE / {_beside(Path(file), target)}}}:{class_name}"\n'
        given = ", load_design(DESIGN)"
    findings = {kind.value: count for kind, count in document.findings.items()}
    fates = tuple(fate.value if fate else None for fate in document.fates)
    return f'''\
"""One order of steps in which {told} breaks, written by arbsim {document.arbsim}.

It fails where the order no longer leads there: the design was mended (then arbsim explore tells whether it holds
in every order), or arbsim is another version (then write the counterexample again).
"""

from pathlib import Path

from arbsim.explore.replaying import replay
{imports}
HERE = Path(__file__).parent
COUNTEREXAMPLE = HERE / {_beside(saved, target)}
{design}

def test_{name}_breaks_in_this_order() -> None:
    found = replay(COUNTEREXAMPLE{given}).document
    assert found.fates == {fates!r}
    assert found.final == {pformat(document.final, width=80)}
    assert found.findings == {findings!r}
'''


def _beside(path: Path, target: Path) -> str:
    """A path as seen from the folder of another, as a Python text."""
    return ascii(Path(os.path.relpath(path.resolve(), target.resolve().parent)).as_posix())


# -- psql --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """A statement that a session sent, with its values in place, and what the model answered at once."""

    session: int
    operation: int
    text: str
    answer: str


def psql_files(document: Counterexample, subject: Subject) -> dict[str, str]:
    """Return scripts by file name: what to prepare, one for each session, and what to find at the end.

    Raises CounterexampleError where the design is more than SQL on one database.
    """
    sent: list[Sent] = []
    prepared: list[str] = []

    class Listening(ChoiceWorld):
        """A world that writes down what reaches its database."""

        def _new_engine(self, **options: Any) -> Engine:
            sent.clear()
            prepared.clear()
            return _ListeningEngine(sent, prepared, self._kernel, **options)

    play(document, subject, Listening)
    resources = subject.design.resources()
    if not resources.accounts_table or resources.universes != "one" or resources.topics:
        raise CounterexampleError(
            f"{document.design} is more than SQL on one database, so psql alone cannot run it"
        )
    sent = [one for one in sent if one.operation]
    sessions = list(dict.fromkeys(one.session for one in sent))
    files = {"setup.sql": _setup(document, prepared)}
    for number, session in enumerate(sessions, start=1):
        files[f"session-{number}.sql"] = _session(document, sent, sessions, number, session)
    files["check.sql"] = _check(document)
    return files


class _ListeningEngine(SharedEngine):
    def __init__(self, sent: list[Sent], prepared: list[str], kernel: ChoiceKernel, **options: Any) -> None:
        super().__init__(kernel, **options)
        self.sent, self.prepared, self.sessions = sent, prepared, 0

    def session(self, name: str = "") -> Session:
        self.sessions += 1
        return _ListeningSession(self, name, self.sessions)


class _ListeningSession(SharedSession):
    def __init__(self, engine: _ListeningEngine, name: str, number: int) -> None:
        super().__init__(engine, name)
        self._listener, self._setup, self._number = engine, name == "setup", number

    def execute(self, sql: str, args: Sequence[object] = (), *, hold: bool = False) -> Any:
        text = _with_values(sql, args)
        if self._setup:
            self._listener.prepared.append(text)
            return super().execute(sql, args, hold=hold)
        operation = self._listener.kernel.trace.operation
        try:
            outcome = super().execute(sql, args, hold=hold)
        except Exception as error:
            self._note(operation, text, f"ends in error {getattr(error, 'sqlstate', '')}".rstrip())
            raise
        self._note(operation, text, _answer(outcome))
        return outcome

    def _note(self, operation: int, text: str, answer: str) -> None:
        self._listener.sent.append(Sent(self._number, operation, text, answer))


def _answer(outcome: object) -> str:
    if not isinstance(outcome, Result):
        return "waits for another session"
    rows = [
        ", ".join(f"{name} {value}" for name, value in zip(outcome.columns, row, strict=True))
        for row in outcome.rows
    ]
    return f"gives {'; '.join(rows)}" if rows else f"gives {outcome.tag}"


def _with_values(sql: str, args: Sequence[object]) -> str:
    """The statement with its parameters written out. Texts in quotes stay as they are."""

    def value(match: re.Match[str]) -> str:
        return match[0] if match[1] is None else _literal(args[int(match[1]) - 1])

    return re.sub(r"'(?:[^']|'')*'|\$(\d+)", value, sql)


def _literal(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "NULL", True: "TRUE", False: "FALSE"}[value]
    if isinstance(value, int | Decimal):
        return str(value)
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return "'" + text.replace("'", "''") + "'"


def _setup(document: Counterexample, prepared: Sequence[str]) -> str:
    yugabyte = document.scenario.get("database", {}).get("dialect") == "yugabyte"
    server = "YugabyteDB (ysqlsh will do as well as psql)" if yugabyte else "PostgreSQL"
    return _file(
        [
            f"{document.design} breaks in this order on {server}.",
            "Run this file in an empty database: psql -f setup.sql",
            "Then open one psql for each session file. Type or paste the statements in the order of their numbers;",
            "each says where the next one is. At the end run check.sql.",
        ],
        prepared,
    )


def _session(
    document: Counterexample, sent: Sequence[Sent], sessions: Sequence[int], number: int, session: int
) -> str:
    lines = [f"Session {number} of {len(sessions)}: {document.design}"]
    body = []
    for place, one in enumerate(sent, start=1):
        if one.session != session:
            continue
        following = sent[place].session if place < len(sent) else None
        then = (
            "Then run check.sql."
            if following is None
            else "Then go on here."
            if following == session
            else f"Then go to session {sessions.index(following) + 1}."
        )
        answer = " ".join(clean(one.answer).split())
        comment = f"-- {place} of {len(sent)}, op {one.operation}: it {answer}. {then}"
        body.append(f"{comment}\n{one.text}")
    return _file(lines, body)


def _check(document: Counterexample) -> str:
    (balances,) = document.final.values()
    told = ", ".join(f"account {account}: {balance}" for account, balance in balances.items())
    fates = ", ".join(
        f"op {number} {fate.value if fate else 'unanswered'}" for number, fate in enumerate(document.fates, 1)
    )
    findings = ", ".join(f"{kind.value} {count}" for kind, count in document.findings.items())
    return _file(
        [f"Expected at the end: {told}", f"The clients were told: {fates}", f"So there is: {findings}"],
        ["SELECT id, balance FROM acct ORDER BY id"],
    )


def _file(comments: Sequence[str], statements: Sequence[str]) -> str:
    """Comments, then statements. A comment of the user's text cannot end before its line does."""
    head = "\n".join(f"-- {' '.join(one.split())}" for one in comments)
    return (
        head + "\n\n" + "\n\n".join(f"{statement.rstrip().rstrip(';')};" for statement in statements) + "\n"
    )
