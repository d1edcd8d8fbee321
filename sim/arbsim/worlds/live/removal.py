"""Removes from servers all that has a prefix in its name: slots, publications, schemas with their tables, topics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from arbsim.worlds.live.database import DatabaseServer, told
from arbsim.worlds.live.endings import quietly
from arbsim.worlds.live.processes import ServerUnavailable
from arbsim.worlds.live.security import NO_SECURITY, KafkaSecurity

_POLL_S = 0.2
_POLL_MOST_S = 5.0
_REQUEST_TIMEOUT_S = 15.0


async def remove(
    prefix: str,
    database: DatabaseServer | None,
    clusters: Mapping[str, str],
    security: KafkaSecurity = NO_SECURITY,
    *,
    limit_s: float,
    clean_rounds: int = 1,
) -> list[str]:
    """Remove what is there until nothing is; return what still is when the time is over, and why where that is known.

    ``clean_rounds``: how often in a row nothing must be there, where something may still be coming.
    """
    deadline = time.monotonic() + limit_s
    clean = 0
    pause_s = _POLL_S
    while True:
        left = [one async for one in _round(prefix, database, clusters, security)]
        clean = 0 if left else clean + 1
        if clean >= clean_rounds or time.monotonic() > deadline:
            return left
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.2, _POLL_MOST_S)


async def _round(
    prefix: str, database: DatabaseServer | None, clusters: Mapping[str, str], security: KafkaSecurity
) -> AsyncIterator[str]:
    """Remove what can be removed now; tell all that was there, and what could not be asked."""
    if database is not None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                for one in await _from_database(prefix, database):
                    yield one
        except ServerUnavailable as error:
            yield str(error)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            yield f"{database}: {told(error)}"
    for region, address in clusters.items():
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                for topic in await _from_cluster(prefix, address, security):
                    yield f"topic {topic} of Kafka {region} at {address}"
        except (KafkaError, OSError, TimeoutError) as error:
            yield f"Kafka {region} at {address}: {type(error).__name__}"


# starts_with, not LIKE: the underscore of a prefix would stand for any letter. A slot that somebody reads and a schema
# whose tables somebody uses cannot be dropped, so who is connected on behalf of the prefix is disconnected before.
_DISCONNECT = (
    (
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
        " WHERE active_pid IS NOT NULL AND starts_with(slot_name::text, $1)"
    ),
    (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND starts_with(application_name, $1)"
    ),
)
_KINDS = {
    "replication slot": (
        "SELECT slot_name::text FROM pg_replication_slots WHERE starts_with(slot_name::text, $1)",
        "SELECT pg_drop_replication_slot('{}')",
    ),
    "publication": (
        "SELECT pubname::text FROM pg_publication WHERE starts_with(pubname::text, $1)",
        "DROP PUBLICATION {}",
    ),
    "schema": (
        "SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname::text, $1)",
        "DROP SCHEMA {} CASCADE",
    ),
}


_NO_SUCH_THING = (
    asyncpg.FeatureNotSupportedError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
)
"""A server that has no such thing has none of ours either: YugabyteDB grew slots and publications late."""


async def _from_database(prefix: str, database: DatabaseServer) -> list[str]:
    connection = await database.connect()
    found = []
    try:
        await connection.execute("SET lock_timeout = '2s'; SET client_min_messages = error")
        for statement in _DISCONNECT:
            with suppress(*_NO_SUCH_THING):
                await connection.fetch(statement, prefix)
        for kind, (there, drop) in _KINDS.items():
            with suppress(*_NO_SUCH_THING):
                for (name,) in await connection.fetch(there, prefix):
                    failed = await _dropped(connection, drop.format(name))
                    found.append(f"{kind} {name} of {database}{failed}")
    finally:
        await quietly(connection.close)
    return found


async def _dropped(connection: asyncpg.Connection, statement: str) -> str:
    """Drop something; return why it cannot be, or nothing."""
    try:
        await connection.execute(statement)
    except asyncpg.PostgresError as error:
        return f" ({told(error)})"
    return ""


async def _from_cluster(prefix: str, address: str, security: KafkaSecurity) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address, **security.client())
    try:
        await admin.start()
        found = sorted(topic for topic in await admin.list_topics() if prefix in topic)
        if found:
            await admin.delete_topics(found)
        return found
    finally:
        await quietly(admin.close)
