"""The predicate UPDATE as a transaction of its own."""

from __future__ import annotations

from dataclasses import dataclass

from arbsim.designs.atomic_update import AtomicUpdate
from arbsim.designs.database import change
from arbsim.model import Operation, Outcome
from arbsim.worlds.api import Region


@dataclass(frozen=True)
class AtomicUpdateAutocommit(AtomicUpdate):
    """The predicate UPDATE by itself: one round trip of the client. A transfer still needs a transaction."""

    name = "db/atomic-update-autocommit"
    isolated_tasks = True
    summary = (
        "The same UPDATE without BEGIN and COMMIT: the statement is its own transaction, in one round trip."
    )

    async def attempt(self, op: Operation, region: Region) -> Outcome:
        """Run the statement by itself."""
        if op.to_account is not None:
            return await super().attempt(op, region)
        async with region.database.acquire() as connection:
            return await change(connection, op)
