"""Schemas that a killed run has left on a server. Each has a lock, held while it is in use; the next run drops it."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Any

import asyncpg

_PREFIX = "arbsim_conform_"
_LEFT = "SELECT nspname FROM pg_namespace WHERE nspname ~ $1"
_OURS = f"^{_PREFIX}[0-9a-f]{{12}}$"
_LOCK = f"(hashtext('{_PREFIX}'), hashtext($1))"


def new_schema() -> str:
    """A name that no other run has."""
    return _PREFIX + secrets.token_hex(6)


async def claim(connection: Any, schema: str) -> None:
    """Hold the schema's lock for as long as the connection lives."""
    with suppress(asyncpg.PostgresError):  # YugabyteDB may have no advisory locks: then nobody drops anything
        await connection.fetchval(f"SELECT pg_advisory_lock{_LOCK}", schema)


async def drop_leftovers(connection: Any) -> None:
    """Drop every schema whose lock is free. One that resists stays for the next run."""
    for (schema,) in await connection.fetch(_LEFT, _OURS):
        with suppress(asyncpg.PostgresError):
            if await connection.fetchval(f"SELECT pg_try_advisory_lock{_LOCK}", schema):
                try:
                    await connection.execute(f"SET LOCAL lock_timeout = '1s'; DROP SCHEMA {schema} CASCADE")
                finally:
                    await connection.fetchval(f"SELECT pg_advisory_unlock{_LOCK}", schema)
