"""The result on a terminal: 80 columns, a glyph and a word for every verdict, no markup, no colour."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote
from textwrap import wrap

from arbsim.report import agreement, live, words
from arbsim.report.words import clean
from arbsim.results import DesignResult, LiveResults, Results

WIDTH = 80
LONGEST_NAME = 29
LONG_COUNT = 1_000_000
MOST_LINES = 8
"""Balances that are told one by one; the report has the others."""


def render(results: Results) -> str:
    """Return the result as plain text."""
    return "\n".join(_lines(results))


def _lines(results: Results) -> Iterator[str]:
    yield from wrapped(
        f"{clean(results.name)}: {clean(results.question)}" if results.question else clean(results.name)
    )
    yield from wrapped(f"{_operations(results)}, seed {results.manifest.seed}, {live.world(results)}")
    yield ""
    yield from wrapped(words.headline(results))
    yield from _table(results)
    for reason, names in words.inconclusive(results).items():
        yield from item(" ?", f"inconclusive: {', '.join(map(clean, names))}: {reason}")
    yield from _balances(results)
    yield from _not_run(results)
    yield f"Unexplained money: {words.unexplained(results)}"
    yield from _contention(results)
    yield from _expectations(results)
    for caution in words.gathered(results.warnings):
        about = f"{', '.join(map(clean, caution.designs))}: " if caution.designs else ""
        yield from item(f"warn[{caution.id}]", f"{about}{clean(caution.text)}. {clean(caution.next_step)}")
    yield from _pointer(results)
    yield f"Replay: {clean(results.manifest.replay)}"


def _pointer(results: Results) -> Iterator[str]:
    """Where the first violated design is explained."""
    broken = [name for name, one in results.designs.items() if one.explanation is not None]
    listed = results.manifest.scenario.get("designs", ())
    names = [entry if isinstance(entry, str) else entry.get("name") for entry in listed]
    replay, _, _ = results.manifest.replay.partition(" --design ")
    if broken and broken[0] in names and replay.startswith("arbsim run "):
        explain = replay.replace("run", "explain", 1)
        yield f"Step by step: {clean(explain)} --design {quote(clean(broken[0]))}"


def _operations(results: Results) -> str:
    count = results.workload.operations
    return f"the same {count} operation{'' if count == 1 else 's'} for each design"


def _table(results: Results) -> Iterator[str]:
    names = {name: fit(clean(name), LONGEST_NAME) for name in results.designs}
    verdicts = {
        name: f"{words.verdict_of(result)}: {words.evidence(result, _shortly)}"
        for name, result in results.designs.items()
    }
    name_width, verdict_width = (max(map(len, texts.values()), default=0) for texts in (names, verdicts))
    yield f" {'design':{name_width}}  {'verdict':{verdict_width}} {'overdraft':>9} {'lost':>5} {'p99 ms':>7}"
    for name, result in results.designs.items():
        counts = {kind.value: finding.count for kind, finding in result.findings.items()}
        yield (
            f" {names[name]:{name_width}}  {verdicts[name]:{verdict_width}}"
            f" {counts['overdraft']:>9} {counts['lost_update']:>5} {words.p99(result):>7}"
        )


def _shortly(count: int) -> str:
    """A number in few characters: 1,340, but 4.2e10."""
    return f"{count:,}" if count < LONG_COUNT else f"{count:.1e}".replace("e+0", "e").replace("e+", "e")


def fit(text: str, width: int) -> str:
    """The text, cut off where it is longer than the width."""
    return text if len(text) <= width else text[: width - 1] + "~"


def _balances(results: Results) -> Iterator[str]:
    """Balances that are not what was accepted, or that are below zero: the first of each design."""
    total = sum(result.balances_count for result in results.designs.values())
    wrong = sum(result.differences_count for result in results.designs.values())
    yield f"Final balances against what was accepted ({total - wrong} equal, not shown)"
    told = [line for name, result in results.designs.items() for line in _wrong(results, name, result)]
    for line in told[:MOST_LINES]:
        yield from item(" ~", line)
    if len(told) > MOST_LINES:
        yield f" ~ and {len(told) - MOST_LINES} more designs: see the report"


def _wrong(results: Results, name: str, result: DesignResult) -> Iterator[str]:
    if result.differences:
        row = result.differences[0]
        place = f"account {row.account}  {clean(name)}  {clean(row.store)} {row.actual}"
        why = "; ".join(words.cause(results, cause) for cause in row.causes[:2])
        more = f", and {result.differences_count - 1} more" if result.differences_count > 1 else ""
        yield f"{place}, expected {row.expected} ({why}){more}"
        return
    for account, stores in result.final.items():
        if any(balance.startswith("-") for balance in stores.values()):
            yield f"account {account}  {clean(name)}  {clean(words.balances(stores))}, as accepted: overdrawn"
            return


def _not_run(results: Results) -> Iterator[str]:
    if isinstance(results, LiveResults):
        for name, reason in results.live.not_run.items():
            yield from item(" -", f"{clean(name)} was not run: {reason}")
        for name, same, ran, modelled, *_ in live.side_by_side(results):
            if same == "no":
                yield from item(" !", f"{clean(name)}: live {ran}, the model says {modelled}")
        if results.live.agreement is not None:
            yield f"Anomaly rates [95 %] of {results.live.agreement.asked} repetitions"
            for mark, line in agreement.lines(results.live.agreement):
                yield from item(mark, clean(line))


def _contention(results: Results) -> Iterator[str]:
    pairs = [
        result.contention.overlapping_pairs + result.contention.unseen_pairs
        for result in results.designs.values()
    ]
    if pairs:
        low, high = min(pairs), max(pairs)
        count = str(low) if low == high else f"{low} to {high}"
        noun = "pair" if high == 1 else "pairs"
        yield f"Contention: {count} {noun} a design that overlapped or had not seen each other"


def _expectations(results: Results) -> Iterator[str]:
    met = sum(one.status == "met" for one in results.expectations)
    yield f"Expectations: {met} of {len(results.expectations)} met"
    for one in results.expectations:
        if one.status != "met":
            what = f"{clean(one.design)}: {clean(one.what)}: expected {clean(one.expected)}"
            yield from item(f" {one.status}", f"{what}, observed {clean(one.observed)}")


def item(mark: str, text: str) -> Iterator[str]:
    """A line with a mark in front; its continuation is indented."""
    indent = " " * (len(mark) + 1)
    yield from wrap(text, WIDTH, initial_indent=f"{mark} ", subsequent_indent=indent, break_on_hyphens=False)


def wrapped(text: str, indent: str = "") -> Iterator[str]:
    """Lines of 80 columns; all but the first are indented."""
    yield from wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
