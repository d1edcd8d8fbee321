"""What is wrong with a scenario, where, and what would be right; told as plain text.

ScenarioError          the scenario cannot be used; it carries every Mistake
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

CODES: dict[str, str] = {
    "E101": "the file cannot be read",
    "E102": "the text is not YAML, or not text at all",
    "E103": "an unknown name",
    "E104": "something that YAML has and scenarios do not: tags, anchors, aliases, merge keys, documents",
    "E105": "nested too deeply",
    "E106": "a key stands twice",
    "E107": "a key or a value is missing",
    "E108": "an unknown key",
    "E109": "the wrong kind of value",
    "E110": "a value that is badly written",
    "E111": "a value out of bounds",
    "E112": "values that contradict each other",
    "E113": "SQL that cannot be run",
    "E114": "a row of a trace that cannot be used",
    "W201": "only one region has clients",
    "W202": "a design is listed twice with the same parameters",
}
"""Every code and what it stands for. A code keeps its meaning for ever."""

MISTAKES_MAX = 100
"""How many mistakes are told; a broken file can have thousands."""

_SHOWN_WIDTH = 90


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong, or (codes that begin with W) worth knowing.

    ``line`` and ``column`` count from 1; 0 means that the mistake has no place in the text. ``excerpt`` is the
    whole source line, ``width`` how many of its characters are meant. All text may hold anything that stood in
    the file: print it through ``render``.
    """

    code: str
    file: str
    line: int
    column: int
    message: str
    excerpt: str = ""
    width: int = 1
    hint: str = ""

    @property
    def is_warning(self) -> bool:
        """Whether the scenario can run all the same."""
        return self.code.startswith("W")


class ScenarioError(Exception):
    """The scenario cannot be used. ``mistakes`` holds everything that is wrong with it, in order of place."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__(f"{len(mistakes)} mistakes")
        self.mistakes = tuple(mistakes)


def nearest(word: str, names: Iterable[str]) -> str:
    """Return a hint that names the nearest of ``names``, or all of them where none is near and they are few."""
    known = list(names)
    close = get_close_matches(word[:100], known, n=3, cutoff=0.6)
    # Letters that changed places are the likeliest slip: "esat" is "east", though "west" is as near.
    close.sort(key=lambda name: sorted(name) != sorted(word))
    if not close:
        lower = {name.lower(): name for name in known}
        close = [lower[match] for match in get_close_matches(word[:100].lower(), lower, n=1, cutoff=0.6)]
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {listed(known)}" if known else ""


def listed(names: Iterable[str], most: int = 14) -> str:
    """Return names as one text, cut where there are too many to read."""
    known = list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more


def shown(text: str) -> str:
    """Return text that is safe on a terminal: what cannot be printed is escaped, and stays visible."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if char == "\t":
        return " "
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _cells(text: str) -> int:
    """Return how many cells a printable text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def render(mistakes: Iterable[Mistake]) -> str:
    """Return mistakes as people read them: place, cause, the line with carets, cure. No markup, no colour."""
    return "\n".join(render_mistake(mistake) for mistake in mistakes)


def render_mistake(mistake: Mistake) -> str:
    """Return one mistake as two to four lines without a trailing newline."""
    word = "warn" if mistake.is_warning else "error"
    place = shown(mistake.file)
    if mistake.line:
        place += f":{mistake.line}:{mistake.column}"
    head = f"{word}[{mistake.code}] {place}  {shown(mistake.message)}"
    hint = shown(mistake.hint)
    if not mistake.line:
        return f"{head}\n  {hint}" if hint else head
    before, meant, after = _window(mistake)
    number = f" {mistake.line} | "
    carets = "^" * max(1, _cells(meant))
    under = " " * (len(number) - 2) + "| " + " " * _cells(before) + carets
    return f"{head}\n{number}{before}{meant}{after}\n{under} {hint}".rstrip()


def _window(mistake: Mistake) -> tuple[str, str, str]:
    """Cut a long line to the part around what is meant; return that part in three, safe to print."""
    line, start = mistake.excerpt, mistake.column - 1
    width = min(max(1, mistake.width), _SHOWN_WIDTH // 2)
    left = 0 if start + width <= _SHOWN_WIDTH else start - _SHOWN_WIDTH // 3
    right = left + _SHOWN_WIDTH
    before = ("..." if left else "") + shown(line[left:start])
    after = shown(line[start + width : right]) + ("..." if len(line) > right else "")
    return before, shown(line[start : start + width]), after
