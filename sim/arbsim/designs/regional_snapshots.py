"""Each region decides on its own view and sends the new balance; the last writer wins."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from arbsim.designs.regional_view import RegionalView, View
from arbsim.model import FindingKind
from arbsim.worlds.api import Region


class Registers(View):
    """Balances, each with the timestamp of its last writer: last-writer-wins registers."""

    def __init__(self, region: Region) -> None:
        super().__init__(region)
        self._stamps: dict[int, tuple[int, str]] = {}

    def change(self, account: int, delta: Decimal) -> dict[str, Any]:
        """Write a new balance. A region's own stamps only grow."""
        balance = self.store.get(account) + delta
        stamp = max(self.region.clock.time_ns(), self._stamps.get(account, (0, ""))[0] + 1)
        self.store.put(account, balance)
        self._stamps[account] = (stamp, self.region.name)
        return {"balance": str(balance), "stamp": stamp, "region": self.region.name}

    def take_over(self, message: dict[str, Any]) -> None:
        """Take over a balance, unless a later writer has won already. The region's name breaks ties."""
        account, stamp = message["account"], (message["stamp"], message["region"])
        if stamp > self._stamps.get(account, (0, "")):
            self._stamps[account] = stamp
            self.store.adopt(account, Decimal(message["balance"]))
        else:
            self.store.supersede(account)


@dataclass(frozen=True)
class RegionalSnapshots(RegionalView):
    """What is sent is a whole balance, so the older of two concurrent balances vanishes."""

    name = "bus/regional-snapshots"
    isolated_tasks = True
    summary = (
        "Each region's consumer decides on its own view and emits the new balance; in every region the"
        " one with the latest timestamp wins."
    )
    claims = (FindingKind.DUPLICATE_EFFECT, FindingKind.DIVERGENCE, FindingKind.UNEXPLAINED)
    cure = "bus/log-fold"

    topic = "snapshots"
    view = Registers
