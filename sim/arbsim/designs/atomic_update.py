"""One statement checks the rule and writes; the database decides."""

from __future__ import annotations

from dataclasses import dataclass

from arbsim.designs.database import DatabaseDesign, change
from arbsim.model import Operation, Outcome
from arbsim.worlds.api import Region


@dataclass(frozen=True)
class AtomicUpdate(DatabaseDesign):
    """BEGIN, the predicate UPDATE, COMMIT: three round trips of the client."""

    name = "db/atomic-update"
    isolated_tasks = True
    summary = (
        "One UPDATE under READ COMMITTED checks the rule and writes; the loser waits for the winner, then"
        " updates no row."
    )

    async def attempt(self, op: Operation, region: Region) -> Outcome:
        """Run the statement in a transaction."""
        async with (
            region.database.acquire() as connection,
            connection.transaction(isolation="read_committed"),
        ):
            return await change(connection, op)
