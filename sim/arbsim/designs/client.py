"""The client side of the bus designs: send a command, then read the reply in one's own region."""

from __future__ import annotations

from arbsim.designs.messages import COMMANDS, REPLIES, command, key_of, to_outcome
from arbsim.model import Operation, Outcome
from arbsim.worlds.api import Design, Producer, Region


class LocalRequests(Design):
    """Commands and replies travel through the region's own cluster."""

    async def connect(self, region: Region) -> None:
        """Open the producer and the reply reader that the region's clients share."""
        await region.kafka.producer("local", acks="all", enable_idempotence=True)
        await region.replies(REPLIES, "local")

    async def decide(self, op: Operation, region: Region) -> Outcome:
        """Write the command (now it is recorded), then wait for the service's answer."""
        producer = await region.kafka.producer("local", acks="all", enable_idempotence=True)
        return await request(producer, op, region, REPLIES, "local")


async def request(
    producer: Producer, op: Operation, region: Region, replies_topic: str, replies_cluster: str
) -> Outcome:
    """Write one command, note that it is recorded, and return the fate that the reply tells."""
    await producer.send_and_wait(COMMANDS, command(op), key=key_of(op.account))
    region.recorded()
    replies = await region.replies(replies_topic, replies_cluster)
    return to_outcome(await replies.wait_for(op.id))
