"""A Dask cluster as workers: one that exists, or one that is started on this machine."""

from __future__ import annotations

import asyncio
import gc
import signal
from concurrent.futures import CancelledError, Executor
from contextlib import ExitStack
from typing import Any

from arbsim import __version__
from arbsim.sweep.executors import ClusterError
from arbsim.sweep.task import OtherVersion

LOCAL = "local"
CONNECT_S = 10
"""How long a scheduler may take to answer."""

WORKERS_S = 30
"""How long the first worker may take to be there."""

QUIET = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "1s"}
"""How a local cluster is told not to look at its workers' stacks a hundred times a second, and not to see fifty times
whether its own loops are late: that takes a worker a sixteenth of its time, and nobody is there to read it."""


class DaskCluster:
    """Workers of a cluster, through ``distributed.Client.get_executor()``."""

    def __init__(self, client: Any, cluster: Any = None) -> None:
        self._client = client
        self._cluster = cluster
        self._executor: Executor | None = None
        self.count = self._threads()

    def _threads(self) -> int:
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(worker["nthreads"] for worker in workers)

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many workers are there."""
        self._client.wait_for_workers(count, timeout=WORKERS_S)
        self.count = self._threads()

    def executor(self) -> Executor:
        """Return the client's executor. Dask itself starts a task again whose worker died."""
        if self._executor is None:
            self._executor = self._client.get_executor(pure=False)
        return self._executor

    def lost(self, error: BaseException) -> bool:
        """A task that Dask gave up (KilledWorker) takes no other with it.

        We cancel nothing, so a task that was cancelled was lost with the scheduler.
        """
        if self._client.status != "running" or isinstance(error, CancelledError | asyncio.CancelledError):
            raise ClusterError("the connection to the Dask scheduler was lost")
        return False

    def close(self) -> None:
        """Leave the cluster; a local one is stopped."""
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def connect(address: str, local_workers: int) -> DaskCluster:
    """Connect to a scheduler, or for "local" start a cluster of so many single-threaded processes.

    Raises ClusterError where nobody answers or there are no workers, and OtherVersion.
    """
    import distributed

    dask: Any = distributed  # without type information
    with ExitStack() as undo:
        cluster = None
        if address == LOCAL:
            cluster = _start_local(dask, local_workers)
            undo.callback(cluster.close)
        client = _client(dask, cluster or address, address)
        undo.callback(client.close)
        _check_workers(client, address)
        connected = DaskCluster(client, cluster)
        undo.pop_all()
    return connected


def _client(dask: Any, where: Any, address: str) -> Any:
    """Return a connected client. Raises ClusterError where nobody answers."""
    try:
        return dask.Client(where, timeout=CONNECT_S)
    except (OSError, ValueError, TimeoutError) as error:
        why = type(error).__name__
    # A client that failed to connect stops its event loop when it is collected. Collected while another client
    # starts, it waits for a lock that this one holds, for ever; so let it go now.
    gc.collect()
    raise ClusterError(f"no Dask scheduler answers at {address} ({why})")


def _start_local(dask: Any, workers: int) -> Any:
    """Start a cluster of processes of this machine, which leave Ctrl-C to their parent."""
    from dask import config

    theirs = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with config.set(QUIET):
            # Loopback only; any free port for its HTTP server, so that two sweeps do not meet.
            return dask.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs="CRITICAL",
            )
    finally:
        signal.signal(signal.SIGINT, theirs)


def _check_workers(client: Any, address: str) -> None:
    """Check that there are workers, and that they have this version of arbsim."""
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except TimeoutError:
        raise ClusterError(f"the Dask scheduler at {address} has no workers") from None
    try:
        versions = client.run(worker_version)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"[:200]
        raise ClusterError(f"the workers at {address} cannot run arbsim ({what})") from None
    for version in versions.values():
        if version != __version__:
            raise OtherVersion(__version__, version)


def worker_version() -> str:
    """Return the version of arbsim where this runs."""
    return __version__
