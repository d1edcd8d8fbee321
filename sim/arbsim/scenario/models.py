"""A scenario: everything that one comparison needs, as people write it and as the program uses it."""

from __future__ import annotations

import hashlib
import json
from itertools import permutations
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from arbsim.model import Cents
from arbsim.parameters import default, parameter
from arbsim.scenario.entries import DESIGNS_MAX, DesignEntry, read_entry
from arbsim.scenario.expectations import Expectation
from arbsim.scenario.mistakes import CODES, Mistake, listed, nearest
from arbsim.scenario.names import ACCOUNTS_MAX, Names, names_of
from arbsim.scenario.presets import DEFAULT_PRESET, PRESETS, locations
from arbsim.scenario.quantities import Duration, Money, OneOf, Text, Whole, fault
from arbsim.scenario.sweeps import SweepSpec
from arbsim.scenario.values import (
    Balance,
    Delay,
    DelayAboveZero,
    DialectWord,
    GatewayWord,
    Jitter,
    ListedDesign,
    Location,
    NewAccount,
    NewName,
    RegionName,
    Section,
    Seed,
    Sentence,
    Time,
    Yes,
)
from arbsim.scenario.workloads import WorkloadSpec

REGIONS_MAX = 16

ACCT_TABLE = (
    "CREATE TABLE acct (\n"
    "  id BIGINT PRIMARY KEY,\n"
    "  balance NUMERIC(12,2) NOT NULL CHECK (balance >= 0),\n"
    "  updated_at TIMESTAMPTZ NOT NULL DEFAULT now()\n"
    ")"
)
"""The table that is judged where the scenario names no other."""


def _parameter(name: str) -> Any:
    """Return a field whose default and meaning stand in the table of parameters."""
    return Field(default=default(name), description=parameter(name).meaning)


class RegionSpec(Section):
    """A region: a place with servers and, unless said otherwise, with clients."""

    location: Location | None = Field(
        default=None, description="Where it is, for a preset of round trips, such as us-east-1."
    )
    clients: Yes = Field(
        default=True, description="false: a replica that serves no clients, and keeps a majority alive."
    )

    @model_validator(mode="after")
    def _located(self, info: ValidationInfo) -> RegionSpec:
        names = names_of(info)
        if (
            names is not None
            and names.preset is not None
            and len(names.regions) > 1
            and self.location is None
        ):
            message = f"the round trips of {names.preset} need a location"
            raise fault(
                "E107", message, f"add location: {locations(names.preset)[0]}, or give a table of round trips"
            )
        return self


def split_pair(key: str, regions: tuple[str, ...]) -> tuple[str, str]:
    """Return the two regions of a key such as ``east-west``. Raises the scenario's error."""
    pairs = [
        (key[:index], key[index + 1 :])
        for index, char in enumerate(key)
        if char == "-" and key[:index] in regions and key[index + 1 :] in regions
    ]
    if len(pairs) == 1 and pairs[0][0] != pairs[0][1]:
        return pairs[0]
    every = [f"{source}-{target}" for source, target in permutations(regions, 2)]
    if not pairs:
        raise fault("E103", f'"{key[:80]}" names no pair of regions', nearest(key, every))
    message = f'"{key[:80]}" can be read as more than one pair' if len(pairs) > 1 else "a region and itself"
    raise fault("E112", message, "a region's own round trip is network.local_round_trip")


def _read_round_trips(raw: Any, info: ValidationInfo) -> str | dict[str, int]:
    """Read a preset's name or a table. Raises the scenario's errors."""
    if isinstance(raw, dict):
        table = _RoundTripTable.model_validate({"round_trips": raw}, context=info.context).round_trips
        names = names_of(info)
        if names is not None and names.regions:
            _check_complete(table, names)
        return table
    if raw is not None and not isinstance(raw, str):
        raise fault("E109", "a preset or a table was expected", f"{listed(PRESETS)}, or {{east-west: 64 ms}}")
    preset: str = OneOf("preset of round trips", tuple(PRESETS)).check(raw)
    return preset


def _write_round_trips(value: str | dict[str, int]) -> Any:
    if isinstance(value, str):
        return value
    return {key: Duration().write(trip) for key, trip in value.items()}


def _known_pair(key: str, info: ValidationInfo) -> str:
    names = names_of(info)
    if names is not None and names.regions:
        split_pair(key, names.regions)
    return key


_Pair = Annotated[str, Text(at_most=100), AfterValidator(_known_pair)]


class _RoundTripTable(Section):
    round_trips: dict[_Pair, DelayAboveZero]


def _check_complete(table: dict[str, int], names: Names) -> None:
    """Check that every pair of regions has a round trip."""
    given = {frozenset(split_pair(key, names.regions)) for key in table}
    missing = [
        f"{source}-{target}"
        for index, source in enumerate(names.regions)
        for target in names.regions[index + 1 :]
        if frozenset((source, target)) not in given
    ]
    if missing:
        raise fault("E107", f"no round trip for {listed(missing)}", f"add {missing[0]}: 64 ms")


class Network(Section):
    """How long messages take between regions."""

    round_trips: Annotated[
        str | dict[str, int],
        PlainValidator(_read_round_trips),
        PlainSerializer(_write_round_trips),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": list(PRESETS)},
                    {"type": "object", "additionalProperties": Duration().schema()},
                ]
            }
        ),
    ] = Field(
        default=DEFAULT_PRESET,
        description="A preset (aws-2025: medians between AWS regions, from cloudping.co), or the round trip of"
        " each pair of regions, such as {east-west: 64 ms}.",
    )
    jitter: Jitter = _parameter("network.jitter")
    local_round_trip: Delay = _parameter("network.local_round_trip")


class Database(Section):
    """The SQL database that lies over all regions, with a replica in each."""

    dialect: DialectWord = Field(
        default="yugabyte", description="Whose behaviour counts where the two differ."
    )
    leader: RegionName | None = Field(
        default=None, description="Where leaders are; the first region if absent."
    )
    gateway: GatewayWord = Field(
        default="nearest",
        description="The node that clients talk to: nearest (their own region's) or leader.",
    )
    table: Annotated[str, Text(at_most=4000, lines=True)] = Field(
        default=ACCT_TABLE,
        description="CREATE TABLE acct, with the columns id and balance. Its CHECKs are the rule.",
    )
    read_committed: Yes = Field(
        default=True,
        description="YugabyteDB's yb_enable_read_committed_isolation; without it READ COMMITTED runs as"
        " REPEATABLE READ.",
    )
    statement: Delay = _parameter("database.statement")
    deadlock_timeout: DelayAboveZero = _parameter("database.deadlock_timeout")
    deadlock_probe: DelayAboveZero = _parameter("database.deadlock_probe")
    query_layer_retries: Annotated[int, Whole(at_most=100_000)] = _parameter("database.query_layer_retries")
    pool_size: Annotated[int, Whole(at_least=1, at_most=100_000)] = _parameter("database.pool_size")
    xcluster_lag: Delay = _parameter("database.xcluster_lag")


class Kafka(Section):
    """The Kafka clusters: one in each region and one stretched over all; a design uses what it needs."""

    clusters: Annotated[str, OneOf("arrangement of clusters", ("per-region",))] = Field(
        default="per-region",
        description="per-region: each region has its own, linked by MirrorMaker, beside the stretched one.",
    )
    leader: RegionName | None = Field(
        default=None,
        description="Where the stretched cluster's leaders are; the database's leader if absent.",
    )
    append: Delay = _parameter("kafka.append")
    linger: Delay = _parameter("kafka.linger")
    fetch_max_wait: DelayAboveZero = _parameter("kafka.fetch_max_wait")
    max_poll_records: Annotated[int, Whole(at_least=1, at_most=100_000)] = _parameter(
        "kafka.max_poll_records"
    )
    mirror_lag: Delay = _parameter("kafka.mirror_lag")
    transaction_overhead: Delay = _parameter("kafka.transaction_overhead")
    session_timeout: DelayAboveZero = _parameter("kafka.session_timeout")


class Cdc(Section):
    """The connector that sends the database's committed changes to Kafka, for designs that ask for it."""

    lag: Delay = _parameter("cdc.lag")
    poll_interval: DelayAboveZero = _parameter("cdc.poll_interval")
    offset_flush_interval: DelayAboveZero = _parameter("cdc.offset_flush_interval")
    restart_time: Delay = _parameter("cdc.restart_time")
    restart_at: tuple[Time, ...] = Field(
        default=(),
        max_length=1000,
        description="When the connector is killed and started again; it then repeats what it sent since the"
        " last flush of its offsets.",
    )


def _read_accounts(raw: Any, info: ValidationInfo) -> dict[int, Cents]:
    """Read ``{1: 100.00}`` or ``{count: 1000, balance: 100.00}``. Raises the scenario's errors."""
    if isinstance(raw, dict) and ("count" in raw or "balance" in raw):
        alike = AlikeAccounts.model_validate(raw, context=info.context)
        return dict.fromkeys(range(1, alike.count + 1), alike.balance)
    opened = _OpenedAccounts.model_validate({"accounts": raw}, context=info.context).accounts
    return dict(sorted(opened.items()))


def _write_accounts(opened: dict[int, Cents]) -> dict[Any, Any]:
    write = Money().write
    first = next(iter(opened.values()))
    alike = list(opened) == list(range(1, len(opened) + 1)) and set(opened.values()) == {first}
    if alike and len(opened) > 1:
        return {"count": len(opened), "balance": write(first)}
    return {account: write(cents) for account, cents in opened.items()}


class AlikeAccounts(Section):
    """Many accounts with the same opening balance, numbered from 1."""

    count: Annotated[int, Whole(at_least=1, at_most=ACCOUNTS_MAX)]
    balance: Balance


class _OpenedAccounts(Section):
    accounts: dict[NewAccount, Balance] = Field(min_length=1)


Accounts = Annotated[
    dict[int, Cents],
    PlainValidator(_read_accounts),
    PlainSerializer(_write_accounts),
    WithJsonSchema({"type": "object"}),
]
WarningId = Annotated[str, Text(at_most=5)]


class Scenario(Section):
    """One question, with everything that is needed to answer it."""

    name: Annotated[str, Text(at_most=100)] = Field(description="A short name, for people.")
    question: Sentence | None = Field(
        default=None, description="What the reader wants to know, in one sentence."
    )
    seed: Seed = Field(
        default=1, description="The same seed gives the same operations and the same network weather."
    )
    regions: dict[NewName, RegionSpec] = Field(
        min_length=1, max_length=REGIONS_MAX, description="The regions, by a name of your own."
    )
    network: Network = Field(default=Network(), description="How long messages take.")
    database: Database = Field(default=Database(), description="The SQL database.")
    kafka: Kafka = Field(default=Kafka(), description="The Kafka clusters.")
    cdc: Cdc = Field(default=Cdc(), description="The connector from the database to Kafka.")
    accounts: Accounts = Field(
        description="The accounts and their opening balances, such as {1: 100.00}, or {count: 1000, balance:"
        " 100.00} for accounts 1 to 1000."
    )
    workload: WorkloadSpec = Field(description="What the clients do.")
    designs: tuple[
        Annotated[
            DesignEntry,
            PlainValidator(read_entry),
            PlainSerializer(lambda entry: entry.written),
            WithJsonSchema({}),
        ],
        ...,
    ] = Field(min_length=1, max_length=DESIGNS_MAX, description="The designs to compare.")
    expect: dict[ListedDesign, Expectation] = Field(
        default={},
        description="What each design must show. A design that is not named here is held to its own claims.",
    )
    sweep: SweepSpec | None = Field(
        default=None, description="What `arbsim sweep` varies; `arbsim run` does not look at it."
    )
    silence: tuple[WarningId, ...] = Field(
        default=(), description="Warnings that are not to be shown, by id."
    )

    _warnings: tuple[Mistake, ...] = PrivateAttr(())

    @field_validator("silence")
    @classmethod
    def _known_warnings(cls, ids: tuple[str, ...]) -> tuple[str, ...]:
        for warning in ids:
            if not (len(warning) == 4 and warning[0] == "W" and warning[1:].isdigit()):
                known = [code for code in CODES if code.startswith("W")]
                raise fault("E103", f'"{warning}" is no id of a warning', listed(known))
        return ids

    @model_validator(mode="after")
    def _someone_asks(self) -> Scenario:
        if not self.client_regions:
            raise fault("E112", "no region has clients", "remove clients: false from one of the regions")
        return self

    # -- what the program asks ------------------------------------------------------------------------------

    @property
    def warnings(self) -> tuple[Mistake, ...]:
        """What is worth knowing before a run; ids in ``silence`` are left out."""
        return tuple(warning for warning in self._warnings if warning.code not in self.silence)

    @property
    def region_names(self) -> tuple[str, ...]:
        """All regions, in the order of the file."""
        return tuple(self.regions)

    @property
    def client_regions(self) -> tuple[str, ...]:
        """The regions with clients, in the order of the file."""
        return tuple(name for name, region in self.regions.items() if region.clients)

    @property
    def database_leader(self) -> str:
        """The region in which the database's leaders are."""
        return self.database.leader or self.region_names[0]

    @property
    def kafka_leader(self) -> str:
        """The region in which the stretched cluster's leaders are."""
        return self.kafka.leader or self.database_leader

    def round_trips_ns(self) -> dict[tuple[str, str], int]:
        """Return the round trip of every ordered pair of regions, a region with itself included."""
        given = self.network.round_trips
        names = self.region_names
        trips = {(name, name): self.network.local_round_trip for name in names}
        if isinstance(given, str):
            places = {name: region.location or "" for name, region in self.regions.items()}
            for pair in permutations(names, 2):
                trips[pair] = PRESETS[given][places[pair[0]], places[pair[1]]]
            return trips
        by_pair = {split_pair(key, names): trip for key, trip in given.items()}
        for source, target in permutations(names, 2):
            there = by_pair.get((source, target))
            trips[source, target] = by_pair[target, source] if there is None else there
        return trips

    def describe(self) -> dict[str, Any]:
        """Return the whole scenario after defaults, as plain data that is itself a scenario."""
        written: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        written["database"]["leader"] = self.database_leader
        written["kafka"]["leader"] = self.kafka_leader
        return dict(without_nothing(written))

    def digest(self) -> str:
        """Return the SHA-256 of everything that decides a result, a trace's content included, as hex."""
        described = self.describe()
        if self.workload.trace is not None:
            described["trace_sha256"] = self.workload.trace.sha256
        text = json.dumps(described, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def without_nothing(value: Any) -> Any:
    """Return plain data without what is absent or empty."""
    if isinstance(value, dict):
        kept = {key: without_nothing(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item is not None and item not in ({}, [])}
    if isinstance(value, list | tuple):
        return [without_nothing(item) for item in value]
    return value
