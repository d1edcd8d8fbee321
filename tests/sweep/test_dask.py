"""A sweep on a real Dask cluster: a scheduler and workers that are processes of their own, on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from arbsim import __version__
from arbsim.sweep.dask import DaskCluster, connect
from arbsim.sweep.executors import ClusterError
from arbsim.sweep.report import write_sweep
from arbsim.sweep.run import Progress
from arbsim.sweep.task import OtherVersion
from tests.sweep.support import documents, swept, tiny_plan

# Dask's client keeps an event loop in a thread; what it leaves to the garbage collector is not ours to mend.
pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[2]
MANY = "{vary: {kafka.mirror_lag: [0 ms, 100 ms], workload.rate: [2/s, 50/s]}, replications: 12}"


@contextmanager
def process(*arguments: str, preload: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    extra = () if preload is None else ("--preload", str(preload))
    started = subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments, *extra],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "31"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


@pytest.fixture
def scheduler() -> Iterator[str]:
    """The address of a scheduler on loopback, without workers."""
    with process("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard") as started:
        assert started.stderr is not None
        for line in started.stderr:
            if "Scheduler at:" in line:
                yield line.split()[-1]
                return
        raise AssertionError("the scheduler did not begin")


@contextmanager
def worker(scheduler: str, preload: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
    with process("worker", scheduler, *options, preload=preload) as started:
        yield started


@contextmanager
def connected(scheduler: str, workers: int) -> Iterator[DaskCluster]:
    cluster = connect(scheduler, 0)
    try:
        cluster.wait_for_workers(workers)
        yield cluster
    finally:
        cluster.close()


def test_two_workers_of_which_one_is_killed_in_the_middle_give_the_same_bytes(
    scheduler: str, tmp_path: Path
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    write_sweep(swept(tiny_plan(MANY), alone), alone)
    with worker(scheduler) as first, worker(scheduler), connected(scheduler, 2) as cluster:
        assert cluster.count == 2

        def kill_one(progress: Progress) -> None:
            if 10 <= progress.done < progress.planned:
                first.kill()

        results = swept(tiny_plan(MANY), together, cluster, kill_one)
        assert first.poll() is not None or first.wait() != 0
    write_sweep(results, together)
    assert results.failed == ()
    assert documents(together) == documents(alone)


def test_workers_of_another_version_are_refused_with_both(scheduler: str, tmp_path: Path) -> None:
    preload = tmp_path / "older.py"
    preload.write_text("import arbsim\narbsim.__version__ = '0.0.9'\n", encoding="utf-8")
    with worker(scheduler, preload), pytest.raises(OtherVersion) as raised:
        connect(scheduler, 0)
    assert (raised.value.ours, raised.value.workers) == (__version__, "0.0.9")


def test_a_scheduler_without_workers_is_told(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arbsim.sweep.dask.WORKERS_S", 1)
    with pytest.raises(ClusterError, match="has no workers"):
        connect(scheduler, 0)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "tcp://", "local:"])
def test_an_address_where_nobody_answers_is_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arbsim.sweep.dask.CONNECT_S", 1)
    with pytest.raises(ClusterError, match="no Dask scheduler answers"):
        connect(address, 0)


def test_a_scheduler_that_goes_away_ends_the_sweep_and_loses_nothing(tmp_path: Path) -> None:
    with process("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard") as started:
        assert started.stderr is not None
        address = next(line.split()[-1] for line in started.stderr if "Scheduler at:" in line)
        with worker(address), connected(address, 1) as cluster:

            def kill_scheduler(progress: Progress) -> None:
                if progress.done >= 10:
                    started.kill()

            with pytest.raises(ClusterError, match="lost"):
                swept(tiny_plan(MANY), tmp_path, cluster, kill_scheduler)
    assert swept(tiny_plan(MANY), tmp_path).failed == ()
