"""Whoever waits for a reply hears at once when there can be none."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import ConsumerRecord

from arbsim.worlds.live.clients import KafkaSettings, LiveMessaging, Names

NAMES = Names("tested", ("east",), frozenset())
SETTINGS = KafkaSettings({"east": "127.0.0.1:1"}, (), "east", 0, 1, 1000, 10)


def record(key: bytes, value: bytes) -> Any:
    return ConsumerRecord("replies", 0, 0, 0, 0, key, value, None, 0, 0, ())


class Consumer:
    """Gives what it is told to, batch by batch; then it breaks."""

    def __init__(self, *batches: list[Any]) -> None:
        self.batches = list(batches)
        self.more = asyncio.Event()

    async def getmany(self, timeout_ms: int) -> dict[str, list[Any]]:
        if self.batches:
            return {"partition": self.batches.pop(0)}
        await self.more.wait()
        raise KafkaConnectionError("the broker has gone")

    async def stop(self) -> None: ...


def messaging(opened: Callable[[], Awaitable[Any]]) -> LiveMessaging:
    one = LiveMessaging("east", NAMES, SETTINGS, lambda operation: True)

    async def consumer(*topics: str, **options: Any) -> Any:
        return await opened()

    one.consumer = consumer  # type: ignore[method-assign]
    return one


def test_a_reply_reaches_who_waits_and_who_asks_later() -> None:
    async def body() -> tuple[Any, Any]:
        consumer = Consumer([record(b"1", b'{"n":1}'), record(b"2", b'{"n":2}')])

        async def opened() -> Consumer:
            return consumer

        replies = await messaging(opened).replies("replies")
        return await replies.wait_for(2), await replies.wait_for(1)

    assert asyncio.run(body()) == ({"n": 2}, {"n": 1})


def test_a_reader_that_breaks_tells_everybody_who_waits_and_who_comes_later() -> None:
    async def body() -> list[Any]:
        consumer = Consumer()

        async def opened() -> Consumer:
            return consumer

        replies = await messaging(opened).replies("replies")
        waiting = [asyncio.create_task(replies.wait_for(number)) for number in (1, 2)]
        await asyncio.sleep(0)
        consumer.more.set()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        return [*told, *await asyncio.gather(replies.wait_for(3), return_exceptions=True)]

    told = asyncio.run(asyncio.wait_for(body(), 30))
    assert [type(error) for error in told] == [KafkaConnectionError] * 3


def test_a_reader_that_cannot_be_opened_tells_everybody_who_asks_for_it() -> None:
    async def opened() -> Consumer:
        raise KafkaConnectionError("no broker")

    async def body() -> None:
        one = messaging(opened)
        for _ in range(2):
            with pytest.raises(KafkaConnectionError):
                await one.replies("replies")

    asyncio.run(asyncio.wait_for(body(), 30))
