"""The runs of a sweep on disk: appended line by line, so that whatever ends a sweep loses no finished run.

The first line names the version and the digest of the scenario. Every other line is one replication of one
point. A line that was being written when the machine stopped is cut off when the sweep goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Self

from arbsim.files import whole
from arbsim.sweep.plan import Setting
from arbsim.sweep.task import Record

FILE = "runs.jsonl"
FORMAT = 1

Place = tuple[int, int]
"""Point and replication."""


class StoreError(Exception):
    """The runs on disk are not those of this sweep, are damaged, or belong to somebody else; the text says which."""


class Store:
    """The finished runs of one sweep. Use it as a context manager: it keeps others from the same folder."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        """Open the runs of a folder, or begin them. Raises StoreError, and OSError where it cannot be written."""
        self.path = folder / FILE
        self.records: dict[Place, Record] = {}
        self._header = {"sweep": FORMAT, "arbsim": setting.version, "identity": setting.identity}
        folder.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = self.path.open("a+b")
        try:
            _lock(self._file, self.path)
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, done: Iterable[tuple[Place, Record]]) -> None:
        """Append finished runs; they are on the disk when this returns."""
        new = dict(done)
        self._append(_line(place, record) for place, record in new.items())
        self.records |= new

    def _append(self, lines: Iterable[str]) -> None:
        self._file.write("".join(lines).encode("ascii"))
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self) -> None:
        """Put the runs in order, so that the file does not depend on who finished first."""
        with whole(self.path) as file:
            file.write(self._first_line())
            file.writelines(_line(place, self.records[place]) for place in sorted(self.records))

    def _read(self) -> None:
        self._file.seek(0)
        good = 0
        broken_line = 0
        for number, line in enumerate(self._file, 1):
            parsed = _parsed(line)
            if broken_line and parsed is not None:
                raise StoreError(
                    f"{self.path}:{broken_line}: the line is damaged; move the file away to begin anew"
                )
            if number == 1:
                self._check(line, parsed or {})
            if parsed is None:
                broken_line = broken_line or number
                continue
            if number > 1:
                self.records[parsed["point"], parsed["replication"]] = parsed["designs"]
            good += len(line)
        self._file.truncate(good)
        if good == 0:
            self._append([self._first_line()])

    def _first_line(self) -> str:
        return json.dumps(self._header) + "\n"

    def _check(self, line: bytes, header: dict[str, Any]) -> None:
        """Check the first line: ours, or what was being written of ours. Anything else is left as it is."""
        if header == self._header or self._first_line().encode("ascii").startswith(line):
            return
        if header.get("sweep") != FORMAT:
            raise StoreError(f"{self.path} holds no runs of a sweep; choose another folder with --out")
        theirs, ours = header.get("arbsim"), self._header["arbsim"]
        if theirs != ours:
            what = f"was begun by arbsim {theirs}, and this is {ours}"
        else:
            what = "was begun with another scenario (other values, designs or seed)"
        raise StoreError(
            f"the sweep in {self.path} {what}: its runs cannot be mixed with new ones; "
            "choose another folder with --out, or delete that file"
        )


def _line(place: Place, record: Record) -> str:
    point, replication = place
    row = {"point": point, "replication": replication, "designs": record}
    return json.dumps(row, ensure_ascii=True, separators=(",", ":")) + "\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return a line's object; None where it is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep the file to ourselves until it is closed, where the system can do that."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise StoreError(f"another sweep is writing {path}; wait for it, or choose another folder") from None
