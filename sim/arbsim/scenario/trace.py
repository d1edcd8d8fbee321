"""Recorded operations from a CSV file: at or at_ms, region, kind, account, to_account, amount."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic_core import PydanticCustomError

from arbsim.model import Kind, Operation
from arbsim.scenario.mistakes import MISTAKES_MAX, Mistake, ScenarioError, nearest
from arbsim.scenario.names import Names
from arbsim.scenario.nodes import Node
from arbsim.scenario.quantities import INT64_MAX, Duration, Money, Whole, fault
from arbsim.scenario.source import Source, read_source
from arbsim.scenario.values import OPERATIONS_MAX
from arbsim.scenario.workloads import Trace, check_target

TRACE_BYTES_MAX = 100_000_000
COLUMNS = ("at", "at_ms", "region", "kind", "account", "to_account", "amount")
_REQUIRED = ("region", "kind", "account")
_DURATION = Duration()
_AMOUNT = Money(at_least=1)
_ACCOUNT = Whole(at_least=1, at_most=INT64_MAX)
_KINDS = {kind.value: kind for kind in Kind}


def load_trace(
    file: str, folder: Path, scenario: Source, node: Node, names: Names
) -> tuple[Trace | None, list[Mistake]]:
    """Read a trace beside the scenario. Returns it, or None and everything that is wrong."""
    relative = PurePosixPath(file)
    if relative.is_absolute() or ".." in relative.parts or "\\" in file or _leads_away(folder, file):
        message = "a trace lies beside the scenario or below it"
        return None, [
            scenario.mistake("E112", node.start, node.end, message, "write a relative path without ..")
        ]
    try:
        source = read_source(folder / file, TRACE_BYTES_MAX)
    except ScenarioError as error:
        unread = [mistake for mistake in error.mistakes if not mistake.line]
        told = [
            scenario.mistake("E101", node.start, node.end, f"the trace cannot be used: {mistake.message}")
            for mistake in unread
        ]
        return None, told or list(error.mistakes)
    reader = _Reader(source, names)
    operations = reader.read()
    if reader.mistakes:
        return None, reader.mistakes
    digest = hashlib.sha256(source.text.encode()).hexdigest()
    return Trace(file, digest, operations), []


def _leads_away(folder: Path, file: str) -> bool:
    """Return whether a link takes the file out of the folder: mistakes echo lines, so none may be read there."""
    try:
        return not (folder / file).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        return True


@dataclass(frozen=True, slots=True)
class _Cell:
    """One value and where it stands."""

    text: str
    start: int


class _Reader:
    """Reads rows and notes what is wrong with them; each cell that cannot be read is told once."""

    def __init__(self, source: Source, names: Names) -> None:
        self.source = source
        self.names = names
        self.mistakes: list[Mistake] = []
        self._columns: tuple[str, ...] = ()
        self._seen: dict[str, Kind | str | int] = {}

    def read(self) -> tuple[Operation, ...]:
        """Return the operations in order of time; rows of the same time keep their order."""
        lines = _lines(self.source.text)
        _, header = next(lines, (0, ""))
        self._read_header(header)
        rows: list[Operation] = []
        for start, line in lines:
            if len(self.mistakes) >= MISTAKES_MAX:
                return ()
            if not line.strip():
                continue
            if len(rows) >= OPERATIONS_MAX:
                self._note("E111", start, start + len(line), f"more than {OPERATIONS_MAX:,} operations")
                return ()
            operation = self._read_row(start, line)
            if operation is not None:
                rows.append(operation)
        if not rows and not self.mistakes:
            self._note("E114", 0, 1, "the trace has no operations")
        rows.sort(key=attrgetter("at_ns"))
        return tuple(
            Operation(number, row.at_ns, row.region, row.kind, row.account, row.amount_cents, row.to_account)
            for number, row in enumerate(rows, 1)
        )

    def _note(self, code: str, start: int, end: int, message: str, hint: str = "") -> None:
        self.mistakes.append(self.source.mistake(code, start, end, message, hint))

    def _read_header(self, line: str) -> None:
        cells = _cells(0, line)
        self._columns = tuple(cell.text for cell in cells)
        for index, cell in enumerate(cells):
            if cell.text not in COLUMNS:
                message = f'unknown column "{cell.text[:60]}"'
                self._note(
                    "E108", cell.start, cell.start + len(cell.text), message, nearest(cell.text, COLUMNS)
                )
            elif cell.text in self._columns[:index]:
                self._note("E106", cell.start, cell.start + len(cell.text), "the column stands twice")
        missing = [name for name in _REQUIRED if name not in self._columns]
        if ("at" in self._columns) == ("at_ms" in self._columns):
            missing.append("at or at_ms (one of them)")
        if missing:
            hint = "the first line names the columns: at,region,kind,account,to_account,amount"
            self._note("E107", 0, len(line), f"no column {', '.join(missing)}", hint)
        if self.mistakes:
            # Rows cannot be read without their columns.
            self._columns = ()

    def _read_row(self, start: int, line: str) -> Operation | None:
        if not self._columns:
            return None
        texts = line.split(",")
        if len(texts) != len(self._columns) or '"' in line:
            have = "a quote" if '"' in line else f"{len(texts)} values"
            hint = "write values without quotes" if '"' in line else ""
            self._note(
                "E114", start, start + len(line), f"{len(self._columns)} values expected, {have} found", hint
            )
            return None
        row = dict(zip(self._columns, map(str.strip, texts), strict=True))
        before = len(self.mistakes)
        at_ns = self._value(start, line, row, "at" if "at" in row else "at_ms")
        region = self._value(start, line, row, "region")
        kind = self._value(start, line, row, "kind")
        account = self._value(start, line, row, "account")
        to_account = self._value(start, line, row, "to_account") if row.get("to_account") else None
        amount = self._value(start, line, row, "amount") if row.get("amount") else None
        if len(self.mistakes) > before:
            return None
        try:
            check_target(kind, account, to_account)
            if kind is Kind.READ and amount is not None:
                raise fault("E112", "a read has no amount")
            if kind is not Kind.READ and amount is None:
                raise fault("E107", f"a {kind} needs an amount")
        except PydanticCustomError as error:
            self._fault(error, start, start + len(line))
            return None
        return Operation(0, at_ns, region, kind, account, amount or 0, to_account)

    def _value(self, start: int, line: str, row: dict[str, str], column: str) -> Any:
        """Return a cell's value; texts repeat, so what they stand for is kept."""
        text = row[column]
        key = f"{column},{text}"
        known = self._seen.get(key)
        if known is None:
            try:
                known = self._parse(column, text)
            except PydanticCustomError as error:
                cell = _cells(start, line)[self._columns.index(column)]
                self._fault(error, cell.start, cell.start + len(cell.text))
                return None
            if len(self._seen) < 200_000:
                self._seen[key] = known
        return known

    def _fault(self, error: PydanticCustomError, start: int, end: int) -> None:
        told = error.context or {}
        code = "E114" if told["code"] == "E107" else told["code"]
        self._note(code, start, end, told["message"], told["hint"])

    def _parse(self, column: str, text: str) -> Any:
        if column == "at":
            return _DURATION.read(text)
        if column == "at_ms":
            return _DURATION.read(f"{text} ms")
        if column == "amount":
            return _AMOUNT.read(text)
        if column == "kind":
            if text not in _KINDS:
                raise fault("E103", f'unknown kind of operation "{text[:60]}"', nearest(text, _KINDS))
            return _KINDS[text]
        if column == "region":
            regions = self.names.client_regions
            if text not in regions:
                raise fault("E103", f'no region with clients is named "{text[:60]}"', nearest(text, regions))
            return regions[regions.index(text)]
        account = _ACCOUNT.read(text)
        if self.names.accounts is not None and account not in self.names.accounts:
            raise fault("E103", f"account {account} was not opened")
        return account


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield every line without its end, and where it begins."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield start, text[start:end].removesuffix("\r")
        start = end + 1


def _cells(start: int, line: str) -> Sequence[_Cell]:
    """Return the values of a line without the blanks around them, and where each stands."""
    cells = []
    for text in line.split(","):
        cells.append(_Cell(text.strip(), start + len(text) - len(text.lstrip())))
        start += len(text) + 1
    return cells
