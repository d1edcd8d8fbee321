"""What every test shares.

Hypothesis draws the same examples everywhere, and takes the time it needs. It draws from the constants of the modules
that are loaded, too: all of ours are, so that no example depends on which tests ran before.

Whoever starts the tests in the background of a shell has Ctrl-C ignored, and commands inherit that: tests that
interrupt one would wait for ever.
"""

import importlib
import pkgutil
import signal

import pytest
from hypothesis import HealthCheck, settings

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
    "tests/browser",
    "tests/conform",
    "tests/live",
    "tests/sweep/test_run.py",
    "tests/test_history_file.py",
    "tests/test_runner.py",
    "tests/test_shipped.py",
    "tests/test_wheel.py",
    "tests/worlds/live/test_links.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in several processes, those that share something costly stay in one."""
    for item in items:
        for place in TOGETHER:
            if item.nodeid.startswith(place):
                item.add_marker(pytest.mark.xdist_group(place))
