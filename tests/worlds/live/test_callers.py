"""Clients of a live run wait for an answer, but not for ever."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from arbsim.model import Accepted, Kind, Operation, Outcome
from arbsim.worlds.live import callers
from arbsim.worlds.live.callers import Callers
from arbsim.worlds.live.events import Log
from arbsim.worlds.live.premises import Plan


class AnswersTheFirst:
    """Nobody else is ever answered."""

    async def decide(self, op: Operation, region: Any) -> Outcome:
        if op.id > 1:
            await asyncio.get_running_loop().create_future()
        return Accepted()


def answers(give_up: bool) -> list[tuple[int, tuple[Any, ...]]]:
    """What two clients are told, of whom the second is given up or interrupted."""
    log = Log()
    plan = SimpleNamespace(design=AnswersTheFirst(), workload=())
    region = SimpleNamespace()

    async def body() -> None:
        clients = Callers(cast(Plan, plan), log, {"east": cast(Any, region)})
        late = asyncio.create_task(clients.give_up())
        async with asyncio.TaskGroup() as tasks:
            calls = [
                clients.begin(Operation(number, 0, "east", Kind.DEPOSIT, 1, 1), tasks) for number in (1, 2)
            ]
            await calls[0]
            if not give_up:
                calls[1].cancel()
        late.cancel()

    asyncio.run(body())
    return [(event.operation, event.values) for event in log.events if event.kind == "answer"]


def test_who_waits_too_long_has_an_unknown_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "CLIENT_TIMEOUT_S", 0.0)
    monkeypatch.setattr(callers, "_LOOK_S", 0.0)
    assert answers(give_up=True) == [(1, ("accepted", None, "")), (2, ("unknown", None, "no answer in 0 s"))]


class RunsOutOfTime:
    """Sets itself a timeout, and forgets that it can expire."""

    async def decide(self, op: Operation, region: Any) -> Outcome:
        async with asyncio.timeout(0):
            await asyncio.get_running_loop().create_future()
        return Accepted()


def test_a_timeout_that_a_design_does_not_handle_is_its_bug_and_no_outcome() -> None:
    plan = SimpleNamespace(design=RunsOutOfTime(), workload=())
    clients = Callers(cast(Plan, plan), Log(), {"east": cast(Any, None)})

    async def body() -> None:
        async with asyncio.TaskGroup() as tasks:
            clients.begin(Operation(1, 0, "east", Kind.DEPOSIT, 1, 1), tasks)

    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(body())
    assert [type(error) for error in raised.value.exceptions] == [TimeoutError]


def test_who_is_interrupted_was_not_given_up() -> None:
    assert answers(give_up=False) == [(1, ("accepted", None, "")), (2, ("unknown", None, "interrupted"))]
