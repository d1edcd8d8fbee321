"""A team's own transaction as data: SQL with named parameters, and conditions between the statements.

A scenario reads it, a design runs it; both know only this module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from arbsim.model import Kind, Nanoseconds
from arbsim.worlds.api import Isolation

PARAMETER_NAMES = ("amount", "account", "to_account", "region", "op_id")
"""What SQL can ask of the operation, as ``:amount`` and so on."""

ROWCOUNT = "rowcount"
"""The name under which a condition asks how many rows the last statement returned or changed."""

_TOKENS = re.compile(
    r"""
    (?P<skip> '(?:[^']|'')*+' | "(?:[^"]|"")*+" | (?P<dollar>\$(?:[A-Za-z_]\w*+)?\$).*?(?P=dollar)
            | --[^\n]* | /\*.*?\*/ | :: | (?<!\w) [0-9][\w.]*+ )
    | (?P<positional> \$[0-9]+ )
    | :(?P<parameter> [A-Za-z_]\w*+ )
    | (?P<word> (?<!\w) [A-Za-z_]\w*+ (?! \s* \( ) )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)

# Words of an expression that name no column.
_KEYWORDS = frozenset((
    "all", "and", "any", "array", "as", "asc", "at", "between", "bigint", "boolean", "both", "by",
    "case", "cast", "char", "character", "coalesce", "collate", "current_date", "current_timestamp",
    "date", "decimal", "desc", "distinct", "double", "else", "end", "escape", "exists", "extract",
    "false", "from", "greatest", "ilike", "in", "int", "integer", "interval", "is", "isnull", "least",
    "leading", "like", "not", "notnull", "null", "nullif", "numeric", "or", "precision", "real",
    "similar", "smallint", "some", "symmetric", "text", "then", "time", "timestamp", "timestamptz",
    "to", "trailing", "true", "trim", "unknown", "varchar", "varying", "when", "with", "without",
    "zone",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bound:
    """SQL with its names replaced by ``$1``, ``$2``, ...

    ``names`` says what each of them stands for: a name of PARAMETER_NAMES with a colon before it, or (in a
    condition) a column of the last row, or ``rowcount``. ``origins`` maps every character of ``sql`` to its
    place in the text as written; the last entry is the text's length.
    """

    sql: str
    names: tuple[str, ...]
    origins: tuple[int, ...] = field(repr=False, compare=False)


class BindError(ValueError):
    """A name that means nothing here; ``start`` and ``end`` are its place in the text."""

    def __init__(self, message: str, start: int, end: int, word: str) -> None:
        super().__init__(message)
        self.start = start
        self.end = end
        self.word = word


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement."""

    text: str

    def bound(self) -> Bound:
        """Return the statement for a driver. Raises BindError for an unknown parameter."""
        return _bind(self.text, columns=False)


@dataclass(frozen=True, slots=True)
class Condition:
    """Ends the transaction with ``outcome`` where the expression is true (or is not true: ``when``).

    The expression speaks of the columns of the last statement's first row, of the parameters and of
    ``rowcount``. Where no row came back every column is NULL. NULL is not true, so ``reject unless`` rejects.
    """

    outcome: Literal["accept", "reject"]
    when: bool
    text: str

    def bound(self) -> Bound:
        """Return ``SELECT (expression)`` over values alone, which needs no table. Raises BindError."""
        inner = _bind(self.text, columns=True)
        length = len(self.text)
        origins = (0,) * len("SELECT (") + inner.origins + (length,)
        return Bound(f"SELECT ({inner.sql})", inner.names, origins)


@dataclass(frozen=True, slots=True)
class Think:
    """The application works for a while; the transaction stays open."""

    pause: Nanoseconds


Step = Statement | Condition | Think


@dataclass(frozen=True, slots=True)
class SqlTransaction:
    """A whole design in SQL.

    ``steps`` has the steps of each kind of operation that the workload can hold. ``retry_on`` are the
    SQLSTATEs after which the transaction is tried again, at most ``attempts`` times in all, with a pause that
    begins at ``backoff`` and doubles. An error in ``rejected_on`` means that the rule refused the operation;
    every other error means that it failed. An operation whose steps end without a condition that ends them is
    accepted; its client is told the column ``balance`` of the last row, where there is one. ``tables`` are
    CREATE TABLE statements for what the transaction needs beside the accounts.
    """

    isolation: Isolation
    steps: Mapping[Kind, tuple[Step, ...]]
    retry_on: tuple[str, ...]
    attempts: int
    backoff: Nanoseconds
    rejected_on: tuple[str, ...]
    tables: tuple[str, ...]


def _bind(text: str, *, columns: bool) -> Bound:
    names: list[str] = []
    pieces: list[str] = []
    origins: list[int] = []
    done = 0
    for token in _TOKENS.finditer(text):
        name = _name_of(token, columns)
        if name is None:
            continue
        if name not in names:
            names.append(name)
        placeholder = f"${names.index(name) + 1}"
        pieces += (text[done : token.start()], placeholder)
        origins += range(done, token.start())
        origins += [token.start()] * len(placeholder)
        done = token.end()
    pieces.append(text[done:])
    origins += range(done, len(text) + 1)
    return Bound("".join(pieces), tuple(names), tuple(origins))


def _name_of(token: re.Match[str], columns: bool) -> str | None:
    """Return what a token stands for, or None where it stays as it is."""
    if token["positional"]:
        raise BindError(f"{token['positional']} has no meaning here", token.start(), token.end(), "")
    if token["parameter"]:
        if token["parameter"] not in PARAMETER_NAMES:
            message = f'unknown parameter ":{token["parameter"][:60]}"'
            raise BindError(message, token.start(), token.end(), token["parameter"])
        return f":{token['parameter']}"
    if columns and token["word"] and token["word"].lower() not in _KEYWORDS:
        return token["word"].lower()
    return None
