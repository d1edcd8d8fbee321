"""SQL text to statements: split at semicolons, transaction control by hand, the rest by sqlglot.

sqlglot is lenient and its parser knows no transaction control in PostgreSQL's form, so the words
BEGIN, COMMIT, SET and so on are read here, token by token. Every other statement is parsed by
sqlglot and then held against a whitelist (`whitelist.py`) before anything is compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from .errors import Failure, failure, not_supported
from .names import table_name, target_table
from .whitelist import Problem, problems_of


class _Dialect(Postgres):
    """PostgreSQL without dollar quotes, because sqlglot takes the text between $1 and $2 for one."""

    class Tokenizer(Postgres.Tokenizer):
        """Reads $ as the mark of a parameter."""

        HEREDOC_STRINGS: ClassVar[list[str]] = []  # type: ignore[assignment]
        SINGLE_TOKENS: ClassVar[dict[str, TokenType]] = {
            **Postgres.Tokenizer.SINGLE_TOKENS,
            "$": TokenType.PARAMETER,
        }


_DIALECT = _Dialect()
LEVELS = ("read uncommitted", "read committed", "repeatable read", "serializable")
SUPPORTED_STATEMENTS = (
    "CREATE TABLE, DROP TABLE, SELECT, INSERT, UPDATE, DELETE, BEGIN, COMMIT, ROLLBACK, SAVEPOINT, "
    "SET TRANSACTION and SHOW transaction_isolation"
)


@dataclass(frozen=True, slots=True)
class Begin:
    """BEGIN or START TRANSACTION, or SET TRANSACTION where `is_set`."""

    level: str | None = None
    read_only: bool | None = None
    is_set: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """COMMIT or END, ROLLBACK or ABORT."""

    commit: bool


@dataclass(frozen=True, slots=True)
class Savepoint:
    """SAVEPOINT, RELEASE or ROLLBACK TO (`verb` is the tag a server answers)."""

    verb: str
    name: str


@dataclass(frozen=True, slots=True)
class Show:
    """SHOW transaction_isolation."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A statement that is understood and changes nothing here (its tag)."""

    tag: str
    table: str


@dataclass(frozen=True)
class Query:
    """A statement that sqlglot parsed and the whitelist passed."""

    node: exp.Expression

    @cached_property
    def target(self) -> str | None:
        """The name of the table it works on; None for a SELECT without FROM."""
        table = target_table(self.node)
        return table_name(table) if table is not None else None

    @cached_property
    def defines(self) -> bool:
        """Whether it is CREATE TABLE or DROP TABLE."""
        return self.node.key in ("create", "drop")


Parsed = Begin | End | Savepoint | Show | Accepted | Query


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a text: what it is, or what is wrong with it, and where it stands."""

    parsed: Parsed | None
    problems: tuple[Problem, ...]
    start: int
    end: int
    text: str

    def require(self) -> Parsed:
        """The parsed statement; Failure where it is outside the subset."""
        if self.parsed is None or self.problems:
            problem = self.problems[0]
            raise failure(problem.sqlstate, problem.message, position=(problem.start, problem.end))
        return self.parsed


@lru_cache(maxsize=16_384)
def parse(text: str) -> tuple[Statement, ...]:
    """The statements of a text, in order. Never raises: faults are in `Statement.problems`."""
    try:
        tokens = _DIALECT.tokenize(text)
    except SqlglotError:
        problem = Problem(0, len(text), "syntax error: the text cannot be split into SQL words", "42601")
        return (Statement(None, (problem,), 0, len(text), text),)
    statements = []
    piece: list[Any] = []
    for token in [*tokens, None]:
        if token is not None and token.token_type.name != "SEMICOLON":
            piece.append(token)
        elif piece:
            statements.append(_statement(piece, text))
            piece = []
    return tuple(statements)


def _statement(tokens: list[Any], text: str) -> Statement:
    start, end = tokens[0].start, tokens[-1].end + 1
    own = text[start:end]
    try:
        parsed = _control(tokens) or _query(tokens, text)
    except Failure as fault:
        position = fault.error.position or (start, end)
        problem = Problem(position[0], position[1], fault.error.message, fault.error.sqlstate)
        return Statement(None, (problem,), start, end, own)
    if isinstance(parsed, Query):
        return Statement(parsed, tuple(problems_of(parsed.node, start, end)), start, end, own)
    return Statement(parsed, (), start, end, own)


def _query(tokens: list[Any], text: str) -> Query:
    position = (tokens[0].start, tokens[-1].end + 1)
    first = tokens[0].text.upper()
    if first not in ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP"):
        raise not_supported(
            f"this statement is not supported; supported are {SUPPORTED_STATEMENTS}", position
        )
    try:
        nodes = _DIALECT.parser().parse(tokens, text)
    except (SqlglotError, RecursionError):
        raise failure("42601", "syntax error", position=position) from None
    node = nodes[0] if len(nodes) == 1 else None
    if not isinstance(node, exp.Expression) or isinstance(node, exp.Command):
        raise failure("42601", "syntax error", position=position)
    return Query(node)


def _control(tokens: list[Any]) -> Parsed | None:
    """The statement where it is transaction control, None where sqlglot shall read it."""
    words = [token.text.upper() for token in tokens]
    position = (tokens[0].start, tokens[-1].end + 1)
    first, rest = words[0], words[1:]
    if first in ("BEGIN", "START"):
        if rest[:1] in (["TRANSACTION"], ["WORK"]):
            rest = rest[1:]
        elif first == "START":
            raise failure("42601", "syntax error", position=position)
        return _modes(rest, position, is_set=False)
    if first in ("COMMIT", "END", "ROLLBACK", "ABORT"):
        return _end(first, rest, tokens, position)
    if first in ("SAVEPOINT", "RELEASE"):
        name_at = 2 if rest[:1] == ["SAVEPOINT"] and len(rest) > 1 else 1
        return _savepoint(first, tokens[name_at:], position)
    if first == "SET":
        if rest[:1] == ["TRANSACTION"] and rest[1:2] != ["SNAPSHOT"]:
            return _modes(rest[1:], position, is_set=True)
        raise not_supported("only SET TRANSACTION is supported of SET", position)
    if first == "SHOW":
        if " ".join(rest).strip() in ("TRANSACTION_ISOLATION", "TRANSACTION ISOLATION LEVEL"):
            return Show()
        raise not_supported("only SHOW transaction_isolation is supported of SHOW", position)
    if first == "ALTER":
        if words[1:2] == ["TABLE"] and words[-3:] in (
            ["REPLICA", "IDENTITY", "FULL"],
            ["REPLICA", "IDENTITY", "DEFAULT"],
        ):
            return Accepted("ALTER TABLE", _fold(tokens[-4]))
        raise not_supported("only REPLICA IDENTITY FULL is supported of ALTER TABLE", position)
    return None


def _fold(token: Any) -> str:
    text: str = token.text
    return text if token.token_type.name == "IDENTIFIER" else text.lower()


def _end(first: str, rest: list[str], tokens: list[Any], position: tuple[int, int]) -> Parsed:
    at = 1
    if rest[:1] in (["TRANSACTION"], ["WORK"]):
        rest, at = rest[1:], 2
    if first == "ROLLBACK" and rest[:1] == ["TO"]:
        at += 2 if rest[1:2] == ["SAVEPOINT"] and len(rest) > 2 else 1
        return _savepoint("ROLLBACK", tokens[at:], position)
    if rest:
        raise not_supported(f"{first} takes no {' '.join(rest)} here", position)
    return End(commit=first in ("COMMIT", "END"))


def _savepoint(verb: str, names: list[Any], position: tuple[int, int]) -> Savepoint:
    if len(names) != 1:
        raise failure("42601", "syntax error: one savepoint name is expected", position=position)
    return Savepoint(verb, _fold(names[0]))


def _modes(words: list[str], position: tuple[int, int], *, is_set: bool) -> Begin:
    """Transaction modes: ISOLATION LEVEL x, READ WRITE, READ ONLY, [NOT] DEFERRABLE."""
    text = " ".join(word for word in words if word != ",").lower()
    level: str | None = None
    read_only: bool | None = None
    while text:
        for prefix in (
            *(f"isolation level {name}" for name in LEVELS),
            "read write",
            "read only",
            "not deferrable",
            "deferrable",
        ):
            if text == prefix or text.startswith(prefix + " "):
                text = text[len(prefix) :].strip()
                break
        else:
            raise failure("42601", "syntax error in the transaction's modes", position=position)
        if prefix.startswith("isolation"):
            level = prefix.removeprefix("isolation level ")
        elif prefix.startswith("read"):
            read_only = prefix == "read only"
    if is_set and not words:
        raise failure("42601", "syntax error: SET TRANSACTION needs a mode", position=position)
    return Begin(level, read_only, is_set)
