"""The keys that the connectors are documented to have. Their jars are in no package registry, so they are not asked.

LOGICAL: YugabyteDB documentation, "YugabyteDB connector properties" (change data capture, using logical replication),
read in 2026-11; ``database.hostname`` may be a list there, and ``decimal.handling.mode`` knows no ``precise``
(yugabyte/debezium, PostgresConnectorConfig.java). It is the class ``YugabyteDBConnector``, based on Debezium 2.5.2.

GRPC: the same documentation, "YugabyteDB gRPC Connector", and the source yugabyte/debezium-connector-yugabytedb,
YugabyteDBConnectorConfig.java at vdz.1.9.5.yb.grpc.2026.1.1. It is based on Debezium 1.9.5.
"""

CONNECT = frozenset({"connector.class", "tasks.max", "name", "transforms"})
"""Keys of Kafka Connect itself; ``transforms.<name>.*`` belong to the transformation."""

LOGICAL = CONNECT | frozenset(
    {
        "binary.handling.mode",
        "column.exclude.list",
        "column.include.list",
        "database.dbname",
        "database.hostname",
        "database.initial.statements",
        "database.password",
        "database.port",
        "database.sslmode",
        "database.sslcert",
        "database.sslkey",
        "database.sslpassword",
        "database.sslrootcert",
        "database.tcpKeepAlive",
        "database.user",
        "decimal.handling.mode",
        "errors.max.retries",
        "event.processing.failure.handling.mode",
        "heartbeat.action.query",
        "heartbeat.interval.ms",
        "interval.handling.mode",
        "max.batch.size",
        "max.queue.size",
        "max.queue.size.in.bytes",
        "message.key.columns",
        "plugin.name",
        "poll.interval.ms",
        "provide.transaction.metadata",
        "publication.autocreate.mode",
        "publication.name",
        "replica.identity.autoset.values",
        "retriable.restart.connector.wait.ms",
        "schema.exclude.list",
        "schema.include.list",
        "skip.messages.without.change",
        "skipped.operations",
        "slot.drop.on.stop",
        "slot.lsn.type",
        "slot.max.retries",
        "slot.name",
        "slot.retry.delay.ms",
        "slot.stream.params",
        "snapshot.delay.ms",
        "snapshot.fetch.size",
        "snapshot.include.collection.list",
        "snapshot.mode",
        "status.update.interval.ms",
        "streaming.mode",
        "table.exclude.list",
        "table.include.list",
        "time.precision.mode",
        "tombstones.on.delete",
        "topic.prefix",
    }
)

LOGICAL_REQUIRED = frozenset(
    {
        "connector.class",
        "database.dbname",
        "database.hostname",
        "database.password",
        "database.user",
        "plugin.name",  # the page and the source disagree about the default
        "slot.name",
        "topic.prefix",
    }
)

LOGICAL_VALUES = {
    "plugin.name": {"pgoutput", "yboutput"},
    "publication.autocreate.mode": {"all_tables", "disabled", "filtered"},
    "snapshot.mode": {"never", "initial", "initial_only"},
    "decimal.handling.mode": {"double", "string"},
}

GRPC = CONNECT | frozenset(
    {
        "cdc.poll.interval.active.ms",
        "cdc.poll.interval.idle.ms",
        "cdc.poll.interval.ms",
        "column.exclude.list",
        "column.include.list",
        "database.dbname",
        "database.hostname",
        "database.master.addresses",
        "database.password",
        "database.port",
        "database.server.name",
        "database.sslcert",
        "database.sslkey",
        "database.sslmode",
        "database.sslrootcert",
        "database.streamid",
        "database.user",
        "decimal.handling.mode",
        "message.key.columns",
        "schema.exclude.list",
        "schema.include.list",
        "snapshot.include.collection.list",
        "snapshot.mode",
        "table.exclude.list",
        "table.include.list",
        "table.max.num.tablets",
        "tombstones.on.delete",
    }
)

GRPC_REQUIRED = frozenset(
    {
        "connector.class",
        "database.dbname",
        "database.hostname",
        "database.master.addresses",
        "database.password",
        "database.port",
        "database.server.name",
        "database.streamid",
        "database.user",
        "table.include.list",
    }
)

GRPC_VALUES = {
    "snapshot.mode": {"never", "initial", "initial_only"},
    "decimal.handling.mode": {"double", "string"},
}
