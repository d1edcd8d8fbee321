"""What every report says beside its numbers: the limits of the model, and the words it uses."""

from __future__ import annotations

CAVEATS: tuple[str, ...] = (
    "Everything ran in virtual time, on models of Kafka, PostgreSQL and YugabyteDB. No server was asked.",
    (
        "Each design ran once, on one workload with one seed. That shows what can happen. That something never happens"
        " is shown only where every order was tried, and only for these operations."
    ),
    "Nothing crashed: no broker, no node, no link fails in these runs. What a design does then is not shown.",
)
"""The three main ones, for the first page."""

LIMITS: tuple[tuple[str, str], ...] = (
    (
        "No failures",
        (
            "Brokers, database nodes, links and services stay up. The one exception is the connector of the change"
            " stream, which a scenario can restart. Failover, fencing of zombies and recovery are not exercised."
        ),
    ),
    (
        "One leader",
        (
            "All partitions of the stretched cluster, and all tablets of the database, have their leaders in"
            " one region, as a leader preference does. Placement of single tablets is not modelled."
        ),
    ),
    (
        "Time of work",
        (
            "A server's own work is a constant per statement or batch. Disks, CPUs and bandwidth do not fill up;"
            " queues form at locks, partitions, connections and consumers only."
        ),
    ),
    (
        "Network",
        (
            "A message takes half the round trip and a random part of the jitter. Messages of one connection stay in"
            " order. There is no loss."
        ),
    ),
    (
        "SQL",
        (
            "A subset: one table at a time, row locks, isolation levels, constraints. It answers all recorded cases as"
            " PostgreSQL 15.18 and 18.6 did. YugabyteDB's rules are read from its documentation and sources, and were"
            " not compared with a server."
        ),
    ),
    (
        "YugabyteDB",
        (
            "Only a serializable UPDATE reads and writes in separate steps; elsewhere a statement reads and writes its"
            " row at once at the leader, though its time is that of two calls. Locks are on rows, not on columns."
            " Clocks agree, so there are no read restarts."
        ),
    ),
    (
        "Kafka",
        (
            "Batches, fetches, groups, transactions and MirrorMaker follow documentation and measurements on loopback."
            " Broker quotas, rack awareness and log compaction beyond keeping the last record are left out."
        ),
    ),
    (
        "Asynchronous replication",
        "Rows of one transaction arrive together and all clocks agree. Real links promise less.",
    ),
    (
        "One hot key",
        (
            "The ceiling is measured by sending 20 withdrawals from one account at once, then 40 in a run of their own:"
            " what the 20 more take longer is their turn at the account. Where they take no longer no ceiling shows. It"
            " is a figure of the model, good for comparing designs, not a forecast."
        ),
    ),
    (
        "Overdrafts",
        (
            "Exact for withdrawals and deposits. With transfers the count is a lower bound, except in small runs, where"
            " all orders are tried."
        ),
    ),
)

GLOSSARY: tuple[tuple[str, str], ...] = (
    ("accepted, rejected", "The operation took effect; the rule refused it."),
    ("at-least-once", "Everything arrives, some of it twice: readers must ignore repeats."),
    ("belief", "The balance that a decider read, against what was true of everything decided so far."),
    ("contention", "Two operations on one account that overlapped, or of which neither had seen the other."),
    ("conservation", "Transfers neither create nor destroy money."),
    ("divergence", "Regions disagree on a balance after everything is quiet."),
    ("duplicate effect", "One accepted operation took effect more than once."),
    ("failed", "An error that guarantees that nothing took effect: a CHECK, or retries used up."),
    ("fate", "Accepted or rejected: what the client wants to know. Designs are compared by the time to it."),
    (
        "holds",
        "Every order of the same operations was tried, within the bounds that are named; none violates.",
    ),
    ("inconclusive", "Nothing was tested, or unknown outcomes decide: neither good nor bad."),
    (
        "last writer wins",
        "Of two concurrent writes the one with the later timestamp stays; the other vanishes.",
    ),
    (
        "lost update",
        "An accepted change that the final balance does not contain (P4 in Berenson et al., 1995).",
    ),
    ("none seen", "One run without a violation. That is evidence, not proof."),
    (
        "overdraft",
        "An accepted withdrawal that no order of the operations explains, if real time is respected.",
    ),
    ("own order", "The order that a design itself gives: offsets in a log, commits in a database."),
    (
        "read model",
        "Balances that a service keeps by following the change stream. It is right about the past.",
    ),
    ("recorded", "The client knows that its request is durable; its fate may still be open."),
    ("stale read", "A read that missed what had been acknowledged before it began."),
    ("unknown", "The client cannot know, after a timeout for example. Read charitably."),
    ("unexplained", "Money that no accepted operation accounts for. It must be zero."),
    ("violated", "There is a witness, and the replay line shows it again."),
    ("WAN round trip", "A message to another region and back."),
)
