"""SELECT, think, UPDATE with the absolute balance: the lost update."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from arbsim.designs.database import OVERWRITE
from arbsim.designs.read_then_write import ReadThenWrite
from arbsim.model import FindingKind, Operation
from arbsim.worlds.api import Connection


@dataclass(frozen=True)
class SelectThenUpdate(ReadThenWrite):
    """The absolute form: the balance computed in the application overwrites whatever came between."""

    name = "db/select-then-update"
    isolated_tasks = True
    summary = (
        "SELECT, think, then UPDATE ... SET balance = the new value: a concurrent change is overwritten"
        " in silence."
    )
    claims: ClassVar[tuple[FindingKind, ...]] = ()
    cure: ClassVar[str | None] = "db/select-for-update"

    async def write(self, connection: Connection, op: Operation, balance: Decimal) -> None:
        """Overwrite the balance."""
        await connection.execute(OVERWRITE, balance - op.amount, op.account)
