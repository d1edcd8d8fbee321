"""A kernel without time: its queue is the set of steps that can be taken.

A timer (a message, a sleep, a poll) is a *step*: it is taken when the search says so, whatever its delay. What follows
from it at the same instant belongs to it. Time is a count of steps, so that a history has an order.

Three rules keep the choices few, and none of them loses an outcome:

- A step that touches nothing but a client's own state commutes with everything, so it is taken at once. Which kinds of
  step are so is learned: all are thought to be until one of them is seen to touch something shared. Then the search
  begins anew (:class:`Learned`); a search that ends has seen no exception.
- A step that would find nothing to do (a poll of an empty log, a look for deadlocks where there is none) waits until
  it would. Where it is known which step brought what it finds, it comes after that step in every order: there is
  nothing to reverse.
- A message waits for the one before it on its connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from types import CoroutineType
from typing import Any, Self, TypeVar

from simpy import Process
from simpy.events import NORMAL, URGENT, Event

from arbsim.worlds.exhaustive.comparisons import Comparisons
from arbsim.worlds.exhaustive.steps import Names, Step
from arbsim.worlds.virtual.kernel import Deadline, Future, IdleTimer, Kernel, Raised, Task, Timer, Trace

T = TypeVar("T")

TICK_NS = 1_000_000
"""How much later one step is than the one before, and one reading of a clock than the one before."""

JUMP_NS = 3_600_000_000_000
"""How far the clock goes when it jumps: further than any timeout."""


class LearnedMore(Exception):
    """A run showed that a rule of the search does not hold here: it must begin anew."""


@dataclass(slots=True)
class Learned:
    """What earlier runs have shown of a design. It only grows, so a search begins anew a few times at most.

    ``shared_sites``: places in the code after which something shared is touched. ``clock_is_read``: somebody looks at
    a clock. ``stamps_are_read``: at a record's timestamp. ``sql_time_decides``: a statement compares or returns a
    time. ``scarce_pools``: a pool of connections may be empty. ``starts_decide``: the database asks which of two
    transactions began first. ``waits_with_more``: who waits for a lock has done something before, or has a snapshot.
    ``limits``: what this world leaves out, so that nothing that is found here is true of every order.
    """

    names: Names = field(default_factory=Names)
    shared_sites: set[object] = field(default_factory=set)
    clock_is_read: bool = False
    stamps_are_read: bool = False
    sql_time_decides: bool = False
    scarce_pools: bool = False
    starts_decide: bool = False
    waits_with_more: bool = False
    limits: dict[str, None] = field(default_factory=dict)
    nothing_at_once: bool = False
    """Every step is a choice: for checking that the first rule above loses no outcome."""
    texts: dict[str, None] = field(default_factory=dict)
    """Statements that were looked at already."""

    def copy(self) -> Learned:
        """What is known now; it does not grow with this one."""
        sites, limits, texts = set(self.shared_sites), dict(self.limits), dict(self.texts)
        return replace(self, shared_sites=sites, limits=limits, texts=texts)


@dataclass(slots=True)
class _Entry:
    """A step that can be taken, or waits until it can. ``after``: places of the steps that it comes after.

    ``ready`` tells whether it would find something to do; None where it always does. ``openers``: the places of the
    steps without which it would not, as far as that is known.
    """

    name: int
    event: Event
    after: tuple[int, ...]
    connection: Connection | None
    touches: int
    ready: Callable[[], bool] | None = None
    openers: Callable[[], Iterable[int]] | None = None
    looked_at: AbstractSet[int] = frozenset()


class Connection:
    """One direction of a connection: the message that is under way, and those that wait behind it."""

    __slots__ = ("behind", "delivered", "under_way")

    def __init__(self) -> None:
        self.under_way = False
        self.delivered: int | None = None
        self.behind: deque[_Entry] = deque()


class ChoiceKernel(Kernel):
    """Keeps the steps that can be taken, and what each touches when it is."""

    def __init__(self, learned: Learned) -> None:
        super().__init__()
        self.learned = learned
        self._numbers = learned.names.numbers
        self.ready: dict[int, _Entry] = {}
        self.connection: Connection | None = None
        self.learned_more = False
        self.redundant = False
        self._born: deque[_Entry] = deque()
        self._waiting: dict[int, _Entry] = {}
        self._touches = 0
        self._idle = False
        self._maker = 0
        self._children = 0
        self._place: int | None = None
        self._taken = 0
        self._reads: set[int] = set()
        self._writes: set[int] = set()
        self._own: int | None = None
        self.comparisons = Comparisons()
        self._asked = self._numbers["asked"]
        self._strayed = False
        self._crowded: dict[int, None] = {}
        self._readings = 0
        self._clock = 0
        self.isolated = False

    @property
    def place(self) -> int:
        """The place in the run of the step that is being taken; -1 before the first choice."""
        return -1 if self._place is None else self._place

    # -- names and touches -----------------------------------------------------------------------------

    def mark(self) -> int:
        """Return the name of a new shared object: the step that made it, and how many it had made before."""
        self._children += 1
        return self._numbers[self._maker, self._children]

    def touch(self, mark: int, part: int = 0, *, write: bool = True) -> None:
        """Note that the step that is being taken touches an object."""
        thing = self._numbers[mark, "part", part] if part else mark
        (self._writes if write else self._reads).add(thing)
        if self._own is not None:
            self._own_no_more()

    def touch_group(self, group: int) -> None:
        """Note that a task of a group runs."""
        self._writes.add(group)
        if self._own is not None and (group != self._own or group in self._crowded):
            self._own_no_more()

    def touch_objects_of(self, task: Process | None) -> None:
        """Note that what belongs to a task's group is used."""
        if isinstance(task, GroupTask):
            self.touch_group(task.group)

    def _own_no_more(self) -> None:
        """What was thought to touch nothing shared did."""
        self._strayed = self.learned_more = True

    # -- which step came first -------------------------------------------------------------------------

    def touch_alone(self, mark: int) -> None:
        """Note that the step that is being taken has a place among the others, by which a later one may go."""
        self.touch(mark, self._maker)

    def came_first(self, one: int, other: int) -> bool:
        """Whether the step at one place came before that at another; the step that is being taken goes by it.

        It must come after both in every order, and say that it may ask (:meth:`may_ask`) whether it does or not.
        """
        return self.comparisons.came_first(one, other)

    def may_ask(self) -> None:
        """Note that the step that is being taken may go by which of two steps came first."""
        self.touch(self._asked)

    # -- the clock -------------------------------------------------------------------------------------

    def clock_ns(self, *, order_only: bool = False) -> int:
        """Read the clock: a shared object, for later readings show more."""
        self.touch(self._clock)
        if not order_only and not self.learned.clock_is_read and self._place is not None:
            self.learned.clock_is_read = self.learned_more = True  # now it must be able to jump
        self._readings += 1
        return self._start_ns + self._readings * TICK_NS

    def begin(self) -> None:
        """The search begins here: what is ready now are the first choices."""
        self._start_ns = self.now_ns
        self._clock = self.mark()
        self._place = -1
        if self.learned.clock_is_read:
            jump = Timer(self, 1)
            jump.callbacks.append(self._jump)

    def _jump(self, _: Event) -> None:
        """Much time passes, once."""
        self.touch(self._clock)
        self._readings += JUMP_NS // TICK_NS

    _start_ns = 0

    # -- what SimPy and the models ask for -------------------------------------------------------------

    def schedule(self, event: Event, priority: Any = NORMAL, delay: Any = 0) -> None:
        """Take an event into the queue of this instant, or a timer among the steps."""
        if self._idle:
            return
        if delay == 0:
            (self._urgent if priority == URGENT else self._normal).append(event)
            return
        connection, self.connection = self.connection, None
        touches, self._touches = self._touches, 0
        after = () if self._place is None or self._place < 0 else (self._place,)
        self._born.append(_Entry(self.mark(), event, after, connection, touches))

    def call_ns(self, delay_ns: int, then: Callable[[Any], None]) -> None:
        """Call a function at a step of its own."""
        Timer(self, delay_ns, then)

    def idle_ns(self, delay_ns: int) -> IdleTimer:
        """Return a timer that never fires: a poll that finds nothing goes on waiting."""
        self._idle = True
        timer = IdleTimer(self, delay_ns)
        self._idle = False
        return timer

    def future(self) -> Future[Any]:
        """Return a Future; who sets it and who awaits it touch it."""
        return SharedFuture(self)

    def latch(self) -> Future[Any]:
        """Return a Future that is set and awaited in any order with the same end."""
        return Latch(self)

    def spawn(self, coroutine: Coroutine[Any, Any, T], trace: Trace | None = None) -> Task[T]:
        """Run a coroutine in a group of its own."""
        task = GroupTask(self, coroutine, trace or self.trace, self.mark())
        task.alone = self.isolated
        return task

    def branch(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        """Run a part of a design's task. Both may share Python objects, unless the design's tasks are isolated."""
        if self.isolated:
            return self.spawn(coroutine)
        parent = self.task
        assert isinstance(parent, GroupTask)
        self.crowd(parent.group)
        return GroupTask(self, coroutine, self.trace, parent.group)

    def crowd(self, group: int) -> None:
        """There is more than one thing that can happen next in this group."""
        self._crowded[group] = None
        if self._own is not None:
            self._own_no_more()

    def timeout_ns(self, delay_ns: int) -> Deadline:
        """Return a deadline that can expire at any step."""
        return AnyTimeDeadline(self, delay_ns)

    # -- taking steps ----------------------------------------------------------------------------------

    def take(self, name: int, *answers: int) -> Step:
        """Take a step, and all that follows at the same instant or touches nothing shared."""
        entry = self.ready.pop(name)
        after = entry.after
        if entry.openers is not None:
            after += tuple([place for place in entry.openers() if place >= 0 and place not in after])
        self._reads.clear()
        self._writes.clear()
        self._maker, self._children = name, 0
        if self._place is not None:
            self._place = self._taken
            self._taken += 1
        self.comparisons.begin_step(self.place, answers)
        self.now_ns += TICK_NS
        if entry.touches:
            self._writes.add(entry.touches)
        if entry.connection is not None:
            self._deliver(entry.connection)
        self._fire(entry.event)
        self.settle()
        self.raise_learned()
        return Step(
            name,
            frozenset(self._reads - self._writes),
            frozenset(self._writes),
            after,
            tuple(self.comparisons.compared),
            tuple(self.comparisons.answers),
        )

    def raise_learned(self) -> None:
        """Raise LearnedMore where a rule of the search turned out not to hold."""
        if self.learned_more:
            raise LearnedMore

    def _deliver(self, connection: Connection) -> None:
        """The message is there: the next one on its connection can arrive."""
        connection.delivered = self._place if self._place is not None else None
        if connection.behind:
            following = connection.behind.popleft()
            self._let(following)
        else:
            connection.under_way = False

    def _let(self, entry: _Entry) -> None:
        """Let a message arrive when it may."""
        connection = entry.connection
        assert connection is not None
        connection.under_way = True
        before = connection.delivered
        if before is not None and before >= 0 and before not in entry.after:
            entry.after = (*entry.after, before)
        self.ready[entry.name] = entry

    def settle(self) -> None:
        """Run all that needs no choice; then see what can be chosen."""
        self._run_instant()
        born = self._born
        while born:
            entry = born.popleft()
            callbacks = entry.event.callbacks
            first = callbacks[0] if callbacks else None
            sleeper = getattr(first, "__self__", None)
            if type(sleeper) is GroupTask:
                if (site := self._site_alone(entry, sleeper)) is not None:
                    self._run_own(entry.event, sleeper.group, site)
                    continue
                # A timeout can take the sleeper away from its timer, which then wakes nobody, and must still meet it.
                entry.touches = sleeper.group
            self._offer(entry, entry.event if type(entry.event) is Gate else first)
        self._wake()

    def _offer(self, entry: _Entry, happens: object) -> None:
        """Let a step be chosen, now or when it may. Some of what happens then can tell whether it would do anything."""
        connection = entry.connection
        entry.openers = getattr(happens, "openers", None)
        if connection is not None:
            if connection.under_way:
                connection.behind.append(entry)
            else:
                self._let(entry)
        elif (ready := getattr(happens, "ready", None)) is not None:
            entry.ready = ready
            self._waiting[entry.name] = entry
        else:
            self.ready[entry.name] = entry

    def _wake(self) -> None:
        """Let those steps become possible that would find something to do now.

        One that would not is asked again when a step has written something that it looked at.
        """
        reads, writes = self._reads, self._writes
        waiting = self._waiting.values()
        asked = [one for one in waiting if not one.looked_at or not one.looked_at.isdisjoint(writes)]
        for entry in asked:
            assert entry.ready is not None
            self._reads, self._writes = set[int](), set[int]()
            if entry.ready():
                self.ready[entry.name] = entry
                del self._waiting[entry.name]
            else:
                entry.looked_at = self._reads | self._writes
        self._reads, self._writes = reads, writes

    def _site_alone(self, entry: _Entry, sleeper: GroupTask[Any]) -> object:
        """The place in the code of a sleeper that is thought to touch nothing shared when it wakes; else None.

        A message may have to wait for the one before it, so it is never taken at once.
        """
        if (
            not sleeper.alone
            or entry.connection is not None
            or self._place is None
            or type(entry.event) is Gate
            or self.learned.nothing_at_once
            or sleeper.group in self._crowded
        ):
            return None
        site = sleeper.site()
        return None if site in self.learned.shared_sites else site

    def _run_own(self, event: Event, group: int, site: object) -> None:
        self._own, self._strayed = group, False
        self.now_ns += TICK_NS
        self._fire(event)
        self._run_instant()
        self._own = None
        if self._strayed:
            self.learned.shared_sites.add(site)

    def _run_instant(self) -> None:
        urgent, normal = self._urgent, self._normal
        while True:
            if urgent:
                self._fire(urgent.popleft())
            elif normal:
                self._fire(normal.popleft())
            else:
                return

    def _fire(self, event: Event) -> None:
        callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
        for callback in callbacks:
            callback(event)
        if not event._ok and not event._defused:
            raise event._value


class Gate(Timer):
    """A wait for something to be there; going on is a step of its own.

    ``ready`` tells whether it is there, ``openers`` the places of the steps without which it would not be.
    """

    def __init__(
        self, kernel: Kernel, ready: Callable[[], bool], openers: Callable[[], Iterable[int]]
    ) -> None:
        self.ready = ready
        self.openers = openers
        super().__init__(kernel, 1)


class GroupTask(Task[T]):
    """A task of a group. ``alone``: nobody shares its Python objects, unless its group gets crowded."""

    alone = False

    env: ChoiceKernel

    def __init__(
        self, kernel: ChoiceKernel, coroutine: Coroutine[Any, Any, T], trace: Trace, group: int
    ) -> None:
        self.group = group
        super().__init__(kernel, coroutine, trace)

    def _resume(self, event: Event) -> None:
        self.env.touch_group(self.group)
        super()._resume(event)

    def __await__(self) -> Any:
        self.env.touch(self.group, write=False)
        return super().__await__()

    def interrupt(self, cause: object = None) -> None:
        """Take the task away from what it waits for. Whether that came first can depend on the order."""
        awaited = self._target
        if isinstance(awaited, SharedFuture):
            self.env.touch(awaited.mark)
        elif isinstance(awaited, GroupTask):
            self.env.touch(awaited.group)
        super().interrupt(cause)

    def site(self) -> object:
        """Where in the code it waits: the innermost coroutine, and the place in it."""
        frame: Any = self._generator
        while type(inner := frame.cr_await) is CoroutineType:
            frame = inner
        return frame.cr_code, frame.cr_frame.f_lasti


class SharedFuture(Future[T]):
    """A Future that is an object: whether it is set when somebody comes to await it can depend on the order."""

    def __init__(self, kernel: ChoiceKernel) -> None:
        super().__init__(kernel)
        self.mark = kernel.mark()

    def set(self, value: T | Raised) -> None:
        """Deliver the value."""
        self.env.touch(self.mark)
        super().set(value)

    def __await__(self) -> Any:
        self.env.touch(self.mark)
        return super().__await__()


class Latch(Future[T]):
    """A Future whose setting and awaiting commute: going on is a step that comes after both."""

    def __init__(self, kernel: ChoiceKernel) -> None:
        super().__init__(kernel)
        self._choices = kernel
        self._mark = kernel.mark()
        self.set_at = -1

    def set(self, value: T | Raised) -> None:
        """Deliver the value."""
        self._choices.touch(self._mark)
        self._ok, self._value = True, value
        self.set_at = self._choices.place

    def is_set(self) -> bool:
        """Whether the value is there, as a gate asks."""
        self._choices.touch(self._mark, write=False)
        return self.done

    def __await__(self) -> Any:
        yield Gate(self._choices, self.is_set, lambda: (self.set_at,))
        self._choices.touch(self._mark, write=False)
        value = self._value
        if type(value) is Raised:
            raise value.error
        return value


class AnyTimeDeadline(Deadline):
    """A deadline whose end is a step like any other."""

    async def __aenter__(self) -> Self:
        kernel = self._kernel
        assert isinstance(kernel, ChoiceKernel)
        task = kernel.task
        assert isinstance(task, GroupTask)
        kernel.crowd(task.group)
        kernel._touches = task.group
        return await super().__aenter__()
