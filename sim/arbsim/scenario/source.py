"""Files and positions: reading a file that may be anything, and finding the place of a character in it."""

from __future__ import annotations

import os
import re
import stat
import sys
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from arbsim.scenario.mistakes import Mistake, ScenarioError

SCENARIO_BYTES_MAX = 1_000_000
"""A longer workload belongs into a CSV trace."""

STDIN = "<stdin>"

# What YAML 1.2 calls printable, section 5.1, without the byte order mark.
_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_LINE_END = re.compile("\r\n|\r|\n")


@dataclass(frozen=True)
class Source:
    """A text and the name it goes by. Offsets count characters of ``text``."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINE_END.finditer(self.text))]

    def place(self, offset: int) -> tuple[int, int]:
        """Return the line and the column of a character; both count from 1."""
        offset = min(max(offset, 0), len(self.text))
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def mistake(self, code: str, start: int, end: int, message: str, hint: str = "") -> Mistake:
        """Return a mistake about the characters from ``start`` to ``end``."""
        line, column = self.place(start)
        first = self._line_starts[line - 1]
        ending = _LINE_END.search(self.text, first)
        excerpt = self.text[first : ending.start() if ending else len(self.text)]
        width = max(1, min(end - start, len(excerpt) - column + 1))
        return Mistake(code, self.name, line, column, message, excerpt, width, hint)


def read_source(path: Path | str, bytes_max: int = SCENARIO_BYTES_MAX) -> Source:
    """Read a text file, or standard input for "-".

    Raises ScenarioError where the path is no regular file, is too large, cannot be read or is not text.
    """
    name = STDIN if str(path) == "-" else str(path)
    data = sys.stdin.buffer.read(bytes_max + 1) if name == STDIN else _read_file(Path(path), name, bytes_max)
    if len(data) > bytes_max:
        raise ScenarioError([_too_large(name, bytes_max)])
    return decode(name, data)


def decode(name: str, data: bytes) -> Source:
    """Return bytes as text. Raises ScenarioError where they are not UTF-8 or hold control characters."""
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        good = Source(name, data[: error.start].removeprefix(b"\xef\xbb\xbf").decode("utf-8"))
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        hint = "save the file as UTF-8"
        raise ScenarioError(
            [good.mistake("E102", len(good.text), len(good.text) + 1, message, hint)]
        ) from None
    source = Source(name, text)
    bad = _NOT_TEXT.search(text)
    if bad:
        message = f"the character U+{ord(bad.group()):04X} cannot stand in a text file"
        raise ScenarioError([source.mistake("E102", bad.start(), bad.end(), message, "remove it")])
    return source


def _read_file(path: Path, name: str, bytes_max: int) -> bytes:
    try:
        # Without O_NONBLOCK opening a FIFO waits for a writer, perhaps for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise ScenarioError([Mistake("E101", name, 0, 0, _why(error))]) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            what = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise ScenarioError([Mistake("E101", name, 0, 0, f"this is {what}; a file was expected")])
        if status.st_size > bytes_max:
            raise ScenarioError([_too_large(name, bytes_max)])
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(bytes_max + 1)
    except OSError as error:
        raise ScenarioError([Mistake("E101", name, 0, 0, _why(error))]) from None
    finally:
        os.close(descriptor)


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read: {error.strerror}"
    return "it cannot be read: this is not a path"


def _too_large(name: str, bytes_max: int) -> Mistake:
    message = f"the file is larger than {bytes_max:,} bytes"
    hint = "put a long list of operations into a CSV file and name it in workload.trace"
    return Mistake("E101", name, 0, 0, message, hint=hint if bytes_max == SCENARIO_BYTES_MAX else "")
