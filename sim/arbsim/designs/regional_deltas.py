"""Each region decides on its own view and sends the difference to the others."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from arbsim.designs.regional_view import RegionalView, View
from arbsim.model import FindingKind


class Sums(View):
    """Balances to which everybody's deltas are added, in whatever order they come."""

    def change(self, account: int, delta: Decimal) -> dict[str, Any]:
        """Add a delta of this region."""
        self.store.put(account, self.store.get(account) + delta)
        return {"delta": str(delta)}

    def take_over(self, message: dict[str, Any]) -> None:
        """Add another region's delta; nothing is checked any more."""
        account = message["account"]
        self.store.put(account, self.store.get(account) + Decimal(message["delta"]))


@dataclass(frozen=True)
class RegionalDeltas(RegionalView):
    """Deltas commute, so all regions agree in the end; the rule is checked on a view that lags."""

    name = "bus/regional-deltas"
    isolated_tasks = True
    summary = (
        "Each region's consumer decides on its own view and emits a delta; MirrorMaker copies it, and"
        " every region applies all deltas."
    )
    claims = (
        FindingKind.LOST_UPDATE,
        FindingKind.DUPLICATE_EFFECT,
        FindingKind.DIVERGENCE,
        FindingKind.CONSERVATION,
        FindingKind.UNEXPLAINED,
    )
    cure = "bus/single-writer"

    topic = "deltas"
    view = Sums
