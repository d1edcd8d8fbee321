"""Ending things on servers that may have gone already."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

END_TIMEOUT_S = 10.0


async def quietly(action: Callable[[], Awaitable[object]]) -> None:
    """Do something at the end; whatever becomes of it, and however long it takes, the end goes on.

    In a task of its own: aiokafka lets the cancellation of its inner tasks through, which would look like ours.
    """
    task = asyncio.ensure_future(_awaited(action))
    await asyncio.wait([task], timeout=END_TIMEOUT_S)
    task.cancel()
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


async def _awaited(action: Callable[[], Awaitable[object]]) -> None:
    await action()


def keep_quiet() -> None:
    """Let asyncio and the clients not write to stderr what becomes of futures that nobody waits for any more.

    Clients of a server that has gone leave many; the run itself says once what went.
    """
    for name in ("aiokafka", "asyncio", "asyncpg"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
