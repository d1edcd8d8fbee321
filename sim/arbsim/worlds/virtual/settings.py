"""What a virtual world is told: regions, delays and the models' timings, all in nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from arbsim.worlds.virtual.kafka.cluster import KafkaTimings


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """The database that lies over all regions, with a replica in each.

    ``gateway``: "nearest" (clients connect to a node of their own region) or "leader". ``read_committed`` is
    YugabyteDB's yb_enable_read_committed_isolation. The other fields are in the table of parameters.
    """

    dialect: Literal["postgres", "yugabyte"]
    leader: str
    gateway: Literal["nearest", "leader"]
    table: str
    read_committed: bool
    statement_ns: int
    deadlock_timeout_ns: int
    deadlock_probe_ns: int
    query_layer_retries: int
    pool_size: int
    xcluster_lag_ns: int


@dataclass(frozen=True, slots=True)
class CdcSettings:
    """The connector that turns commits into events; its fields are in the table of parameters."""

    lag_ns: int
    poll_interval_ns: int
    offset_flush_interval_ns: int
    restart_time_ns: int
    restart_at_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """One scenario, as a virtual world needs it.

    ``round_trip_ns`` has every ordered pair of regions, a region with itself included. ``horizon_ns``: a run
    that has not become quiet by then, counted from the last operation, is stopped.
    """

    seed: int
    regions: tuple[str, ...]
    client_regions: tuple[str, ...]
    round_trip_ns: Mapping[tuple[str, str], int]
    jitter_ppm: int
    database: DatabaseSettings
    kafka_leader: str
    kafka: KafkaTimings
    cdc: CdcSettings
    horizon_ns: int = 3_600_000_000_000
    replicated: bool = True
    """False: the database and the stretched cluster are one server each, as in a live run on one machine."""
