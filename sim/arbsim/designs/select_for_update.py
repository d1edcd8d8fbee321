"""SELECT ... FOR UPDATE, think, UPDATE: the row lock cures the trap."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from arbsim.designs.database import SELECT_FOR_UPDATE, DatabaseDesign
from arbsim.designs.select_then_update import SelectThenUpdate
from arbsim.model import Operation
from arbsim.worlds.api import Connection


@dataclass(frozen=True)
class SelectForUpdate(SelectThenUpdate):
    """The cure: the SELECT locks the row, so nobody comes between. Two accounts are locked in order of id."""

    name = "db/select-for-update"
    isolated_tasks = True
    summary = (
        "SELECT ... FOR UPDATE locks the row before the application thinks; then even the absolute"
        " UPDATE is safe."
    )
    claims = DatabaseDesign.claims
    cure = None

    async def read(self, connection: Connection, op: Operation) -> Decimal:
        """Lock what will be written, and return the balance that the decision is made on."""
        accounts = sorted({op.account, op.to_account or op.account})
        locked = {account: await connection.fetchval(SELECT_FOR_UPDATE, account) for account in accounts}
        balance: Decimal = locked[op.account]
        return balance
