"""Playing a case on the virtual database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from arbsim.worlds.virtual.sql import Engine, Result, Session, SqlError, Waiting
from arbsim.worlds.virtual.sql.check import check_statement

from .cases import Answer, Case, Observed, Step
from .values import json_rows


class NotPlayable(Exception):
    """The case cannot be played here: its set-up fails, or it is for another server. The text says why."""


def problems_of(case: Case) -> list[str]:
    """What in a case's SQL is outside the subset that the model runs, one sentence each, with its step.

    Statements that a server refuses too (unknown columns, wrong types) are no problem: their error is an answer.
    """
    return [
        f"{place}: {problem.message}"
        for place, sql in _texts(case)
        for problem in check_statement(sql, case.setup)
        if problem.sqlstate == "0A000"
    ]


def _texts(case: Case) -> list[tuple[str, str]]:
    texts = [(f"set-up statement {number}", sql) for number, sql in enumerate(case.setup)]
    texts += [(f"step {number} ({step.session})", step.sql) for number, step in enumerate(case.steps)]
    return texts + ([("the final query", case.final.sql)] if case.final else [])


def play(case: Case, make_engine: Callable[[], Engine] | None = None) -> Observed:
    """Play a case: set-up, then each step followed by quiet, then the final query.

    Raises NotPlayable where the set-up fails.
    """
    run = ModelRun(case, make_engine() if make_engine is not None else Engine(case.dialect or "postgres"))
    for step in case.steps:
        run.step(step)
    return run.finish()


class ModelRun:
    """A case under way on an engine: its set-up has run, and steps can be issued one by one.

    Quiet means here that every wait that began got its deadlock check, once, in the order in which they began.
    """

    def __init__(self, case: Case, engine: Engine) -> None:
        self.case = case
        self.engine = engine
        self.answers: list[Answer] = []
        self.raced = False
        self._admin = engine.session("setup")
        self._set_up()
        self._sessions = {name: engine.session(name) for name in case.sessions}
        self._waits: list[Waiting] = []
        self._current = 0
        engine.on_wait.append(self._waits.append)

    def _set_up(self) -> None:
        for sql in self.case.setup:
            outcome = self._admin.execute(sql)
            if not isinstance(outcome, Result):
                why = outcome.message if isinstance(outcome, SqlError) else "it waits"
                raise NotPlayable(f"the set-up fails at {sql!r}: {why}")

    def waits(self, name: str) -> bool:
        """Whether a session's last step still waits."""
        return self._sessions[name].waiting is not None

    def failed(self, name: str) -> bool:
        """Whether a session is in a transaction that an error ended."""
        tx = self._sessions[name].tx
        return tx is not None and tx.failed

    def step(self, step: Step) -> None:
        """Issue a step and wait until all is quiet. A step for a session that waits is skipped."""
        session = self._sessions[step.session]
        self._current = len(self.answers)
        if session.waiting is not None:
            self.answers.append(Answer(skipped=True))
            return
        behind = self._behind(session)
        self._issue(session, step.sql, self._current)
        while self._waits:
            self.engine.detect_deadlock(self._waits.pop(0))
        if len(behind) > 1 and any(one.wait is not wait for one, wait in behind):
            self.raced = True

    def _issue(self, session: Session, sql: str, number: int) -> None:
        outcome = session.execute(sql)
        if isinstance(outcome, Waiting):
            self.answers.append(Answer(blocks=True, unfinished=True))
            outcome.then(lambda ended: self._ended(number, ended))
        else:
            self.answers.append(answer_of(outcome))

    def _ended(self, number: int, outcome: Result | SqlError) -> None:
        self.answers[number] = replace(answer_of(outcome), blocks=True, unblocks_after=self._current)

    def _behind(self, session: Session) -> list[tuple[Session, object]]:
        """The sessions that wait for this one, directly or behind each other, and what each waits for."""
        waiting = [one for one in self._sessions.values() if one.waiting is not None]
        if len(waiting) < 2:
            return []
        found: dict[Session, object] = {session: None}
        grew = True
        while grew:
            grew = False
            for one in waiting:
                assert one.waiting is not None
                if one not in found and any(other in found for other in self.engine.waits_for(one.waiting)):
                    found[one] = one.wait
                    grew = True
        del found[session]
        return list(found.items())

    def finish(self) -> Observed:
        """End every session (what still waits stays `unfinished`) and ask for the final state."""
        stuck = [session for session in self._sessions.values() if session.waiting is not None]
        for session in stuck:  # their forced end is not observed
            session.waiting = Waiting(session)
        for session in [*stuck, *self._sessions.values()]:
            session.close()
        final = None
        if self.case.final is not None:
            outcome = self._admin.execute(self.case.final.sql)
            final = json_rows(outcome.rows) if isinstance(outcome, Result) else None
        return Observed(self.answers, final, self.raced)


def answer_of(outcome: Result | SqlError) -> Answer:
    """The model's outcome in the form of a case's answer."""
    if isinstance(outcome, SqlError):
        return Answer(error=outcome.sqlstate, message=outcome.message, constraint=outcome.constraint or None)
    if not outcome.columns:
        return Answer(rowcount=outcome.rowcount or None, tag=outcome.tag)
    return Answer(
        rows=json_rows(outcome.rows),
        rowcount=outcome.rowcount or None,
        columns=list(outcome.columns),
        tag=outcome.tag,
    )
