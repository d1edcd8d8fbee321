"""Writing one order down, and running it again.

A step has a name that holds in every run: which step made it possible, and how many things that one had made before.
So a counterexample is a list of names. Running it again takes the steps of these names, one after the other, and
compares what happens with what is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from arbsim import __version__
from arbsim.audit import audit
from arbsim.audit.judge import money
from arbsim.document import Part
from arbsim.explore.counterexample import (
    Assumption,
    Balances,
    ChosenStep,
    Counterexample,
    Event,
    State,
)
from arbsim.history import History
from arbsim.model import DesignCard, FindingKind, Workload
from arbsim.results import DesignResult
from arbsim.steps import Lane
from arbsim.steps import Step as Seen
from arbsim.worlds.api import Design
from arbsim.worlds.exhaustive.kernel import Learned, LearnedMore
from arbsim.worlds.exhaustive.world import ChoiceWorld
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.steps import StepRecorder


class Diverged(Exception):
    """A run does not lead where a counterexample says. ``step`` is where it leaves it; 0: before the first one."""

    def __init__(self, step: int, text: str) -> None:
        super().__init__(text)
        self.step = step


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a counterexample comes from: what it says beside the order itself."""

    name: str
    own_class: bool
    made_by: str
    originals: tuple[int, ...]
    scenario: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is run: one design on a few operations."""

    design: Design
    card: DesignCard
    workload: Workload
    settings: Settings


@dataclass(slots=True)
class Played:
    """An order that was run, step by step."""

    start: State
    at_once: tuple[bool, ...]
    steps: list[ChosenStep] = field(default_factory=list)
    history: History | None = None
    result: DesignResult | None = None


def write_down(subject: Subject, learned: Learned, names: Sequence[int], origin: Origin) -> Counterexample:
    """Run an order that a search found once more, and write it down. ``names`` are the search's own for its steps."""
    sites = _Noted(learned.shared_sites)
    again = learned.copy()
    again.shared_sites = sites
    played = _play(subject, again, sites, names)
    return _document(played, subject, again, origin)


def play(
    document: Counterexample, subject: Subject, world_type: type[ChoiceWorld] = ChoiceWorld
) -> tuple[Counterexample, DesignResult]:
    """Run a counterexample again; return what happened, in the same shape, and what the audit says of it.

    Raises Diverged at the first step that cannot be taken or is another one than is written, or where the order is
    over and the audit does not find the same.
    """
    learned = Learned()
    for word in document.assumed:
        setattr(learned, _field(word), True)
    while True:
        sites = _Told([*document.at_once, *(one for step in document.steps for one in step.at_once)])
        learned.shared_sites = sites
        texts = len(learned.texts)
        try:
            played = _play(subject, learned, sites, document.steps, world_type)
            break
        except LearnedMore:
            if sites.strayed or len(learned.texts) == texts:
                raise Diverged(0, "steps touch other things than they did when it was written") from None
    origin = Origin(
        document.name, document.own_class, document.made_by, document.originals, document.scenario
    )
    fresh = _document(played, subject, learned, origin)
    _compare(document, fresh)
    assert played.result is not None
    return fresh, played.result


def _field(word: str) -> str:
    return word.replace("-", "_")


# -- running -----------------------------------------------------------------------------------------------


class _Noted(set[object]):
    """The places after which something shared is touched; notes what was answered of each that was asked about."""

    def __init__(self, known: set[object]) -> None:
        super().__init__(known)
        self.told: list[bool] = []

    def __contains__(self, site: object) -> bool:
        shared = super().__contains__(site)
        self.told.append(not shared)
        return shared


class _Told(set[object]):
    """Stands for those places where they are not known, but what was answered is."""

    def __init__(self, answers: Sequence[bool]) -> None:
        super().__init__()
        self._answers = answers
        self.told: list[bool] = []
        self.strayed = False

    def __contains__(self, site: object) -> bool:
        place = len(self.told)
        at_once = self._answers[place] if place < len(self._answers) else False
        self.told.append(at_once)
        return not at_once

    def add(self, site: object) -> None:
        self.strayed = True


class _Player:
    """One run of an order."""

    def __init__(self, subject: Subject, learned: Learned, world_type: type[ChoiceWorld]) -> None:
        operations = [op.id for op in subject.workload]
        self.world = world_type(
            subject.design, subject.card, subject.workload, subject.settings, learned, operations
        )
        self._names = learned.names
        self._places: dict[int, int] = {}
        self._seen = 0

    @property
    def _recorder(self) -> StepRecorder:
        recorder = self.world.kernel.steps
        assert recorder is not None
        return recorder

    def path(self, name: int) -> str:
        """The name of a step that holds in every run."""
        parts: list[str] = []
        while name not in self._places:
            made = self._names.thing(name)
            assert isinstance(made, tuple)
            name, child = made
            parts.append(str(child))
            if name == 0:
                parts.append("0")
                break
        else:
            parts.append(str(self._places[name]))
        return ".".join(reversed(parts))

    def named(self, step: ChosenStep) -> int:
        """The step of this name among those that can be taken. Raises Diverged where there is none."""
        for name in self.world.choices():
            if self.path(name) == step.choice:
                return name
        known = ", ".join(map(self.path, self.world.choices())) or "none"
        raise Diverged(step.number, f"there is no step {step.choice}; those that can be taken: {known}")

    def take(self, name: int, told: list[bool]) -> ChosenStep:
        """Take a step."""
        path, choices = self.path(name), len(self.world.choices())
        asked = len(told)
        self.world.take(name)
        self._places[name] = number = len(self._places) + 1
        recorder = self._recorder
        seen, self._seen = recorder.steps[self._seen :], len(recorder.steps)
        return ChosenStep(
            number=number,
            choice=path,
            choices=choices,
            at_once=tuple(told[asked:]),
            events=tuple(map(_event, seen)),
            state=self.state(),
        )

    def state(self) -> State:
        """What every store holds now, and what every client knows."""
        answers = {
            str(answer.operation): answer.fate for answer in self.world.history.answers() if answer.fate
        }
        return State(balances=_balances(dict(self.world.balances())), answers=answers)


def _play(
    subject: Subject,
    learned: Learned,
    sites: _Noted | _Told,
    chosen: Sequence[int | ChosenStep],
    world_type: type[ChoiceWorld] = ChoiceWorld,
) -> Played:
    """Take the chosen steps to the run's end, and judge it. Raises Diverged where it does not end with them."""
    player = _Player(subject, learned, world_type)
    played = Played(player.state(), tuple(sites.told))
    for one in chosen:
        name = one if isinstance(one, int) else player.named(one)
        played.steps.append(player.take(name, sites.told))
    left = player.world.choices()
    if left:
        raise Diverged(len(played.steps), f"the run is not over: {len(left)} more steps can be taken")
    played.history = player.world.finish()
    played.result = audit(played.history)
    return played


def _event(seen: Seen) -> Event:
    return Event(
        kind=seen.kind,
        operation=seen.operation,
        lane=_lane(seen.lane),
        source=None if seen.source is None or seen.source == seen.lane else _lane(seen.source),
        account=seen.account,
        balance=None if seen.balance_cents is None else money(seen.balance_cents),
        store=seen.store,
        rows=seen.rows,
        offset=seen.offset,
        blocker=seen.blocker,
        text=seen.text or None,
    )


def _lane(lane: Lane) -> str:
    """A lane in words: "west client", "commands-0 in west", "account 1 in east"."""
    if lane.kind in ("log", "row"):
        return f"{lane.name} in {lane.region}"
    return f"{lane.region} {lane.kind}".strip()


def _balances(stores: dict[str, dict[int, int]]) -> Balances:
    return {
        store: {str(account): money(cents) for account, cents in sorted(balances.items())}
        for store, balances in sorted(stores.items())
    }


# -- documents ---------------------------------------------------------------------------------------------


def _document(played: Played, subject: Subject, learned: Learned, origin: Origin) -> Counterexample:
    assert played.history is not None
    assert played.result is not None
    return Counterexample(
        arbsim=__version__,
        name=origin.name,
        design=subject.card.name,
        own_class=origin.own_class,
        made_by=origin.made_by,
        originals=origin.originals,
        scenario=origin.scenario,
        assumed=tuple(word for word in get_args(Assumption) if getattr(learned, _field(word))),
        start=played.start,
        at_once=played.at_once,
        steps=tuple(played.steps),
        final=_balances(played.history.finals),
        fates=tuple(answer.fate for answer in played.history.answers()),
        findings={
            kind: played.result.findings[kind].count
            for kind in FindingKind
            if played.result.findings[kind].count
        },
    )


def _compare(written: Counterexample, fresh: Counterexample) -> None:
    """Raise Diverged at the first thing that is not as it is written."""
    for old, new in zip(written.steps, fresh.steps, strict=True):
        if old != new:
            what, before, now = _difference(old, new)
            raise Diverged(new.number, f"the file has {what} {before}, this run has {now}")
    if written != fresh:
        what, before, now = _difference(written, fresh)
        raise Diverged(len(fresh.steps), f"it is over, and the file has {what} {before}, this run has {now}")


def _difference(old: Part, new: Part) -> tuple[str, str, str]:
    """The first thing in which two unequal values differ: its name, and both."""
    names = type(new).model_fields
    name = next(name for name in names if getattr(old, name) != getattr(new, name))
    before, now = getattr(old, name), getattr(new, name)
    if isinstance(before, tuple) and isinstance(now, tuple) and len(before) == len(now):
        before, now = next(pair for pair in zip(before, now, strict=True) if pair[0] != pair[1])
    if isinstance(before, Part) and type(before) is type(now):
        inner, was, is_ = _difference(before, now)
        where = f" of op {now.operation} at {now.lane}" if isinstance(now, Event) else ""
        return f"{inner}{where}", was, is_
    return name, _short(before), _short(now)


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_short, value)) or "nothing"
    if isinstance(value, Event):
        return f"{value.kind.value} (op {value.operation})"
    return "nothing" if value is None else str(value)
