"""Java's programs: what goes wrong with them is told as a server's problem."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from arbsim.worlds.live import java
from arbsim.worlds.live.processes import ServerUnavailable


def test_a_tool_that_does_not_end_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(command: Any, **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(ServerUnavailable, match=r"kafka\.tools\.StorageTool was not done within 120 s"):
        java.run_tool(java.Java("java", "17", Path()), "kafka.tools.StorageTool", [])


def test_the_jars_are_fetched_in_the_versions_that_the_report_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[str]] = []

    def maven(command: list[str], cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        for part in ("libs", "plugins"):
            (cwd / part).mkdir()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", maven)
    folder = java.fetch()
    assert sorted(path.name for path in folder.iterdir()) == ["libs", "plugins"]
    assert f"-Dkafka.version={java.KAFKA_VERSION}" in asked[0]
    assert f"-Ddebezium.version={java.DEBEZIUM_VERSION}" in asked[0]
