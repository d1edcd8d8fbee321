"""What a connector is told is kept in a topic, so the password is not in it."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from arbsim.worlds.live.connect import Connect, _escaped
from arbsim.worlds.live.database import DatabaseServer
from arbsim.worlds.live.java import Java


class Asked(Connect):
    """A worker that only notes what it is asked."""

    def __init__(self, home: Path) -> None:
        super().__init__(cast(Java, None), "127.0.0.1:1", "group", home, 1, "at least once", 1000)
        self.told: list[Mapping[str, str]] = []

    async def _until(self, ask: Any, enough: Any) -> None:
        ask()

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        if body is not None:
            self.told.append(body)


def test_the_connector_is_told_a_file_of_ours_that_nobody_else_can_read(tmp_path: Path) -> None:
    worker = Asked(tmp_path)
    source = DatabaseServer("host", 1, "me", "data", "undisclosed", "verify-ca")
    asyncio.run(worker.follow("run", source, "schema.acct", "topic", 10))
    (told,) = worker.told
    secret = tmp_path / "secret.properties"
    assert told["database.password"] == f"${{file:{secret}:password}}"
    assert told["database.sslmode"] == "verify-ca"
    assert "undisclosed" not in str(told)
    assert secret.stat().st_mode & 0o077 == 0


@given(st.text())
def test_a_password_comes_back_from_a_properties_file_whatever_is_in_it(password: str) -> None:
    escaped = _escaped(password)
    assert re.fullmatch(r"(\\u[0-9a-f]{4})*", escaped)
    units = bytes.fromhex(escaped.replace("\\u", ""))
    assert units.decode("utf-16-be") == password
