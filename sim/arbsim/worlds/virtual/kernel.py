"""Virtual time: SimPy drives coroutines.

SimPy runs generators that yield events. A coroutine is driven the same way, so a design can be written with
``async`` and ``await``: our events have an ``__await__`` that yields the event itself. Time is integer
nanoseconds.

Four things differ from plain SimPy, each for a reason:

- SimPy re-creates the exception of a failed event from its ``args``, which loses constraint names and texts.
  So a
  failure travels as a value (:class:`Raised`) and is raised in the frame of whoever awaits.
- Awaiting something of asyncio's would end in an obscure AttributeError. It is refused, with the place in the
  code.
- Services never end, so "no more events" cannot end a run. Timers that only mean "look again later" are idle
  timers;
  the run is over when nothing but idle timers is left.
- A third of all events happens at the instant in which it is scheduled. Those take their turn in two queues of their
  own and never see the heap. The order is SimPy's: what is urgent, what was scheduled before this instant, the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from heapq import heappop, heappush
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import simpy
from simpy.events import NORMAL, PENDING, Event

if TYPE_CHECKING:
    from arbsim.worlds.virtual.steps import StepRecorder

T = TypeVar("T")

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class ForeignAwait(TypeError):
    """A design awaited something that does not belong to its world (asyncio's sleep, a real socket)."""


class Raised:
    """An exception that travels as a value."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Journey:
    """What the network's weather is drawn for: an operation, a part of the design (``salt``), the leg of its way.

    ``point`` is that of the next leg's draw; None before the first.
    """

    __slots__ = ("operation", "point", "salt")

    def __init__(self, operation: int, salt: int = 0) -> None:
        self.operation = operation
        self.salt = salt
        self.point: int | None = None


class Trace(Journey):
    """Which operation the running code works on: what OpenTelemetry calls the trace context.

    The history attributes reads and effects to ``operation``. ``reads`` holds, per store and account, the version
    that this code saw last: a write is based on it. ``decided_on`` holds the version (with its cents and time) that
    it saw first: the decision is based on that.
    """

    __slots__ = ("decided_on", "reads")

    def __init__(self, operation: int, salt: int = 0) -> None:
        self.operation = operation
        self.salt = salt
        self.point = None
        self.reads: dict[tuple[int, int], int] = {}
        self.decided_on: dict[tuple[int, int], tuple[int, int, int]] = {}


class Kernel(simpy.Environment):
    """The event queue, with integer nanoseconds and coroutines. ``run_until_quiet`` alone works it off."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0
        """Virtual time since the start, in nanoseconds."""
        # When, which of those made so far, and what is called then or else the timer that somebody waits for.
        self._timers: list[tuple[int, int, Callable[[Any], None] | None, Event | None]] = []
        self._urgent: deque[Event] = deque()
        self._normal: deque[Event] = deque()
        self.idle_timers = 0
        self._no_trace = Trace(0)
        self.trace = self._no_trace
        """What the running task works on; operation 0 where no task runs."""
        self.steps: StepRecorder | None = None
        """Who wants to know what happens step by step; None in an ordinary run."""

    @property
    def now(self) -> int:
        """The same by SimPy's name."""
        return self.now_ns

    @property
    def task(self) -> Task[Any]:
        """The running task."""
        task = self._active_proc
        assert isinstance(task, Task), "only a task may do this"
        return task

    def schedule(self, event: Event, priority: Any = NORMAL, delay: Any = 0) -> None:
        """Let an event happen: in this instant, or later."""
        if delay:
            heappush(self._timers, (self.now_ns + delay, next(self._eid), None, event))
        elif priority == NORMAL:
            self._normal.append(event)
        else:
            self._urgent.append(event)

    def call_ns(self, delay_ns: int, then: Callable[[Any], None]) -> None:
        """Call a function ``delay_ns`` nanoseconds from now."""
        if delay_ns > 0:
            heappush(self._timers, (self.now_ns + delay_ns, next(self._eid), then, None))
        else:
            Timer(self, delay_ns, then)

    def sleep_ns(self, delay_ns: int) -> Timer:
        """Return an awaitable that is done ``delay_ns`` nanoseconds from now."""
        return Timer(self, delay_ns)

    def idle_ns(self, delay_ns: int) -> IdleTimer:
        """Return a timer that does not keep the run alive."""
        return IdleTimer(self, delay_ns)

    def future(self) -> Future[Any]:
        """Return a Future that is not done."""
        return Future(self)

    def latch(self) -> Future[Any]:
        """Return a Future that is set once, and that nobody asks whether it is set: who awaits it may come late."""
        return Future(self)

    def spawn(self, coroutine: Coroutine[Any, Any, T], trace: Trace | None = None) -> Task[T]:
        """Run a coroutine beside the others. It works on ``trace``, or on what its parent works on."""
        return Task(self, coroutine, trace or self.trace)

    def branch(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        """Run a part of the running task beside it."""
        return self.spawn(coroutine)

    async def gather(self, *coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
        """Run coroutines side by side; return their results, or raise the first error, in their order."""
        tasks = [self.branch(coroutine) for coroutine in coroutines]
        for task in tasks:
            task.observed = True
        return [await task for task in tasks]

    def timeout_ns(self, delay_ns: int) -> Deadline:
        """Return an async context manager that raises TimeoutError when its body takes longer."""
        return Deadline(self, delay_ns)

    def clock_ns(self, *, order_only: bool = False) -> int:
        """Read the clock in order to decide something by it, or to stamp something that others may decide by.

        ``order_only``: what is done with it depends on nothing but which reading was earlier.
        """
        return self.now_ns

    # In virtual time one thing happens after the other, and nobody asks what two of them share. The exhaustive world
    # must know: a forgotten object makes it call a search complete that is not.

    def mark(self) -> int:
        """Return the name of a new shared object."""
        return 0

    def touch(self, mark: int, part: int = 0, *, write: bool = True) -> None:
        """Say that the running code reads or writes a shared object, or one part of it."""

    def touch_objects_of(self, task: simpy.Process | None) -> None:
        """Say that what runs next may use the Python objects of a task."""

    def run_until_quiet(self, horizon_ns: int) -> bool:
        """Run until only idle timers are left, or until ``horizon_ns``. Return whether it became quiet."""
        timers, urgent, normal = self._timers, self._urgent, self._normal
        now_ns = self.now_ns
        event: Any
        while True:
            if urgent:
                event = urgent.popleft()
            elif normal and (not timers or timers[0][0] > now_ns):
                event = normal.popleft()
            elif not timers:
                return True
            else:
                at_ns, _, then, event = due = heappop(timers)
                quiet = event is not None and event.idle and not normal and len(timers) < self.idle_timers
                if quiet or at_ns > horizon_ns:
                    heappush(timers, due)
                    return len(timers) <= self.idle_timers
                self.now_ns = now_ns = at_ns
                if then is not None:
                    then(None)
                    continue
            callbacks, event.callbacks = event.callbacks, None
            for callback in callbacks:
                callback(event)


class Timer(Event, Awaitable[None]):
    """A span of virtual time; ``then`` is called at its end. Most events are timers, so this is kept short."""

    idle = False
    _ok = True
    _value = None

    def __init__(self, kernel: Kernel, delay_ns: int, then: Callable[[Event], None] | None = None) -> None:
        if delay_ns < 0:
            raise ValueError(f"a delay of {delay_ns} ns is negative")
        self.env = kernel
        self.callbacks = [] if then is None else [then]
        kernel.schedule(self, NORMAL, delay_ns)

    def __await__(self) -> Generator[Any, Any, None]:
        return iter((self,))  # type: ignore[return-value]  # cheaper to make than a generator


class IdleTimer(Timer):
    """A timer that does not keep a run alive."""

    idle = True

    def __init__(self, kernel: Kernel, delay_ns: int) -> None:
        super().__init__(kernel, delay_ns)
        kernel.idle_timers += 1
        self.callbacks.append(_idle_timer_fired)


def _idle_timer_fired(event: Event) -> None:
    event.env.idle_timers -= 1  # type: ignore[attr-defined]


class Future(Event, Awaitable[T], Generic[T]):
    """A value that somebody will deliver; an error is delivered as :class:`Raised`."""

    env: Kernel
    _ok = True

    @property
    def done(self) -> bool:
        """Whether the value has been delivered."""
        return self._value is not PENDING

    def set(self, value: T | Raised) -> None:
        """Deliver the value. Those who await it go on at this time, in the order in which they came."""
        if self._value is not PENDING:
            raise RuntimeError(f"{self!r} has its value already")
        self._value = value
        self.env._normal.append(self)

    def __await__(self) -> Generator[Any, Any, T]:
        value = yield self
        if type(value) is Raised:
            raise value.error
        return value  # type: ignore[no-any-return]


class _Start(Event):
    """Begins a task; urgent, as SimPy's own."""

    _ok = True
    _value = None

    def __init__(self, kernel: Kernel, resume: Callable[[Event], None]) -> None:
        self.env = kernel
        self.callbacks = [resume]
        kernel._urgent.append(self)


class Task(simpy.Process, Awaitable[T], Generic[T]):
    """A running coroutine; awaiting it gives its result or raises its error."""

    env: Kernel

    def __init__(self, kernel: Kernel, coroutine: Coroutine[Any, Any, T], trace: Trace) -> None:
        self.env = kernel
        self.callbacks = []
        self.trace = trace
        self._generator = coroutine  # type: ignore[assignment]
        self._target = _Start(kernel, self._resume)
        self.observed = False

    def _resume(self, event: Event) -> None:
        kernel = self.env
        coroutine = self._generator
        awaited: Any  # which may be no event at all
        kernel._active_proc, kernel.trace = self, self.trace
        try:
            while True:
                if event._ok:
                    awaited = coroutine.send(event._value)
                else:
                    awaited = coroutine.throw(event._value)
                if not isinstance(awaited, Event):
                    event = _refusal(kernel, coroutine, awaited)
                    continue
                callbacks: list[Any] | None = awaited.callbacks
                if callbacks is not None:
                    callbacks.append(self._resume)
                    self._target = awaited
                    return
                event = awaited
        except StopIteration as finished:
            self._finish(finished.value)
        except Exception as error:
            self._finish(Raised(error))
        finally:
            kernel._active_proc, kernel.trace = None, kernel._no_trace

    def _finish(self, value: Any) -> None:
        self._target = None  # type: ignore[assignment]
        if not self.callbacks and isinstance(value, Raised) and not self.observed:
            # Nobody awaits this task: an error must not pass in silence.
            self._ok, self._value = True, value
            raise TaskFailed from value.error
        self.succeed(value)

    def work_on(self, trace: Trace) -> None:
        """Let the task work on something else from now on."""
        self.trace = trace
        if self.env._active_proc is self:
            self.env.trace = trace

    def close(self) -> None:
        """End the task without running it further; clean-up code that awaits is cut short."""
        if self._value is PENDING:
            if self._target.callbacks:
                self._target.callbacks.remove(self._resume)
            # RuntimeError, "coroutine ignored GeneratorExit": it awaited while it was being closed.
            with suppress(RuntimeError):
                self._generator.close()

    def __await__(self) -> Generator[Any, Any, T]:
        self.observed = True
        value = yield self
        if type(value) is Raised:
            raise value.error
        return value  # type: ignore[no-any-return]


class TaskFailed(Exception):
    """A task that nobody awaits ended with an error; the error is the ``__cause__``."""


def _refusal(kernel: Kernel, coroutine: Any, awaited: Any) -> Event:
    """Return a failed event that tells the coroutine that it awaited something foreign, and where."""
    frame, where = coroutine, "?"
    while frame is not None:
        code = getattr(frame, "cr_code", None) or getattr(frame, "gi_code", None)
        inner = getattr(frame, "cr_frame", None) or getattr(frame, "gi_frame", None)
        if code is None or inner is None:
            break
        where = f"{code.co_filename}:{inner.f_lineno} ({code.co_name})"
        frame = getattr(frame, "cr_await", None) or getattr(frame, "gi_yieldfrom", None)
    refused = Event(kernel)
    refused._ok = False
    refused._value = ForeignAwait(
        f"{where} awaits {type(awaited).__module__}.{type(awaited).__qualname__}, which is not of this world:"
        " use the region's sleep, gather, timeout, database and kafka"
    )
    return refused


class Deadline:
    """An async context manager that raises TimeoutError when its body takes longer than it may."""

    def __init__(self, kernel: Kernel, delay_ns: int) -> None:
        self._kernel = kernel
        self._delay_ns = delay_ns
        self._expired = False
        self._over = False

    async def __aenter__(self) -> Self:
        task = self._kernel.active_process
        assert task is not None
        timer = Timer(self._kernel, self._delay_ns)

        def expire(_: Event) -> None:
            if not self._over:
                self._expired = True
                task.interrupt(self)

        timer.callbacks.append(expire)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        self._over = True
        if self._expired and isinstance(error, simpy.Interrupt) and error.cause is self:
            raise TimeoutError from error
        return False
