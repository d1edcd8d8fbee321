"""Two universes linked by asynchronous replication: the database's own counterexample."""

from __future__ import annotations

from dataclasses import dataclass, replace

from arbsim.designs.atomic_update import AtomicUpdate
from arbsim.model import FindingKind
from arbsim.worlds.api import Resources


@dataclass(frozen=True)
class ActiveActive(AtomicUpdate):
    """The same predicate UPDATE, but each region has a database of its own that arbitrates only for itself.

    YugabyteDB documentation, "xCluster replication", inconsistencies affecting transactions: the last writer
    wins by hybrid time, and no locks are taken or honoured on the target side.
    """

    name = "db/active-active"
    isolated_tasks = True
    agreement = "asynchronous"
    summary = (
        "Each region writes to its own database; asynchronous replication links them, and the last"
        " writer wins by commit time."
    )
    claims = (FindingKind.DUPLICATE_EFFECT, FindingKind.DIVERGENCE)
    cure = "db/atomic-update"
    fresh_reads = False
    own_order = None

    def resources(self) -> Resources:
        """The accounts table, in a database of its own in each client region."""
        return replace(super().resources(), universes="per-region")
