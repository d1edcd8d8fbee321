"""Request and reply over Kafka: one reader of a reply topic for all clients of a region."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from arbsim.worlds.virtual.kernel import Future, Kernel

if TYPE_CHECKING:
    from arbsim.worlds.virtual.kafka.clusters import RegionKafka


class Replies:
    """Gives each reply to the client whose operation is the record's key."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._mark = kernel.mark()
        self._waiting: dict[int, Future[Mapping[str, Any]]] = {}
        self._early: dict[int, Mapping[str, Any]] = {}

    async def wait_for(self, operation_id: int) -> Mapping[str, Any]:
        """Return the reply to this operation; one that came before it was waited for is kept."""
        self._kernel.touch(self._mark, operation_id)
        early = self._early.pop(operation_id, None)
        if early is not None:
            return early
        waiter: Future[Mapping[str, Any]] = self._kernel.future()
        self._waiting[operation_id] = waiter
        try:
            return await waiter
        finally:
            self._kernel.touch(self._mark, operation_id)
            self._waiting.pop(operation_id, None)

    async def read(
        self, kafka: RegionKafka, topic: str, cluster: str, is_ours: Callable[[int], bool]
    ) -> None:
        """Read replies for ever; those to other regions' operations are passed over."""
        consumer = await kafka.consumer(topic, cluster=cluster, isolation_level="read_committed")
        consumer.reader = "client"
        while True:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                for record in batch:
                    operation_id = int(record.key)
                    self._kernel.touch(self._mark, operation_id)
                    waiter = self._waiting.get(operation_id)
                    if waiter is not None:
                        waiter.set(from_json(record.value))
                    elif is_ours(operation_id):
                        self._early[operation_id] = from_json(record.value)
