"""An exploration on a terminal: 80 columns, a glyph and a word for every verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap

from arbsim.explore.document import Exploration, ExploredRow, OutcomeRow
from arbsim.model import Fate, FindingKind, Verdict
from arbsim.report.words import GLYPHS, VERDICTS, clean

WIDTH = 80
MOST_OUTCOMES = 6

REASONS = {
    "interrupted": "interrupted: only a part of the orders was tried",
    "time": "the time limit ended the search: only a part of the orders was tried",
    "memory": "the memory limit ended the search: only a part of the orders was tried",
    "worker": "a process of the search was killed: only a part of the orders was tried",
    "steps": "a run did not end within the bound on its steps",
    "limits": "this world leaves out orders that the design could meet",
    "no-contention": "no two operations on one account met in any order",
    "undecided-outcomes": "operations whose outcome nobody knows decide whether there was an overdraft",
    "unanswered": "in some orders an operation is never answered",
}


def render(exploration: Exploration) -> str:
    """Return the exploration as plain text."""
    return "\n".join(_lines(exploration))


def _lines(exploration: Exploration) -> Iterator[str]:
    name, question = clean(exploration.name), clean(exploration.question)
    yield from wrap(f"{name}: {question}" if question else name, WIDTH)
    yield from wrap(_operations(exploration), WIDTH)
    yield ""
    for design, row in exploration.designs.items():
        yield from _design(clean(design), row)
    yield from wrap(
        "Orders are counted, not weighed: how many of them violate is no probability. Real time does not matter here,"
        " only order.",
        WIDTH,
    )
    yield f"Replay: {clean(exploration.replay)}"


def _operations(exploration: Exploration) -> str:
    part = exploration.slice
    count = len(part.operations)
    told = f"every order of {count} operation{'' if count == 1 else 's'}"
    if not part.whole:
        told += f", a part of the workload: {', '.join(map(str, part.originals))}"
    return told + ("" if exploration.reduced else "; each one by itself")


def _design(name: str, row: ExploredRow) -> Iterator[str]:
    yield f"{GLYPHS[row.verdict]} {name}: {VERDICTS[row.verdict]}"
    yield from _item(sentence(row))
    for reason in row.reasons if row.verdict is Verdict.INCONCLUSIVE else ():
        yield from _item(f"{REASONS[reason]}{'; '.join(('', *row.limits)) if reason == 'limits' else ''}")
    for told in _how_far(row):
        yield from _item(told)
    alike = Counter(_came_to(outcome) for outcome in row.outcomes)
    for outcome in row.outcomes[:MOST_OUTCOMES]:
        told = _told(outcome) if alike[_came_to(outcome)] > 1 else ""
        yield from _item(f"{_count(outcome)}: {_came_to(outcome)}{told}{_broken(outcome)}", "- ")
    if len(row.outcomes) > MOST_OUTCOMES:
        yield from _item(f"and {len(row.outcomes) - MOST_OUTCOMES} more outcomes", "- ")
    if row.in_time is not None:
        yield from _item(
            "the scenario's own delays and times lead to a violation too"
            if row.in_time is Verdict.VIOLATED
            else "one run with the scenario's own delays and times showed no violation"
        )
    if row.status != "met":
        yield from _item(f"{row.status}: expected {row.expected}")


def sentence(row: ExploredRow) -> str:
    """How many orders violate, or hold."""
    counted = row.orders is not None and row.violating_orders is not None
    total = row.orders if counted and row.orders is not None else row.classes
    bad = row.violating_orders if counted and row.violating_orders is not None else row.violating_classes
    of = "orders" if counted else "classes of equivalent orders"
    classes = "1 class" if row.classes == 1 else f"{row.classes:,} classes"
    also = f" (in {classes})" if counted and row.classes != total else ""
    tried = "" if row.complete else " that were tried"
    if bad:
        return f"{bad:,} of {total:,} {of}{tried} violate{also}"
    if not row.complete:
        return f"no violation in {total:,} {of}{tried}{also}"
    return f"{total:,} of {total:,} {of} hold{also}"


def _how_far(row: ExploredRow) -> Iterator[str]:
    """How much of a search was done, and what would not have been too much for its limit."""
    if row.share_done is not None and row.runs_estimate is not None:
        done = f"{row.share_done:.2%}" if row.share_done >= 0.0001 else "less than 0.01%"
        yield f"at most about {done} of it was done: all of it takes an estimated {row.runs_estimate:,} runs or more"
    if row.fitting is not None:
        operations = row.fitting.operations
        yield f"{operations} operations would have taken {row.fitting.runs:,} runs: --operations {operations}"
    elif {"time", "memory"} & set(row.reasons):
        yield "try fewer operations (--operations), or give it more"


def _count(outcome: OutcomeRow) -> str:
    count, one, many = outcome.orders, "order", "orders"
    if count is None:
        count, one, many = outcome.classes, "class", "classes"
    return f"1 {one}" if count == 1 else f"{count:,} {many}"


def finals(final: Mapping[str, Mapping[str, str]]) -> str:
    """Balances by store; where all stores agree they are told once."""
    stores = {clean(store): balances for store, balances in final.items()}
    first = next(iter(stores.values()), {})
    if all(balances == first for balances in stores.values()):
        return _balances(first)
    return ", ".join(f"{store}: {_balances(balances)}" for store, balances in stores.items())


def _balances(balances: Mapping[str, str]) -> str:
    return ", ".join(f"account {account} {balance}" for account, balance in balances.items()) or "no balances"


def fates(told: Sequence[Fate | None]) -> str:
    """What became of each operation, in order of their ids."""
    return ", ".join(
        f"op {number} {fate.value if fate else 'unanswered'}" for number, fate in enumerate(told, 1)
    )


def _came_to(outcome: OutcomeRow) -> str:
    return f"{finals(outcome.final)}; {fates(outcome.fates)}"


def _told(outcome: OutcomeRow) -> str:
    """The balances that the clients heard, where nothing else tells two outcomes apart."""
    heard = [
        f"op {number} {balance}" for number, balance in enumerate(outcome.told, 1) if balance is not None
    ]
    return f"; heard: {', '.join(heard) or 'nothing'}"


def _broken(outcome: OutcomeRow) -> str:
    return f": {', '.join(FindingKind(kind).value for kind in outcome.broken)}" if outcome.broken else ""


def _item(text: str, mark: str = "") -> Iterator[str]:
    yield from wrap(text, WIDTH, initial_indent="  " + mark, subsequent_indent="    ", break_on_hyphens=False)
