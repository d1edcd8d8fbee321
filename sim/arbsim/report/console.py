"""The result on a terminal: 80 columns, a glyph and a word for every verdict, no markup."""

from __future__ import annotations

from collections.abc import Iterator

from arbsim.report.words import REASONS, as_declared, clean, finals, findings_of, headline, verdict_of
from arbsim.results import DesignResult, Results


def render(results: Results) -> str:
    """Return the result as plain text."""
    return "\n".join(_lines(results))


def _lines(results: Results) -> Iterator[str]:
    yield f"{clean(results.name)}  seed {results.manifest.seed}  simulated in virtual time"
    if results.question:
        yield clean(results.question)
    yield ""
    yield headline(results)
    yield from _table(results)
    for name, result in results.designs.items():
        for kind, count, amount, told in findings_of(results, result):
            yield f"  {clean(name)}: {kind.value} {count} ({amount}): {told}"
        for reason in result.reasons:
            yield f"  {clean(name)}: inconclusive: {REASONS.get(reason, reason)}"
    yield from _unmet(results)
    for caution in results.warnings:
        where = f" {clean(caution.design)}:" if caution.design else ""
        yield f"warn[{caution.id}]{where} {clean(caution.text)} {clean(caution.next_step)}".rstrip()
    yield f"Unexplained money: {_unexplained(results)}"
    yield f"Replay: {clean(results.manifest.replay)}"


def _table(results: Results) -> Iterator[str]:
    width = max(len("design"), *(len(clean(name)) for name in results.designs))
    yield f"  {'design':{width}}  {'verdict':14}  {'overdraft':>9}  {'lost':>4}  {'p99 ms':>9}  final"
    for name, result in results.designs.items():
        counts = {kind.value: finding.count for kind, finding in result.findings.items()}
        yield (
            f"  {clean(name):{width}}  {verdict_of(result):14}  {counts['overdraft']:>9}"
            f"  {counts['lost_update']:>4}  {_p99(result):>9}  {finals(result)}"
        )


def _p99(result: DesignResult) -> str:
    p99 = result.costs.latency[-1].fate.p99_ms
    return "-" if p99 is None else f"{p99:.1f}"


def _unmet(results: Results) -> Iterator[str]:
    for one in results.expectations:
        if one.status != "met":
            yield (
                f"  {one.status}: {clean(one.design)}: {clean(one.what)}: expected {clean(one.expected)},"
                f" observed {clean(one.observed)}"
            )
    met = sum(one.status == "met" for one in results.expectations)
    yield f"Expectations: {met} of {len(results.expectations)} met"
    news = [name for name, result in results.designs.items() if as_declared(result) == "against its claim"]
    if news:
        yield f"Against their own claims: {', '.join(map(clean, news))}"


def _unexplained(results: Results) -> str:
    amounts = {
        clean(name): finding.amount
        for name, result in results.designs.items()
        for kind, finding in result.findings.items()
        if kind.value == "unexplained" and finding.count
    }
    return ", ".join(f"{name} {amount}" for name, amount in amounts.items()) or "0.00"
