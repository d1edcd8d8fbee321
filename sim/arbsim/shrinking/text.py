"""A shrunk run on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from arbsim.report.console import item, wrapped
from arbsim.report.words import clean
from arbsim.shrinking.document import Shrunk, Size


def render(shrunk: Shrunk) -> str:
    """Return it as plain text."""
    return "\n".join(_lines(shrunk))


def _lines(shrunk: Shrunk) -> Iterator[str]:
    how = "" if shrunk.world == "virtual" else ", in some order of its steps"
    yield from wrapped(f"{clean(shrunk.design)}: {shrunk.kind.value}{how}")
    yield from wrapped(
        f"from {_size(shrunk.before)} to {_size(shrunk.after)}, in {shrunk.runs:,} runs", "    "
    )
    yield ""
    for line in shrunk.scenario.splitlines():
        if not line.startswith("#"):
            yield clean(line)
    for matters, title in ((True, "What matters"), (False, "What does not")):
        facts = [fact for fact in shrunk.facts if fact.matters == matters]
        if facts:
            yield ""
            yield f"{title}:"
        for fact in facts:
            text = f"{clean(fact.text)} ({fact.violating} of {fact.tried} runs violated)"
            yield from item("-", text)
    yield ""
    yield f"Replay: {clean(shrunk.replay)}"


def _size(size: Size) -> str:
    words = (("operation", size.operations), ("region", size.regions), ("account", size.accounts))
    return ", ".join(f"{number:,} {word}{'' if number == 1 else 's'}" for word, number in words)
