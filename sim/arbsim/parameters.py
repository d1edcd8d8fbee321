"""Every default of the models, in one table, each with its meaning and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

_NANOSECONDS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}

MEASURED = "measured on one machine over loopback with Kafka 4.3.1, Debezium 3.6.1 and PostgreSQL 18.6: "


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number of the models.

    ``name`` is its place in a scenario ("kafka.mirror_lag"), or "design." and the field of a design.
    ``default`` is exact, in ``unit`` ("us", "ms", "s", "%", or "" for a count). ``source`` says who states it,
    how it was measured, or that it is an assumption.
    """

    name: str
    default: Decimal
    unit: str
    meaning: str
    source: str

    @property
    def text(self) -> str:
        """The default as people write it in a scenario."""
        return f"{self.default} {self.unit}".rstrip()

    @property
    def value(self) -> int:
        """The default as the models use it: nanoseconds, parts per million, or a count."""
        if self.unit == "%":
            return int(self.default * 10_000)
        return int(self.default * _NANOSECONDS.get(self.unit, 1))


def _parameter(name: str, default: str, meaning: str, source: str) -> Parameter:
    number, _, unit = default.partition(" ")
    return Parameter(name, Decimal(number), unit, meaning, source)


PARAMETERS: tuple[Parameter, ...] = (
    _parameter(
        "network.jitter",
        "5 %",
        "A message takes half the round trip times 1 + jitter x u, with u uniform in [0, 1).",
        "assumption: cloudping.co's medians of one path vary by a few percent between days",
    ),
    _parameter(
        "network.local_round_trip",
        "0.5 ms",
        "The round trip between two nodes of one region, in different zones.",
        "xkyle.com, Measuring AWS Region and AZ Latency: 0.25 ms in one zone, at most 3.4 ms between zones",
    ),
    _parameter(
        "database.statement",
        "0.1 ms",
        "The server's own work on one statement, without waiting and without the network.",
        "assumption: the order of an indexed statement on a cached row",
    ),
    _parameter(
        "database.deadlock_timeout",
        "1 s",
        "How long a statement waits for a lock before PostgreSQL looks for a deadlock.",
        "PostgreSQL documentation, Lock Management, deadlock_timeout (default)",
    ),
    _parameter(
        "database.deadlock_probe",
        "100 ms",
        "How long a statement waits for a lock before YugabyteDB's probes have found a deadlock.",
        "assumption: one poll of the wait queue, wait_queue_poll_interval_ms (default)",
    ),
    _parameter(
        "database.query_layer_retries",
        "60",
        "How often YugabyteDB restarts a transaction's first statement before the client sees the error.",
        "YugabyteDB documentation, yb_max_query_layer_retries (default)",
    ),
    _parameter(
        "database.pool_size",
        "50",
        "Connections that the clients of one region share.",
        "assumption: large enough not to queue below saturation; asyncpg's own default is 10",
    ),
    _parameter(
        "database.xcluster_lag",
        "100 ms",
        "Delay of asynchronous replication between two databases, on top of the one-way trip.",
        'assumption within YugabyteDB\'s "typically subsecond" (documentation, Asynchronous replication)',
    ),
    _parameter(
        "kafka.append",
        "0.3 ms",
        "A partition's leader appends a batch and answers.",
        MEASURED + "an idempotent send with acks=all takes 0.55 ms in all (median)",
    ),
    _parameter(
        "kafka.linger",
        "0 ms",
        "How long a producer waits for more records before it sends a batch.",
        "aiokafka documentation, AIOKafkaProducer, linger_ms (default)",
    ),
    _parameter(
        "kafka.fetch_max_wait",
        "500 ms",
        "How long a broker holds a fetch that has nothing to return; a new record ends the wait.",
        "aiokafka documentation, AIOKafkaConsumer, fetch_max_wait_ms (default)",
    ),
    _parameter(
        "kafka.max_poll_records",
        "500",
        "The most records that one poll returns.",
        "Kafka documentation, max.poll.records (default); aiokafka itself sets no limit",
    ),
    _parameter(
        "kafka.mirror_lag",
        "6 ms",
        "MirrorMaker's own delay, on top of the one-way trip between the clusters.",
        MEASURED + "produce in one cluster to consume in the other, medians of 4.5 to 7.5 ms",
    ),
    _parameter(
        "kafka.transaction_overhead",
        "25 ms",
        "What a transaction adds to its records: the coordinator's log, the markers, the client's back-off.",
        MEASURED + "one-record transactions back to back, 25 ms (median); Kafka's design document speaks"
        " of the order of 10 ms",
    ),
    _parameter(
        "kafka.session_timeout",
        "10 s",
        "Silence after which a group gives a consumer's partitions to others.",
        "aiokafka documentation, AIOKafkaConsumer, session_timeout_ms (default)",
    ),
    _parameter(
        "cdc.lag",
        "8.5 ms",
        "From commit to the change topic, apart from the connector's poll interval.",
        MEASURED + "commit to consumer 18.5 ms with a poll interval of 10 ms, 9.3 ms with 1 ms (medians)",
    ),
    _parameter(
        "cdc.poll_interval",
        "10 ms",
        "How long the connector waits between two looks for new changes.",
        "a setting for low delay; Debezium's own default (poll.interval.ms) is 500 ms",
    ),
    _parameter(
        "cdc.offset_flush_interval",
        "1 s",
        "How often the connector stores how far it came; a restart sends again what came after.",
        "a setting for short repeats; Kafka Connect's own default (offset.flush.interval.ms) is 60 s",
    ),
    _parameter(
        "cdc.restart_time",
        "2.9 s",
        "How long a connector that was killed takes until it sends again.",
        MEASURED + "kill -9 of a standalone worker that flushes offsets every second",
    ),
    _parameter(
        "design.attempts",
        "10",
        "How often an application tries a transaction that ends in 40001 or 40P01.",
        "YugabyteDB documentation, Transaction retries in YSQL",
    ),
    _parameter(
        "design.backoff",
        "2 ms",
        "The pause before the second attempt; it doubles with each further one.",
        "YugabyteDB documentation, Transaction retries in YSQL",
    ),
    _parameter(
        "design.think_time",
        "50 ms",
        "What an application does between reading a balance and writing it: checks, calls to other services.",
        "assumption: the order of one call to another service",
    ),
)

_BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


def parameter(name: str) -> Parameter:
    """Return one parameter. Raises KeyError for an unknown name."""
    return _BY_NAME[name]


def default(name: str) -> int:
    """Return a default as the models use it: nanoseconds, parts per million, or a count."""
    return _BY_NAME[name].value
