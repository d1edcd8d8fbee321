"""The designs that arbsim judges, one file each."""

from __future__ import annotations

from arbsim.worlds.api import Design


def catalogue() -> dict[str, type[Design]]:
    """Return every shipped design by name, in the order of the reports."""
    from arbsim.designs.active_active import ActiveActive
    from arbsim.designs.atomic_update import AtomicUpdate
    from arbsim.designs.atomic_update_autocommit import AtomicUpdateAutocommit
    from arbsim.designs.log_fold import LogFold
    from arbsim.designs.read_model import ReadModel
    from arbsim.designs.regional_deltas import RegionalDeltas
    from arbsim.designs.regional_snapshots import RegionalSnapshots
    from arbsim.designs.select_for_update import SelectForUpdate
    from arbsim.designs.select_then_decrement import SelectThenDecrement
    from arbsim.designs.select_then_update import SelectThenUpdate
    from arbsim.designs.serializable import Serializable
    from arbsim.designs.shared_table import SharedTable
    from arbsim.designs.shared_table_atomic import SharedTableAtomic
    from arbsim.designs.single_writer import SingleWriter

    designs: tuple[type[Design], ...] = (
        RegionalDeltas,
        RegionalSnapshots,
        SharedTable,
        SharedTableAtomic,
        SingleWriter,
        LogFold,
        AtomicUpdate,
        AtomicUpdateAutocommit,
        Serializable,
        SelectForUpdate,
        SelectThenUpdate,
        SelectThenDecrement,
        ActiveActive,
        ReadModel,
    )
    return {design.name: design for design in designs}
