"""Child processes that never outlive arbsim: PostgreSQL, brokers, MirrorMaker, Connect, relays, a region's services.

Each child is a session of its own, so Ctrl-C at the terminal reaches arbsim alone, and asks the kernel to be killed
when arbsim dies, however it dies. What it prints goes to one log file in its folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

_LOCK = "lock"
_LOG_READ = 100_000
_LOG_TAIL = 3000

# Runs in a fresh interpreter before the program takes its place (prctl 1 is PR_SET_PDEATHSIG; changing the user clears
# it, so it comes last). The parent may have died before the wish was heard, so it is looked for once more.
_BECOME = """
import ctypes, os, sys
parent, wish, user, group = map(int, sys.argv[1:5])
os.setsid()
libc = ctypes.CDLL(None)
if user >= 0:
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
if sys.platform == "linux":
    libc.prctl(1, wish, 0, 0, 0)
if os.getppid() != parent:
    os._exit(1)
os.execvp(sys.argv[5], sys.argv[5:])
"""


class ServerUnavailable(Exception):
    """A server that did not start, does not answer, or went away; the text has the end of its log."""


class Child:
    """One process. Start it from the main thread, or from one that lives as long as the child is to.

    ``quits``: it ends in order on SIGQUIT, as PostgreSQL does, and gets that where others get SIGTERM, and SIGKILL when
    arbsim dies. ``owner`` is the user and the group that it runs as, ``folder`` where it runs; arbsim's own where they
    are None, as is the ``environment``.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str | Path],
        log: Path,
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
        quits: bool = False,
        owner: tuple[int, int] | None = None,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._asked_by = signal.SIGQUIT if quits else signal.SIGTERM
        wish = signal.SIGQUIT if quits else signal.SIGKILL
        become = [str(number) for number in (os.getpid(), int(wish), *(owner or (-1, -1)))]
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BECOME, *become, *map(str, arguments)],
                stdin=stdin,
                stdout=file if stdout is None else stdout,
                stderr=file,
                cwd=folder,
                env=environment,
            )

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
        """The end of what it printed, without the frames of Java's stacks: they would hide what was said."""
        try:
            printed = self.log.read_bytes()[-_LOG_READ:].decode("utf-8", "replace")
        except OSError:
            printed = ""
        said = "\n".join(line for line in printed.splitlines() if not line.startswith("\tat "))
        return said[-_LOG_TAIL:].strip() or "(it printed nothing)"

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask it to end, and kill it where it does not."""
        if self.process.poll() is None:
            self.process.send_signal(self._asked_by)
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


@contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Keep that many different ports of 127.0.0.1 for servers that are started within.

    A free port may be anybody's a moment later, also as the near end of a connection. On Linux these are bound, which
    keeps others away, and a server that sets SO_REUSEADDR, as all of ours do, can listen on them all the same.
    Elsewhere two sockets cannot have one port, so there they are free and no more.
    """
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            if sys.platform == "linux":
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
        ports = [int(one.getsockname()[1]) for one in taken]
        if sys.platform != "linux":
            stack.close()
        yield ports


@contextmanager
def locked_folder(prefix: str, base: str | None = None) -> Iterator[Path]:
    """A temporary folder, gone at the end; after a kill the next one with this prefix sweeps it up.

    It is locked for as long as this process lives, so that two runs at once leave each other's alone. It lies in
    ``base``, or in the system's temporary folder.
    """
    base = base or tempfile.gettempdir()
    sweep(prefix, base)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    try:
        with _held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _held(folder: Path) -> IO[bytes]:
    """Lock a folder. The lock appears under its name only when it is held."""
    import fcntl

    aside = folder / f"{_LOCK}.new"
    lock = aside.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    aside.rename(folder / _LOCK)
    return lock


def sweep(prefix: str, base: str) -> None:
    """Remove the folders of runs that were killed. One that is in use is locked; one without a lock is just made."""
    import fcntl

    for folder in Path(base).glob(f"{prefix}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, or just gone
