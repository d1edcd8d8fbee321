"""Child processes that never outlive arbsim: brokers, MirrorMaker, Connect, relays, a region's services.

Each child is a session of its own, so Ctrl-C at the terminal reaches arbsim alone, and asks the kernel to be killed
when arbsim dies, however it dies. What it prints goes to one log file in its folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Self

_PREFIX = "arbsim-live-"
_LOCK = "lock"
_LOG_TAIL = 3000
_POLL_S = 0.02

# Runs in a fresh interpreter before the program takes its place (prctl 1 is PR_SET_PDEATHSIG). The parent may have
# died before the wish was heard, so it is looked for once more.
_BECOME = """
import ctypes, os, signal, sys
os.setsid()
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class ServerUnavailable(Exception):
    """A server that did not start, does not answer, or went away; the text has the end of its log."""


class Child:
    """One process. Start it from the main thread, or from one that lives as long as the child is to."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str | Path],
        log: Path,
        *,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        stdout: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid()), *map(str, arguments)],
                stdin=stdin,
                stdout=file if stdout is None else stdout,
                stderr=file,
                env=dict(environment) if environment is not None else None,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def check(self) -> None:
        """Raise ServerUnavailable, with the end of the log, where the process has gone."""
        code = self.process.poll()
        if code is not None:
            raise ServerUnavailable(f"{self.name} ended with status {code}:\n{self.tail()}")

    def tail(self) -> str:
        """The end of what it printed."""
        try:
            return self.log.read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace").strip()
        except OSError:
            return "(it printed nothing)"

    def wait_for_port(self, port: int, timeout_s: float) -> None:
        """Return once somebody listens on a port of 127.0.0.1. Raises ServerUnavailable."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 0.5).close()
                return
            except OSError:
                self.check()
                time.sleep(_POLL_S)
        raise ServerUnavailable(
            f"{self.name} does not listen on 127.0.0.1:{port} after {timeout_s:g} s:\n{self.tail()}"
        )

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask it to end (SIGTERM), and kill it where it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does. Can be called again."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def free_ports(count: int) -> list[int]:
    """Return that many different ports of 127.0.0.1 that nobody listens on at this moment."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in taken]


@contextmanager
def work_folder() -> Iterator[Path]:
    """A temporary folder for one stack of servers, gone at the end; after a kill the next start removes it.

    It is locked for as long as this process lives, so that two runs at once leave each other's alone.
    """
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    with (folder / _LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Remove the folders of runs that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            status = folder.lstat()
            fresh = time.time() - status.st_mtime < 5 and not (folder / _LOCK).exists()
            if folder.is_symlink() or status.st_uid != os.geteuid() or fresh:
                continue
            with (folder / _LOCK).open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, or just gone
