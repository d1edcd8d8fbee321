"""Coroutines in virtual time."""

import asyncio
from typing import Any

import pytest

from arbsim.worlds.virtual.kernel import ForeignAwait, Kernel, TaskFailed


class RichError(Exception):
    """An exception that its args alone do not describe, as asyncpg's."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.constraint_name: str | None = None


def run(kernel: Kernel, coroutine: Any) -> Any:
    """Run a coroutine to its end and return its result."""
    results: list[Any] = []

    async def keep() -> None:
        results.append(await coroutine)

    kernel.spawn(keep())
    kernel.run_until_quiet(10**15)
    return results[0] if results else None


def test_a_sleep_ends_at_the_exact_nanosecond() -> None:
    kernel = Kernel()

    async def sleeper() -> int:
        await kernel.sleep_ns(3)
        await kernel.sleep_ns(4)
        return kernel.now_ns

    assert run(kernel, sleeper()) == 7


def test_gather_returns_results_in_the_order_of_its_arguments() -> None:
    kernel = Kernel()

    async def after(delay_ns: int) -> int:
        await kernel.sleep_ns(delay_ns)
        return delay_ns

    async def both() -> list[int]:
        return await kernel.gather(after(9), after(2))

    assert run(kernel, both()) == [9, 2]
    assert kernel.now_ns == 9


def test_an_error_reaches_the_one_who_awaits_as_the_same_object() -> None:
    kernel = Kernel()
    error = RichError("broken")
    error.constraint_name = "acct_balance_check"

    async def fails() -> None:
        await kernel.sleep_ns(1)
        raise error

    async def caller() -> RichError:
        try:
            await kernel.gather(fails())
        except RichError as caught:
            return caught
        raise AssertionError("no error came")

    assert run(kernel, caller()) is error


def test_an_error_that_nobody_awaits_ends_the_run() -> None:
    kernel = Kernel()

    async def fails() -> None:
        raise RichError("broken")

    kernel.spawn(fails())
    with pytest.raises(TaskFailed) as caught:
        kernel.run_until_quiet(1)
    assert isinstance(caught.value.__cause__, RichError)


def test_gather_raises_the_first_error_in_the_order_of_its_arguments() -> None:
    kernel = Kernel()

    async def fails(delay_ns: int) -> None:
        await kernel.sleep_ns(delay_ns)
        raise RichError(str(delay_ns))

    async def caller() -> str:
        try:
            await kernel.gather(fails(5), fails(1))
        except RichError as error:
            return str(error)
        raise AssertionError("no error came")

    assert run(kernel, caller()) == "5"


def test_awaiting_something_of_asyncio_is_refused_with_its_place() -> None:
    kernel = Kernel()

    async def stray() -> str:
        try:
            await asyncio.sleep(0)
        except ForeignAwait as refusal:
            return str(refusal)
        raise AssertionError("it was not refused")

    text = run(kernel, stray())
    assert "not of this world" in text
    assert "tasks.py" in text


def test_idle_timers_do_not_keep_a_run_alive() -> None:
    kernel = Kernel()
    beats: list[int] = []

    async def heart() -> None:
        while True:
            await kernel.idle_ns(10)
            beats.append(kernel.now_ns)

    async def work() -> None:
        await kernel.sleep_ns(35)

    kernel.spawn(heart())
    kernel.spawn(work())
    assert kernel.run_until_quiet(10**9)
    assert kernel.now_ns == 35
    assert beats == [10, 20, 30]


def test_a_run_that_does_not_become_quiet_stops_at_the_horizon() -> None:
    kernel = Kernel()

    async def busy() -> None:
        while True:
            await kernel.sleep_ns(10)

    kernel.spawn(busy())
    assert not kernel.run_until_quiet(95)
    assert kernel.now_ns == 90


def test_a_deadline_interrupts_its_body_with_a_timeout_error() -> None:
    kernel = Kernel()

    async def waits() -> int:
        try:
            async with kernel.timeout_ns(20):
                await kernel.future()
        except TimeoutError:
            return kernel.now_ns
        raise AssertionError("it did not time out")

    assert run(kernel, waits()) == 20


def test_a_deadline_that_is_met_changes_nothing() -> None:
    kernel = Kernel()

    async def quick() -> int:
        async with kernel.timeout_ns(20):
            await kernel.sleep_ns(5)
        await kernel.sleep_ns(100)
        return kernel.now_ns

    assert run(kernel, quick()) == 105


def test_closing_a_task_runs_its_finally_blocks() -> None:
    kernel = Kernel()
    closed: list[str] = []

    async def service() -> None:
        try:
            await kernel.future()
        finally:
            closed.append("service")

    task = kernel.spawn(service())
    kernel.run_until_quiet(1)
    task.close()
    assert closed == ["service"]


def test_a_task_works_on_what_its_parent_works_on() -> None:
    from arbsim.worlds.virtual.kernel import Trace

    kernel = Kernel()
    seen: list[int] = []

    async def child() -> None:
        seen.append(kernel.trace.operation)

    async def parent() -> None:
        await kernel.gather(child())

    kernel.spawn(parent(), Trace(7))
    kernel.run_until_quiet(1)
    assert seen == [7]


def test_in_one_instant_comes_what_is_urgent_then_what_was_to_come_then_what_is_new() -> None:
    kernel = Kernel()
    order: list[str] = []
    future = kernel.future()

    async def says(what: str) -> None:
        order.append(what)

    async def waits() -> None:
        await future
        order.append("set now")

    async def sleeps() -> None:
        await kernel.sleep_ns(5)
        order.append("was to come")

    async def first() -> None:
        await kernel.sleep_ns(5)
        future.set(None)
        kernel.spawn(says("begun now"))

    for coroutine in (waits(), first(), sleeps()):
        kernel.spawn(coroutine)
    assert kernel.run_until_quiet(5)
    assert order == ["begun now", "was to come", "set now"]


def test_calls_and_sleeps_that_end_together_come_in_the_order_in_which_they_were_made() -> None:
    kernel = Kernel()
    order: list[tuple[str, int]] = []

    async def sleeps() -> None:
        await kernel.sleep_ns(5)
        order.append(("slept", kernel.now_ns))

    def called(what: str) -> None:
        order.append((what, kernel.now_ns))

    kernel.call_ns(5, lambda _: called("before"))
    kernel.spawn(sleeps())
    kernel.call_ns(0, lambda _: kernel.call_ns(5, lambda _: called("after")))
    assert kernel.run_until_quiet(10)
    assert order == [("before", 5), ("slept", 5), ("after", 5)]


def test_a_run_is_quiet_when_the_last_call_was_made_though_idle_timers_are_left() -> None:
    kernel = Kernel()
    kernel.idle_ns(20)
    kernel.call_ns(7, lambda _: None)
    assert kernel.run_until_quiet(100)
    assert kernel.now_ns == 7


def test_a_call_beyond_the_horizon_is_still_to_come() -> None:
    kernel = Kernel()
    calls: list[int] = []
    kernel.call_ns(30, lambda _: calls.append(kernel.now_ns))
    assert not kernel.run_until_quiet(20)
    assert calls == []
    assert kernel.run_until_quiet(40)
    assert calls == [30]


def test_a_future_takes_one_value() -> None:
    future = Kernel().future()
    future.set(1)
    with pytest.raises(RuntimeError, match="already"):
        future.set(2)


def test_code_beside_a_task_works_on_no_operation() -> None:
    from arbsim.worlds.virtual.kernel import Trace

    kernel = Kernel()
    seen: list[int] = []

    async def works() -> None:
        kernel.task.work_on(Trace(3))
        seen.append(kernel.trace.operation)
        await kernel.sleep_ns(2)
        seen.append(kernel.trace.operation)

    kernel.spawn(works())
    kernel.sleep_ns(1).callbacks.append(lambda _: seen.append(kernel.trace.operation))
    kernel.run_until_quiet(2)
    assert seen == [3, 0, 3]
