"""The document that ``arbsim run --json`` prints and ``results.json`` holds; every report is rendered from it.

Money is text with two digits after the point. Times are numbers of milliseconds since the workload began, rounded to
the microsecond. Operations are named by their ids.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from arbsim.agreement import Agreements
from arbsim.document import Milliseconds, Money, OperationRow, Part
from arbsim.explanation import Explanation
from arbsim.model import Agreement, Family, Fate, FindingKind, Verdict

SCHEMA_VERSION: Literal[1] = 1

Answered = Literal["yes", "no", "undecided"]
Status = Literal["met", "broken", "undecided"]


class Witness(Part):
    """One finding: the operations that make it, the first of them the one that is wrong."""

    operations: tuple[int, ...]
    account: int | None = None
    amount: Money = Field(description="the money at stake in this finding")
    time_ms: Milliseconds | None = None
    store: str | None = Field(default=None, description="where it shows: a region, or the database")


class Finding(Part):
    """All findings of one kind. ``amount`` is the money at stake in all of them."""

    count: int = 0
    amount: Money = "0.00"
    first: Witness | None = None
    worst: Witness | None = None
    last: Witness | None = None
    exact: bool = Field(default=True, description="false: a lower bound (see the design's notes)")


class Outcomes(Part):
    """How many operations ended in each way. An operation that was never answered is unknown."""

    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    unknown: int = 0


class Rejections(Part):
    """Rejected withdrawals and transfers, by what any real-time order would have allowed."""

    certainly_right: int = Field(default=0, description="no legal order had the funds")
    certainly_wrong: int = Field(default=0, description="every legal order had the funds: a cost")
    order_dependent: int = 0


class Pair(Part):
    """Two operations on one account of which the second did not see the first, or waited for it."""

    first: int
    second: int
    account: int
    waited: bool = False


class Contention(Part):
    """How often operations on one account met. Where none did, a run proves nothing."""

    overlapping_pairs: int = Field(
        default=0, description="each was invoked before the other was answered: either could have gone first"
    )
    unseen_pairs: int = Field(default=0, description="neither had seen the other's effect when it decided")
    waits: int = Field(default=0, description="one waited for the other")
    examples: tuple[Pair, ...] = ()


class Cause(Part):
    """Why money is missing or too much in one place."""

    kind: Literal["lost", "doubled", "not-accepted", "half-transfer", "unexplained"]
    operation: int | None = None
    by: int | None = Field(default=None, description="the operation that overwrote it")
    amount: Money = Field(description="signed: what it adds to the balance, wrongly")


class BalanceRow(Part):
    """One account in one store whose balance differs from what was accepted."""

    account: int
    store: str
    opening: Money
    expected: Money = Field(description="opening balance and all accepted effects")
    actual: Money
    difference: Money
    causes: tuple[Cause, ...]


class Belief(Part):
    """What an operation's decider believed, and what was true of everything decided so far."""

    time_ms: Milliseconds
    place: str
    operation: int
    account: int
    believed: Money
    true: Money
    fate: Fate | None


class Latency(Part):
    """Percentiles in milliseconds by nearest rank; None where there was nothing to measure."""

    count: int
    p50_ms: Milliseconds | None = None
    p90_ms: Milliseconds | None = None
    p99_ms: Milliseconds | None = None
    max_ms: Milliseconds | None = None


class RegionLatency(Part):
    """How long the clients of one region (or of ``all``) waited."""

    region: str
    recorded: Latency
    fate: Latency


class Costs(Part):
    """What the design costs, whatever it is worth."""

    latency: tuple[RegionLatency, ...]
    client_retries: int = 0
    server_retries: int = 0
    messages_per_accepted: float | None = None
    wan_round_trips_per_accepted: float | None = None
    hot_key_ceiling_per_s: float | None = Field(
        default=None,
        description="accepted operations a second on one account, where they wait for each other; null where twice as"
        " many at once take no longer, or where nobody measured",
    )
    compensations: int = Field(default=0, description="accepted operations that somebody must take back")
    agreement_lag_ms: Milliseconds | None = Field(
        default=None,
        description="the longest time from an effect in one store to the same effect in the last one",
    )


class StatementCount(Part):
    """A SQL statement as it was sent, and how often."""

    text: str
    count: int


class EveryOrder(Part):
    """What came of trying the same operations in every order.

    A run of a class stands for all orders that differ from it only in steps that have nothing to do with each other.
    ``orders`` counts them all. It is None where that would take too long, and so is ``violating_orders``.
    """

    complete: bool = Field(
        description="false: the steps that a search may take were over; some order violates"
    )
    orders: int | None
    violating_orders: int | None
    classes: int
    violating_classes: int
    broken: tuple[FindingKind, ...] = Field(description="the kinds of finding that some order has")
    bounds: tuple[str, ...] = Field(description="what was the same in all orders")


class Evidence(Part):
    """What a verdict stands on: a run, and all other orders of its operations where they are few enough."""

    runs: int = 1
    every_order: EveryOrder | None = Field(
        default=None,
        description="absent where the run had no contention or a violation, and where the orders are too many",
    )


class DesignResult(Part):
    """One design, judged."""

    design: str
    family: Family
    agreement: Agreement
    summary: str
    claims: tuple[FindingKind, ...]
    cure: str | None
    own_order: str | None
    fresh_reads: bool
    parameters: dict[str, str]
    steps: tuple[str, ...]
    statements: tuple[StatementCount, ...]
    verdict: Verdict
    as_declared: Answered
    reasons: tuple[str, ...] = Field(
        default=(),
        description="why a verdict is inconclusive: no-contention, undecided-outcomes, stopped, empty",
    )
    evidence: Evidence
    final: dict[str, dict[str, Money]] = Field(description="account to store to balance")
    outcomes: Outcomes
    failures: dict[str, int] = Field(description="how many operations failed for each reason")
    findings: dict[FindingKind, Finding]
    rejections: Rejections
    contention: Contention
    differences: tuple[BalanceRow, ...] = Field(description="the first 100 balances that differ")
    differences_count: int
    balances_count: int
    beliefs: tuple[Belief, ...]
    costs: Costs
    counts: dict[str, int] = Field(description="what else the run counted: messages, change events")
    notes: tuple[str, ...]
    explanation: Explanation | None = Field(
        default=None, description="the first finding of a violated design, step by step"
    )


class WorkloadSummary(Part):
    """The workload: every operation where they are few, counts where they are many."""

    operations: int
    accounts: int
    opening_total: Money
    by_region: dict[str, int]
    by_kind: dict[str, int]
    rows: tuple[OperationRow, ...] = Field(description="all operations where there are at most 50")


class Disagreement(Part):
    """An operation that does not end alike in all designs."""

    operation: OperationRow
    fates: dict[str, Fate]


class Disagreements(Part):
    """Operations on whose fate designs differ."""

    count: int
    first: tuple[Disagreement, ...] = Field(description="the first 100 of them")


class Expectation(Part):
    """One thing that the scenario (or, without one, the design itself) expects."""

    design: str
    what: str
    expected: str
    observed: str
    status: Status


class Caution(Part):
    """Something that weakens a pass. It can be silenced by its id."""

    id: str
    design: str | None
    text: str
    next_step: str


class ParameterRow(Part):
    """A default of the models, what the scenario made of it, and where the default comes from."""

    name: str
    value: str
    default: str
    meaning: str
    source: str


class FamilyFacts(Part):
    """What one family of designs stands on in this scenario, as sentences."""

    family: Family
    replicas: str
    quorum: str
    recovery_point: str
    gateway: str


class Manifest(Part):
    """What reproduces this document."""

    arbsim: str
    scenario: dict[str, Any] = Field(description="the scenario with all defaults filled in")
    scenario_sha256: str
    workload_sha256: str
    seed: int
    world: Literal["virtual", "live"] = "virtual"
    replay: str


class Results(Part):
    """Designs side by side on one workload."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    question: str
    manifest: Manifest
    workload: WorkloadSummary
    designs: dict[str, DesignResult]
    reference: dict[str, Money] = Field(
        description="final balances of accounts if the operations ran one at a time in order of invocation"
    )
    families: tuple[FamilyFacts, ...]
    disagreements: Disagreements
    expectations: tuple[Expectation, ...]
    warnings: tuple[Caution, ...]
    parameters: tuple[ParameterRow, ...]
    exit_code: int = Field(description="1: an expectation is broken; 3: one is undecided; 0: all are met")


class ServerFacts(Part):
    """A real server: what it is, and the settings that matter, as it told them itself."""

    name: str
    product: str
    version: str
    stands_for: str | None = Field(
        default=None, description="what it takes the place of, and what is not shown"
    )
    settings: dict[str, str]


class LinkFacts(Part):
    """A link between a region and a server: the round trip of the scenario, and what was measured."""

    region: str
    server: str
    round_trip_ms: Milliseconds
    measured_ms: Milliseconds = Field(
        description="the median of a few questions to the server, its own work included"
    )


class StreamFacts(Part):
    """What came of one run's change stream in one region: the copy of the topic there, or the topic itself."""

    region: str
    delivery: Literal["at least once", "exactly once"]
    killed: bool = Field(
        description="whether the connector was killed (kill -9) in the middle and started again"
    )
    changes: int = Field(description="changes that came, each counted once")
    again: int = Field(description="events that had come before, with the same LSN")
    missing: int = Field(description="committed changes of which no event came")
    snapshots: int = Field(description="rows that came as part of a snapshot")
    lag_p50_ms: Milliseconds | None = Field(description="from commit to consumer")
    lag_p99_ms: Milliseconds | None
    differences: dict[str, tuple[Money | None, Money | None]] = Field(
        description="accounts of which the folded events tell another balance (second) than the table has (first)"
    )


class Simulated(Part):
    """What the model says of a design on the same workload, told that the server is what it is."""

    verdict: Verdict
    final: dict[str, dict[str, Money]]
    outcomes: Outcomes
    findings: dict[FindingKind, int]
    p99_ms: Milliseconds | None


class LiveFacts(Part):
    """What only a run on real servers has. It is not the same twice."""

    began: str = Field(description="when the run began, in UTC")
    machine: dict[str, str]
    servers: tuple[ServerFacts, ...]
    own: bool = Field(
        default=False, description="whether the servers were there before and are somebody's own"
    )
    links: tuple[LinkFacts, ...]
    not_run: dict[str, str] = Field(
        description="designs that these servers cannot stand for, with the reason"
    )
    simulated: dict[str, Simulated]
    streams: dict[str, tuple[StreamFacts, ...]] = Field(
        default={},
        description="the change stream of each design that has one, and of the trials of its delivery",
    )
    agreement: Agreements | None = Field(
        default=None, description="how often servers and model break, where a race was repeated"
    )


class LiveResults(Results):
    """Designs side by side on real servers."""

    live: LiveFacts


class InputMistake(Part):
    """A mistake in the input, with its place."""

    code: str
    file: str
    line: int | None = None
    column: int | None = None
    message: str
    hint: str | None = None


class Failure(Part):
    """What ``--json`` prints where there are no results."""

    schema_version: Literal[1] = SCHEMA_VERSION
    error: dict[str, Any]
    mistakes: tuple[InputMistake, ...] = ()
    exit_code: int


def results_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the results; only a live run has the key ``live``."""
    schema = LiveResults.model_json_schema(mode="serialization")
    return {**schema, "required": [key for key in schema["required"] if key != "live"]}
