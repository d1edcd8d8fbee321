"""SELECT, think, UPDATE with the difference: the overdraft that only a CHECK stops."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from arbsim.designs.database import DECREMENT, DatabaseDesign
from arbsim.designs.read_then_write import ReadThenWrite
from arbsim.model import FindingKind, Operation
from arbsim.worlds.api import Connection


@dataclass(frozen=True)
class SelectThenDecrement(ReadThenWrite):
    """The relative form: nothing is lost, but the check was made on an old balance. Only a CHECK stops it."""

    name = "db/select-then-decrement"
    isolated_tasks = True
    summary = (
        "SELECT, think, then UPDATE ... SET balance = balance - amount: the check is stale; a CHECK"
        " constraint stops the overdraft with 23514, and without one it happens."
    )
    claims = tuple(
        kind
        for kind in DatabaseDesign.claims
        if kind not in (FindingKind.OVERDRAFT, FindingKind.OVERDRAFT_OWN_ORDER)
    )
    cure = "db/atomic-update"

    async def write(self, connection: Connection, op: Operation, balance: Decimal) -> None:
        """Take the amount from whatever the balance is now."""
        await connection.execute(DECREMENT, op.amount, op.account)
