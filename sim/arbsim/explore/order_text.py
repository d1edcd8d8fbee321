"""A counterexample on a terminal: every step of the order that shows something, and where it leads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from textwrap import wrap

from arbsim.compare import operation_row
from arbsim.explore.counterexample import ChosenStep, Counterexample, Event
from arbsim.explore.text import fates, finals
from arbsim.model import Workload
from arbsim.report.console import WIDTH, fit, wrapped
from arbsim.report.story import short_statement
from arbsim.report.words import clean, described
from arbsim.steps import StepKind

INDENT = "    "


def render(document: Counterexample, workload: Workload) -> str:
    """Return the order as plain text."""
    return "\n".join(_lines(document, workload))


def _lines(document: Counterexample, workload: Workload) -> Iterator[str]:
    yield from wrapped(f"{clean(document.name)}: one order in which {clean(document.design)} breaks", INDENT)
    yield from wrapped(f"found by: {clean(document.made_by)}", INDENT)
    yield ""
    for op in workload:
        yield from wrapped(
            f"op {op.id}: {described(operation_row(op)).partition(': ')[2] or op.kind.value}", INDENT
        )
    yield from wrapped(f"before: {finals(document.start.balances)}", INDENT)
    yield ""
    width = max([5, *(len(one.lane) for step in document.steps for one in step.events)])
    width = min(width, 28)
    yield f"step  {'place':{width}}  what happens"
    silent = 0
    for step in document.steps:
        told = list(dict.fromkeys((one.lane, _told(one)) for one in _worth_telling(step)))
        silent += not told
        for number, (lane, text) in enumerate(told):
            head = f"{step.number if number == 0 else '':>4}  {fit(clean(lane), width):{width}}  "
            yield from wrap(
                text,
                WIDTH,
                initial_indent=head,
                subsequent_indent=" " * len(head),
                break_on_hyphens=False,
            )
    if silent:
        yield from wrapped(
            f"({silent} of {len(document.steps)} steps are not shown: polls, copies and acknowledgements)",
            INDENT,
        )
    yield ""
    yield from wrapped(f"after: {finals(document.final)}", INDENT)
    yield from wrapped(f"answers: {fates(document.fates)}", INDENT)
    yield from wrapped(
        f"violated: {', '.join(f'{kind.value} {count}' for kind, count in document.findings.items())}",
        INDENT,
    )


def _worth_telling(step: ChosenStep) -> Iterator[Event]:
    """Not that an answer arrives, nor that a service looks at what it has just written itself."""
    written = set()
    for event in step.events:
        if event.kind is StepKind.WROTE:
            written.add((event.lane, event.account))
        own = event.kind is StepKind.READ and (event.lane, event.account) in written
        if event.kind is not StepKind.RETURNED and not own:
            yield event


def _told(event: Event) -> str:
    """What happens, as a sentence without subject and point."""
    return _WORDS[event.kind](event, f"op {event.operation}")


def _from(event: Event) -> str:
    return f" from {clean(event.source)}" if event.source else ""


def _verb(event: Event) -> str:
    return short_statement(event.text) if event.text else "the waiting statement"


def _executed(event: Event, op: str) -> str:
    if event.balance is None:
        return f"{_verb(event)} of {op}: {event.rows or 0} rows"
    found = f"{'reads' if _verb(event).startswith('SELECT') else 'finds'} {event.balance}"
    return f"{_verb(event)} of {op} {found}{'' if event.rows else ', and matches no row'}"


_WORDS: dict[StepKind, Callable[[Event, str], str]] = {
    StepKind.INVOKED: lambda event, op: f"begins {op}",
    StepKind.APPENDED: lambda event, op: f"{op} at offset {event.offset},{_from(event)}",
    StepKind.DELIVERED: lambda event, op: f"receives {op}{_from(event)}",
    StepKind.READ: lambda event, op: f"reads {event.balance} for {op}",
    StepKind.BLOCKED: lambda event, op: f"{_verb(event)} of {op} waits for op {event.blocker}",
    StepKind.EXECUTED: _executed,
    StepKind.REFUSED: lambda event, op: f"{op} ends in error {clean(event.text or '')}",
    StepKind.RETURNED: lambda event, op: f"has the answer for {op}",
    StepKind.DECIDED: lambda event, op: f"decides {op}",
    StepKind.WROTE: lambda event, op: f"{event.balance} is written ({op})",
    StepKind.ADOPTED: lambda event, op: f"{event.balance} is taken over ({op})",
    StepKind.SUPERSEDED: lambda event, op: f"{event.balance} is dropped ({op}): a later writer has won",
    StepKind.ROLLED_BACK: lambda event, op: f"{op} is rolled back",
    StepKind.ANSWERED: lambda event, op: f"knows: {op} {clean(event.text or '')}",
}
