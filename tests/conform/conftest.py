"""One throw-away PostgreSQL for all tests of this folder, started when the first of them asks."""

from collections.abc import Iterator

import pytest

from arbsim.worlds.live.postgres import EmbeddedPostgres
from tests.postgres import skip_without_postgres


@pytest.fixture(name="dsn", scope="session")
def _dsn() -> Iterator[str]:
    skip_without_postgres()
    with EmbeddedPostgres() as server:
        yield server.dsn
