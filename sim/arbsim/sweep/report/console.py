"""A sweep on a terminal: 80 columns, no markup, no colour."""

from __future__ import annotations

from collections.abc import Iterator

from arbsim.report.console import fit, item, wrapped
from arbsim.report.words import clean
from arbsim.sweep.report import words
from arbsim.sweep.results import FrontierRow, SweepResults

LONGEST_NAME = 27
MOST_LINES = 6


def render(results: SweepResults) -> str:
    """Return the result as plain text."""
    return "\n".join(_lines(results))


def _lines(results: SweepResults) -> Iterator[str]:
    name = clean(results.name)
    yield from wrapped(f"{name}: {clean(results.question)}" if results.question else name)
    yield from wrapped(words.scope(results))
    yield ""
    yield from wrapped(words.headline(results))
    yield from _table(results.frontier)
    if results.thresholds:
        yield from wrapped(f"Violating runs along {results.axis.name}:")
        for one in results.thresholds:
            if one.first_seen_at is not None:
                yield from item(" x", f"{clean(one.design)}: {words.threshold(one, results.axis)}")
    moved = words.strongest(results)
    if moved:
        yield "What moves the result most"
        for swing in moved[:3]:
            yield from item(" ~", words.swing(swing))
    yield from _paired(results)
    for caveat in words.caveats(results)[len(words.CAVEATS) :]:
        yield from wrapped(caveat)
    for claim in results.broken_claims:
        kinds = ", ".join(kind.value for kind in claim.kinds)
        text = f"{clean(claim.design)} broke its own claim ({kinds}) in {claim.runs:,} runs; the first: seed"
        yield from item(
            " broken", f"{text} {claim.seed} with {words.values(claim.values)}: {clean(claim.replay)}"
        )
    for failed in results.failed[:MOST_LINES]:
        what = f"seed {failed.seed} with {words.values(failed.values)}: {clean(failed.error)}"
        yield from item(" failed", what)
    if len(results.failed) > MOST_LINES:
        yield f" failed and {len(results.failed) - MOST_LINES:,} more: see sweep.json"
    for witness in results.witnesses[:MOST_LINES]:
        yield f"One violating run of {clean(witness.design)}:"
        yield f"  {clean(witness.replay)}"
    yield f"Replay: {clean(results.manifest.replay)}"
    if results.exit_code:
        why = "runs failed" if results.failed else "a design broke its own claim"
        yield f"Exit status {results.exit_code}: {why}."


def _table(rows: tuple[FrontierRow, ...]) -> Iterator[str]:
    names = {row.design: fit(clean(row.design), LONGEST_NAME) for row in rows}
    width = max((len(name) for name in names.values()), default=0)
    yield f"   {'design':{width}}  {'violating runs (95 %)':24}  p99 to fate, ms"
    for row in rows:
        glyph = "?" if row.violated.estimate is None else "x" if row.violated.estimate else "+"
        best = " *" if row.on_frontier else ""
        rate = words.rate(row.violated)
        yield f" {glyph} {names[row.design]:{width}}  {rate:24}  {words.value(row.fate_p99, 'fate_p99')}{best}"
    yield " * no other design is at least as good in both and better in one"


def _paired(results: SweepResults) -> Iterator[str]:
    """By how much the common seeds narrow the differences, over all of them that could be compared."""
    narrower = sorted(one.narrower for one in results.differences if one.narrower is not None)
    if narrower:
        middle = words.number(narrower[(len(narrower) - 1) // 2])
        yield from wrapped(
            f"Compared seed by seed with {clean(results.baseline)}: intervals of differences up to "
            f"{words.number(narrower[-1])} times as narrow (median {middle}) as with seeds of their own"
        )
