"""What every test shares.

Hypothesis draws the same examples everywhere, and takes the time it needs. It draws from the constants of the modules
that are loaded, too: all of ours are, so that no example depends on which tests ran before.

Whoever starts the tests in the background of a shell has Ctrl-C ignored, and commands inherit that: tests that
interrupt one would wait for ever.
"""

import importlib
import pkgutil
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

import arbsim

for module in pkgutil.walk_packages(arbsim.__path__, "arbsim."):
    if module.name != "arbsim.__main__":
        importlib.import_module(module.name)

signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "arbsim",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("arbsim")

TOGETHER = (
    "tests/live",
    "tests/test_shipped.py",
    "tests/browser",
    "tests/conform",
    "tests/sweep/test_run.py",
    "tests/test_history_file.py",
    "tests/test_runner.py",
    "tests/test_wheel.py",
    "tests/worlds/live/test_links.py",
)
"""Tests that share something costly, by the beginning of their names; those that take longest come first."""


class Together(LoadScopeScheduling):  # type: ignore[misc]  # without type information
    """Gives each place of TOGETHER to one process as a whole, and every other test by itself.

    The marks of xdist's own ``loadgroup`` get lost with pytest 9.2, without a word (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        turn = _turn(nodeid)
        return nodeid if turn == len(TOGETHER) else TOGETHER[turn]


def _turn(nodeid: str) -> int:
    """Which place of TOGETHER a test belongs to; one that belongs to none has its turn after them all."""
    return next((turn for turn, place in enumerate(TOGETHER) if nodeid.startswith(place)), len(TOGETHER))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Where tests run in several processes, this says who gets which."""
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: _turn(item.nodeid))
