"""Children die with arbsim, however it dies, and their folders are swept up."""

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from arbsim.worlds.live.processes import Child, ServerUnavailable, locked_folder, reserved_ports, sweep

SLEEPER = [sys.executable, "-c", "import time; time.sleep(1000)"]


@pytest.mark.skipif(sys.platform != "linux", reason="the wish to die with the parent is Linux's")
def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    up = tmp_path / "up"
    os.mkfifo(up)
    sleeper = [sys.executable, "-c", f"import time; open({str(up)!r}, 'w').write('x'); time.sleep(1000)"]
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from arbsim.worlds.live.processes import Child\n"
        f"child = Child('sleeper', {sleeper!r}, Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        up.read_text()  # returns when the child has become its program
        parent.send_signal(signal.SIGKILL)
    ended, _, _ = select.select([child], [], [], 60)
    os.close(child)
    assert ended


def test_a_child_that_ended_tells_the_end_of_its_log(tmp_path: Path) -> None:
    child = Child("the broker", [sys.executable, "-c", "raise SystemExit('no disk')"], tmp_path / "log")
    child.process.wait()
    with pytest.raises(ServerUnavailable, match="the broker ended with status 1:\nno disk"):
        child.check()


def test_a_killed_child_is_gone_at_once_and_can_be_killed_again(tmp_path: Path) -> None:
    child = Child("the broker", SLEEPER, tmp_path / "log")
    child.kill()
    child.kill()
    assert child.process.returncode == -signal.SIGKILL


def test_reserved_ports_are_different_and_kept_for_servers_of_ours() -> None:
    with reserved_ports(20) as ports:
        assert len(set(ports)) == 20
        with socket.create_server(("127.0.0.1", ports[0])):
            socket.create_connection(("127.0.0.1", ports[0])).close()
        if sys.platform == "linux":
            with socket.socket() as somebody, pytest.raises(OSError, match="in use"):
                somebody.bind(("127.0.0.1", ports[1]))


def test_a_folder_in_use_is_left_alone_and_one_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    with locked_folder("tested-", str(tmp_path)) as used:
        abandoned = tmp_path / "tested-abandoned"
        abandoned.mkdir()
        (abandoned / "lock").touch()
        sweep("tested-", str(tmp_path))
        assert used.exists()
        assert not abandoned.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_never_seen_with_a_lock_that_nobody_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def sweeping(lock: IO[bytes], how: int) -> None:
        if how == fcntl.LOCK_EX:
            sweep("tested-", str(tmp_path))  # another run starts at this very moment
        flock(lock, how)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", sweeping)
    with locked_folder("tested-", str(tmp_path)) as folder:
        assert folder.exists()
