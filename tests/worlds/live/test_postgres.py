"""The throw-away PostgreSQL: it answers, on loopback, and nothing of it stays, however it ends."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import asyncpg
import pytest

from arbsim.worlds.live import postgres
from arbsim.worlds.live.postgres import PREFIX, EmbeddedPostgres, PostgresUnavailable, installed
from arbsim.worlds.live.processes import reserved_ports, sweep
from tests.postgres import needs_postgres


@pytest.fixture(name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A temporary folder that other users can pass through, as a server that runs as nobody needs."""
    import tempfile

    with tempfile.TemporaryDirectory() as name, mock.patch.object(postgres, "_base", return_value=name):
        Path(name).chmod(0o755)
        yield Path(name)


def ask(dsn: str, sql: str) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(fetch())


@contextmanager
def closed(programs: Path, folder: Path) -> Iterator[None]:
    """Let the wheel's programs lie in a folder that only its owner can enter."""
    package = programs.parent
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), folder / name, symlinks=True)
    with mock.patch.object(postgres, "installed", return_value=folder / package.name / programs.name):
        yield


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has: its parent just has not asked yet)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


@needs_postgres
def test_it_answers_with_the_settings_asked_for_and_leaves_nothing(folder: Path) -> None:
    with EmbeddedPostgres({"deadlock_timeout": "7ms"}) as server:
        pid = server.child.pid
        assert ask(server.dsn, "SHOW deadlock_timeout") == "7ms"
        assert ask(server.dsn, "SHOW listen_addresses") == "127.0.0.1"
        assert len(list(folder.iterdir())) == 1
    assert gone(pid)
    assert list(folder.iterdir()) == []


@needs_postgres
@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_root_runs_a_copy_as_nobody_where_the_programs_lie_in_a_closed_folder(folder: Path) -> None:
    programs = installed()
    assert programs is not None
    (folder / "closed").mkdir(mode=0o700)
    with closed(programs, folder / "closed"), EmbeddedPostgres() as server:
        assert Path(f"/proc/{server.child.pid}").stat().st_uid != 0
        assert str(ask(server.dsn, "SHOW data_directory")).startswith(str(folder))


@needs_postgres
def test_nobody_gets_in_without_the_password(folder: Path) -> None:
    with EmbeddedPostgres() as server, pytest.raises(asyncpg.InvalidPasswordError):
        ask(server.dsn.replace(server.password, "guess"), "SELECT 1")


@pytest.fixture(name="cache")
def _cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@needs_postgres
def test_an_empty_database_is_made_once_and_each_server_has_a_copy_with_its_own_password(cache: Path) -> None:
    with EmbeddedPostgres() as first:
        ask(first.dsn, "CREATE TABLE t()")
    with (
        mock.patch.object(EmbeddedPostgres, "_initialise", side_effect=AssertionError),
        EmbeddedPostgres() as second,
    ):
        assert second.password != first.password
        assert ask(second.dsn, "SELECT to_regclass('t')") is None
        with pytest.raises(asyncpg.InvalidPasswordError):
            ask(second.dsn.replace(second.password, first.password), "SELECT 1")


@needs_postgres
def test_a_kept_database_of_which_a_part_was_removed_is_made_anew(cache: Path) -> None:
    with EmbeddedPostgres():
        pass
    (kept,) = (cache / "arbsim").iterdir()
    shutil.rmtree(kept / "base")
    with EmbeddedPostgres() as server:
        assert ask(server.dsn, "SELECT 1") == 1
    assert (kept / "base").is_dir()


@needs_postgres
def test_a_cache_that_cannot_be_written_costs_time_alone(cache: Path) -> None:
    (cache / "arbsim").touch()
    with EmbeddedPostgres() as server:
        assert ask(server.dsn, "SELECT 1") == 1


@needs_postgres
def test_a_server_that_does_not_start_is_told_with_its_own_words_and_leaves_nothing(folder: Path) -> None:
    with pytest.raises(PostgresUnavailable, match="unrecognized configuration parameter"):
        EmbeddedPostgres({"no_such_setting": "1"}).start()
    assert list(folder.iterdir()) == []


@needs_postgres
def test_a_port_that_another_takes_in_between_is_given_up_for_a_new_one(folder: Path) -> None:
    with EmbeddedPostgres() as first:
        ports = iter([nullcontext([first.port]), reserved_ports(1)])
        with (
            mock.patch.object(postgres, "reserved_ports", side_effect=lambda count: next(ports)),
            EmbeddedPostgres() as second,
        ):
            assert second.port != first.port
            assert ask(second.dsn, "SELECT 1") == 1


LAUNCHER = """
import sys
from unittest import mock
from arbsim.worlds.live import postgres
with mock.patch.object(postgres, "_base", lambda: sys.argv[1]), postgres.EmbeddedPostgres() as server:
    print(server.child.pid, flush=True)
    sys.stdin.read()
"""


@needs_postgres
@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is told on Linux only")
def test_a_killed_launcher_takes_the_server_with_it_and_the_next_start_sweeps_up(folder: Path) -> None:
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert launcher.stdin is not None
    assert launcher.stdout is not None
    with launcher, launcher.stdin, launcher.stdout:
        pid = int(launcher.stdout.readline())
        left = list(folder.iterdir())
        assert len(left) == 1
        sweep(PREFIX, str(folder))
        assert list(folder.iterdir()) == left  # in use
        launcher.kill()
        launcher.wait()
    server = os.pidfd_open(pid) if not gone(pid) else None
    if server is not None:
        import select

        assert select.select([server], [], [], 30)[0]  # readable once the process has ended
        os.close(server)
    assert gone(pid)
    sweep(PREFIX, str(folder))
    assert list(folder.iterdir()) == []


@needs_postgres
def test_an_interrupt_stops_the_server_and_removes_its_folder(folder: Path) -> None:
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert launcher.stdout is not None
    pid = int(launcher.stdout.readline())
    launcher.send_signal(signal.SIGINT)
    launcher.communicate()
    assert gone(pid)
    assert list(folder.iterdir()) == []


def test_without_the_wheel_the_message_says_what_to_install() -> None:
    with (
        mock.patch.object(postgres, "installed", return_value=None),
        pytest.raises(PostgresUnavailable, match=r"pip install 'arbsim\[live\]'"),
    ):
        EmbeddedPostgres().start()


def test_folders_of_others_are_not_swept(folder: Path) -> None:
    for name in ("arbsim-postgres-new", "something-else"):
        (folder / name).mkdir()  # the first has no lock yet: it is just being made
    (folder / "arbsim-postgres-link").symlink_to(folder / "something-else")
    sweep(PREFIX, str(folder))
    assert sorted(path.name for path in folder.iterdir()) == [
        "arbsim-postgres-link",
        "arbsim-postgres-new",
        "something-else",
    ]
