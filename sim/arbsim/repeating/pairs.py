"""The race that is repeated: two operations on one account, again and again, each time on an account of its own.

All repetitions of a design are one workload, so nothing is started again in between. Repetitions do not meet: the next
one begins when the one before has long come everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from arbsim.audit import broken_accounts
from arbsim.history import History
from arbsim.model import Cents, Fate, Operation, Workload
from arbsim.worlds.virtual.draws import UNIT_BITS, Draws

_SCAN_TRIPS = 8
_SCAN_STEPS = 256
"""The model is asked at so many gaps, up to eight of the longest round trips either way."""

_SCAN_EVERY_TRIPS = 60
_SAFE_TRIPS = 2
_ROOM_TRIPS = 2
"""A repetition gets this much more time than the model's slowest one takes: a poll that had just returned costs one."""


class NothingToRepeat(ValueError):
    """The workload has no two operations that could race; the text says what is needed."""


@dataclass(frozen=True, slots=True)
class Race:
    """Two operations on one account from two regions, and what the account holds before."""

    first: Operation
    second: Operation
    opening_cents: Cents


@dataclass(frozen=True, slots=True)
class Plan:
    """How a race is repeated: gaps are uniform between two bounds, and one repetition begins so long after another."""

    from_ns: int
    to_ns: int
    every_ns: int

    def gaps_ns(self, count: int, seed: int) -> list[int]:
        """Draw gaps: the same for the same seed."""
        draws, width = Draws(seed, "repeating/gaps"), self.to_ns - self.from_ns
        return [self.from_ns + (width * draws.uniform(number, 0) >> UNIT_BITS) for number in range(count)]


def race_of(workload: Workload) -> Race:
    """Return the first two operations on one account from different regions. Raises NothingToRepeat."""
    seen: dict[int, Operation] = {}
    for op in workload:
        if op.to_account is not None:
            continue
        first = seen.setdefault(op.account, op)
        if op.region != first.region:
            return Race(first, op, workload.accounts[op.account])
    raise NothingToRepeat("nothing to repeat: no account has operations (not transfers) from two regions")


def repeated(race: Race, gaps_ns: Sequence[int], every_ns: int) -> Workload:
    """Return a workload with one repetition for each gap; repetition n (from 0) is on account n + 1.

    A gap is from the first operation's beginning to the second's; where it is negative the second begins first.
    """
    lead_ns = max(0, -min(gaps_ns, default=0))
    operations = []
    for number, gap_ns in enumerate(gaps_ns):
        at_ns = number * every_ns + lead_ns
        operations.append(race.first._replace(account=number + 1, at_ns=at_ns))
        operations.append(race.second._replace(account=number + 1, at_ns=at_ns + gap_ns))
    return _in_order(operations, dict.fromkeys(range(1, len(gaps_ns) + 1), race.opening_cents))


def as_invoked(history: History) -> Workload:
    """Return the workload with each operation at the time at which its client really began.

    A client wakes up late where the machine is busy. That changes the gap, which is not what is to be compared.
    """
    began = (op._replace(at_ns=max(op.at_ns, history.answer_of(op.id).invoked_ns)) for op in history.workload)
    return _in_order(began, history.workload.accounts)


def _in_order(operations: Iterable[Operation], accounts: dict[int, Cents]) -> Workload:
    ordered = sorted(operations, key=lambda op: op.at_ns)
    return Workload([op._replace(id=place) for place, op in enumerate(ordered, start=1)], accounts)


def plan(race: Race, longest_trip_ns: int, model: Callable[[Workload], History]) -> Plan:
    """Choose the gaps so that about half of the repetitions break on the model, before anything runs live.

    The model is asked twice: at gaps side by side from far below zero to far above, and again between the bounds that
    follow from that, at the pace that is meant. Where none breaks the bounds are two longest round trips either way.
    """
    far_ns = _SCAN_TRIPS * longest_trip_ns
    chosen = Plan(-far_ns, far_ns, _SCAN_EVERY_TRIPS * longest_trip_ns)
    for _ in range(2):
        chosen = _narrowed(chosen, race, longest_trip_ns, model)
    return chosen


def _narrowed(wide: Plan, race: Race, longest_trip_ns: int, model: Callable[[Workload], History]) -> Plan:
    """Bounds twice as far apart as the gaps that break reach together, around the middle one of them."""
    width_ns = wide.to_ns - wide.from_ns
    gaps_ns = [wide.from_ns + width_ns * number // _SCAN_STEPS for number in range(_SCAN_STEPS + 1)]
    history = model(repeated(race, gaps_ns, wide.every_ns))
    broken = sorted(gaps_ns[account - 1] for account in broken_accounts(history))
    middle_ns = broken[len(broken) // 2] if broken else 0
    reach_ns = width_ns * len(broken) // _SCAN_STEPS if broken else _SAFE_TRIPS * longest_trip_ns
    over_ns = slowest_ns(history) + _ROOM_TRIPS * longest_trip_ns
    return Plan(middle_ns - reach_ns, middle_ns + reach_ns, 2 * reach_ns + over_ns)


def slowest_ns(history: History) -> int:
    """Return the longest time from a repetition's later beginning to its last answer or change of a balance."""
    began: dict[int, int] = {}
    ended: dict[int, int] = {}
    for op in history.workload:
        answer = history.answer_of(op.id)
        began[op.account] = max(began.get(op.account, 0), answer.invoked_ns)
        ended[op.account] = max(ended.get(op.account, 0), answer.answered_ns)
    for effect in history.effects():
        ended[effect.account] = max(ended[effect.account], effect.time_ns)
    return max((ended[account] - began[account] for account in began), default=0)


def unanswered(history: History) -> set[int]:
    """Return the accounts with an operation of which nobody knows how it ended."""
    return {op.account for op in history.workload if history.fate(op.id) in (None, Fate.UNKNOWN)}
