"""Histories as a file: one JSON document a line, so that a run can be judged again without being run again.

The first line says what was run and what was expected. Then come the operations; then, for each design, its card and
its rows: answers (``a``), effects (``e``), reads (``r``) and waits (``w``), as arrays of numbers in the order of the
columns of :class:`arbsim.history.History`. The last line says how many lines there are, so a file that was cut off is
noticed. A run that was cut off says ``cut_off`` beside its card, and may have no final balances. Times are virtual
nanoseconds, money is in cents.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TextIO, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arbsim.compare import Expected, Facts
from arbsim.explanation import Explanation
from arbsim.history import BLIND, MISSING, EffectKind, History
from arbsim.model import Cents, DesignCard, Fate, Kind, Operation, Workload
from arbsim.results import EveryOrder

FORMAT: Literal[1] = 1
LONGEST_LINE = 16_000_000
"""Characters; a longer line is refused."""

_Model = TypeVar("_Model", bound=BaseModel)
_Long = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_Account = Annotated[int, Field(ge=-(2**62), lt=2**62)]
_FATES: tuple[Fate | None, ...] = (None, *Fate)


class HistoryError(ValueError):
    """A file that holds no histories; the text names the file, the line, and what is wrong."""


@dataclass(frozen=True, slots=True)
class SavedRun:
    """What a file holds: what was run, what was expected of it, and what happened.

    ``ceilings`` are the operations a second on one hot key, by design; they were measured in runs of their own. So were
    the steps of ``explanations``, and ``orders``: what came of trying every order.
    """

    facts: Facts
    expected: tuple[Expected, ...]
    histories: tuple[History, ...]
    ceilings: dict[str, float | None]
    orders: dict[str, EveryOrder]
    explanations: dict[str, Explanation]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class _Head(_Line):
    arbsim_history: Literal[1]
    facts: Facts
    expected: tuple[Expected, ...]
    accounts: tuple[tuple[_Account, _Long], ...]
    operations: Annotated[int, Field(ge=0)]


class _Operation(_Line):
    id: Annotated[int, Field(ge=1)]
    at_ns: Annotated[int, Field(ge=0, lt=2**62)]
    region: str
    kind: Kind
    account: _Account
    amount_cents: Annotated[int, Field(ge=0, lt=2**62)]
    to_account: _Account | None = None


class _Design(_Line):
    card: DesignCard
    ceiling: float | None
    every_order: EveryOrder | None = None
    explanation: Explanation | None = None
    stores: tuple[str, ...]
    finals: tuple[tuple[str, tuple[tuple[_Account, _Long], ...]], ...]
    totals: dict[str, int]
    notes: tuple[str, ...]
    statements: dict[str, int]
    quiet_ns: _Long
    cut_off: bool = False
    rows: Annotated[int, Field(ge=0)]


# -- writing -------------------------------------------------------------------------------------------


def save(run: SavedRun, file: TextIO) -> None:
    """Write a run. The histories must be of one workload."""
    lines = 1
    for line in _lines(run):
        file.write(_dump(line) + "\n")
        lines += 1
    file.write(_dump({"lines": lines}) + "\n")


_dump = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _lines(run: SavedRun) -> Iterator[Any]:
    workload = run.histories[0].workload if run.histories else Workload((), {})
    yield _Head(
        arbsim_history=FORMAT,
        facts=run.facts,
        expected=run.expected,
        accounts=tuple(workload.accounts.items()),
        operations=len(workload),
    ).model_dump(mode="json")
    for op in workload:
        yield {name: getattr(op, name) for name in _Operation.model_fields if getattr(op, name) is not None}
    for history in run.histories:
        rows = list(_rows(history))
        yield _Design(
            card=history.card,
            ceiling=run.ceilings.get(history.card.name),
            every_order=run.orders.get(history.card.name),
            explanation=run.explanations.get(history.card.name),
            stores=history.stores,
            finals=tuple((store, tuple(balances.items())) for store, balances in history.finals.items()),
            totals=history.totals,
            notes=tuple(history.notes),
            statements=history.statements,
            quiet_ns=history.quiet_ns,
            cut_off=history.cut_off,
            rows=len(rows),
        ).model_dump(mode="json")
        yield from rows


def _rows(history: History) -> Iterator[list[Any]]:
    stores = {store: code for code, store in enumerate(history.stores)}
    for answer in history.answers():
        yield ["a", *answer[:4], _FATES.index(answer.fate), *answer[5:]]
    for effect in history.effects():
        yield ["e", *effect[1:3], stores[effect.store], *effect[4:6], int(effect.kind), effect.time_ns]
    for read in history.reads():
        yield ["r", *read[:2], stores[read.store], *read[3:]]
    for wait in history.waits():
        yield ["w", *wait]


# -- reading -------------------------------------------------------------------------------------------


def load(path: Path) -> SavedRun:
    """Read a file that ``save`` wrote.

    Raises HistoryError for everything else: no such file, a folder or a pipe, a file that was cut off, text that is
    not JSON, rows that point nowhere.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise HistoryError(f"{path} is not a regular file")
        with path.open(encoding="utf-8", newline="\n") as file:
            return _Reader(path, file).run()
    except OSError as error:
        raise HistoryError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError:
        raise HistoryError(f"{path} is not UTF-8 text") from None


class _Reader:
    """Reads line by line; a mistake names its line."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file
        self._line = 0

    def run(self) -> SavedRun:
        head = self._model(_Head)
        workload = self._workload(head)
        histories, ceilings, orders, explanations = [], {}, {}, {}
        while not self._is_end(document := self._document()):
            design = self._checked(_Design, document)
            history = self._history(design, workload)
            if history.card.name in ceilings:
                self._refuse("there is a design of this name already")
            histories.append(history)
            ceilings[history.card.name] = design.ceiling
            if design.every_order is not None:
                orders[history.card.name] = design.every_order
            if design.explanation is not None:
                explanations[history.card.name] = design.explanation
        if self._file.readline(1):
            self._refuse("something comes after the last line")
        return SavedRun(head.facts, head.expected, tuple(histories), ceilings, orders, explanations)

    def _refuse(self, what: str) -> NoReturn:
        raise HistoryError(f"{self._path}:{self._line}: {what}")

    def _document(self) -> Any:
        self._line += 1
        text = self._file.readline(LONGEST_LINE)
        if not text:
            self._refuse("the file ends too early")
        if not text.endswith("\n"):
            self._refuse("the line is cut off, or longer than 16 MB")
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            self._refuse("the line is not JSON")

    def _checked(self, model: type[_Model], document: Any) -> _Model:
        try:
            return model.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            self._refuse(f"{place}: {first['msg']}" if place else first["msg"])
        except RecursionError:
            self._refuse("the line is nested too deeply")

    def _model(self, model: type[_Model]) -> _Model:
        return self._checked(model, self._document())

    def _is_end(self, document: Any) -> bool:
        if not isinstance(document, dict) or set(document) != {"lines"}:
            return False
        if document["lines"] != self._line:
            self._refuse(f"there should be {document['lines']!r} lines")
        return True

    def _workload(self, head: _Head) -> Workload:
        accounts = dict(head.accounts)
        operations = []
        for number in range(1, head.operations + 1):
            read = self._model(_Operation)
            if read.id != number:
                self._refuse(f"operation {number} should stand here")
            if read.account not in accounts or read.to_account not in (None, *accounts):
                self._refuse("there is no such account")
            operations.append(Operation(**dict(read)))
        return Workload(tuple(operations), accounts)

    def _history(self, design: _Design, workload: Workload) -> History:
        if len(set(design.stores)) != len(design.stores):
            self._refuse("a store is named twice")
        history = History(design.card, workload, stores=design.stores)
        history.finals = {store: dict(balances) for store, balances in design.finals}
        if not set(history.finals) <= set(design.stores):
            self._refuse("final balances of a store that does not exist")
        history.totals = dict(design.totals)
        history.notes = list(design.notes)
        history.statements = dict(design.statements)
        history.quiet_ns = design.quiet_ns
        history.cut_off = design.cut_off
        rows = _Rows(history)
        for _ in range(design.rows):
            document = self._document()
            try:
                rows.add(document)
            except (ValueError, OverflowError, IndexError) as error:
                self._refuse(str(error))
        return history


class _Rows:
    """Puts rows into a history; a row that does not fit raises ValueError, OverflowError or IndexError."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._operations = len(history.workload)
        self._effects: list[int] = []
        self._kinds: dict[str, tuple[int, Callable[..., None]]] = {
            "a": (10, self._answer),
            "e": (7, self._effect),
            "r": (6, self._read),
            "w": (4, self._wait),
        }

    def add(self, row: Any) -> None:
        """Append one row."""
        if not isinstance(row, list) or not row or row[0] not in ("a", "e", "r", "w"):
            raise ValueError("a row begins with a, e, r or w")
        length, append = self._kinds[row[0]]
        if len(row) != length + 1:
            raise ValueError(f"a row {row[0]} has {length} values")
        append(*row[1:])

    def _check(self, *numbers: Any) -> None:
        for number in numbers:
            if type(number) is not int or not -(2**63) < number < 2**63:
                raise ValueError("a row holds whole numbers of at most 64 bits")

    def _operation(self, number: int) -> None:
        if not 1 <= number <= self._operations:
            raise ValueError(f"there is no operation {number}")

    def _answer(
        self,
        operation: int,
        invoked_ns: int,
        recorded_ns: int,
        answered_ns: int,
        fate: int,
        told: Cents | None,
        own_order: int,
        client: int,
        server: int,
        reason: Any,
    ) -> None:
        self._check(
            operation, invoked_ns, recorded_ns, answered_ns, fate, own_order, client, server, told or 0
        )
        self._operation(operation)
        if not 0 <= fate < len(_FATES) or not isinstance(reason, str) or min(client, server) < 0:
            raise ValueError("the row does not fit")
        history, word = self._history, _FATES[fate]
        history.invoke(operation, invoked_ns)
        if recorded_ns != MISSING:
            history.recorded(operation, recorded_ns)
        if word is not None:
            history.answer(operation, answered_ns, word, told, reason)
        history.place(operation, own_order)
        history.retried(operation, client=client, server=server)

    def _effect(
        self, operation: int, account: int, store: int, after: Cents, base: int, kind: int, time_ns: int
    ) -> None:
        self._check(operation, account, store, after, base, kind, time_ns)
        self._operation(operation)
        # A base that comes later would make a ring of the tree by which money is traced.
        if not BLIND <= base < len(self._effects) or (base >= 0 and self._effects[base] != account):
            raise ValueError(f"effect {base} is no base for account {account}")
        if not 0 <= store < len(self._history.stores):
            raise ValueError(f"there is no store {store}")
        self._history.effect(operation, account, store, after, base, time_ns, EffectKind(kind))
        self._effects.append(account)

    def _read(
        self, operation: int, account: int, store: int, effect: int, balance: Cents, time_ns: int
    ) -> None:
        self._check(operation, account, store, effect, balance, time_ns)
        self._operation(operation)
        if not -1 <= effect < len(self._effects) or not 0 <= store < len(self._history.stores):
            raise ValueError("a read of a version or a store that does not exist")
        self._history.read(operation, account, store, effect, balance, time_ns)

    def _wait(self, operation: int, blocker: int, start_ns: int, end_ns: int) -> None:
        self._check(operation, blocker, start_ns, end_ns)
        for number in (operation, blocker):
            self._operation(number)
        self._history.wait(operation, blocker, start_ns, end_ns)
