"""From a violating run of any size to one of which nothing can be left out.

First a leap: the operations that the finding names are tried alone, with the balance that they began with, and then
with more and more of what came before. Then operations, regions and settings are left out one by one, and what is left
is written with round numbers; until nothing changes any more.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from arbsim.audit.explain import asked_of, first_finding
from arbsim.history import History
from arbsim.model import Cents, Kind, Operation
from arbsim.results import DesignResult
from arbsim.shrinking.bench import Bench, Case
from arbsim.shrinking.ddmin import ddmin

Keys = tuple[str, ...]
SECTIONS = ("network", "database", "kafka", "cdc")
LEADERS: tuple[Keys, ...] = (("database", "leader"), ("kafka", "leader"))
UNIT: Cents = 100


def shrink(case: Case, bench: Bench, leaps: Iterator[Case]) -> Case:
    """Return the smallest case that was found; it shows what the bench looks for, as ``case`` must.

    It ends: each change makes fewer operations, regions or settings, or rounder numbers.
    """
    case = next((leap for leap in leaps if bench.shows(leap)), case)
    case = _fewer_operations(case, bench)
    passes: tuple[Callable[[Case, Bench], Case], ...] = (
        _fewer_operations,
        _fewer_regions,
        _fewer_settings,
        _simpler_operations,
        _rounder_amounts,
        _rounder_times,
    )
    while True:
        before = case.data
        for one in passes:
            case = one(case, bench)
        if case.data == before:
            return case


def _first(case: Case, bench: Bench, candidates: Iterator[Case]) -> Case | None:
    return next((one for one in candidates if bench.shows(one)), None)


# -- the leap ----------------------------------------------------------------------------------------------


def leaps_of(case: Case, history: History, result: DesignResult) -> Iterator[Case]:
    """The finding's operations alone; then more of what came before on their account; then all up to the last."""
    found = first_finding(result)
    if found is None:
        return
    asked = asked_of(history, *found)
    if not asked.operations:
        return
    effects = {answer.operation for answer in history.answers() if answer.fate == "accepted"}
    operations = case.workload.operations
    chosen = [op for op in operations if op.id in asked.operations]
    accounts = {account for op in chosen for account in (op.account, op.to_account)}
    last = max(asked.operations)
    near = [op for op in operations if op.id <= last and accounts & {op.account, op.to_account}]
    earlier = [op for op in near if op not in chosen]
    more = 0
    while more <= len(earlier):
        tail = sorted([*chosen, *(earlier[-more:] if more else [])], key=lambda op: op.id)
        opening = dict(case.workload.accounts)
        for op in operations:
            if op.id < tail[0].id and op.id in effects:
                for account, cents in op.deltas():
                    opening[account] += cents
        if all(cents >= 0 for cents in opening.values()):
            yield case.with_accounts(opening).with_operations(tail)
        yield case.with_operations(tail)
        more = 2 * more or 1
    yield case.with_operations(near)
    yield case.with_operations([op for op in operations if op.id <= last])


# -- leaving out -------------------------------------------------------------------------------------------


def without_operation(case: Case) -> Iterator[Case]:
    """The case without one of its operations."""
    for left_out in case.workload:
        yield case.with_operations([op for op in case.workload if op != left_out])


def _fewer_operations(case: Case, bench: Bench) -> Case:
    kept = ddmin(case.workload.operations, lambda some: bench.shows(case.with_operations(list(some))))
    return case.with_operations(kept)


def without_region(case: Case) -> Iterator[Case]:
    """The case without one of its regions; what its clients did, those of another region do."""
    regions = list(case.setup["regions"])
    used = {op.region for op in case.workload}
    for gone in regions:
        setup = _without(case.setup, ("regions", gone))
        for keys in LEADERS:
            if _get(setup, keys) == gone:
                setup = _without(setup, keys)
        trips = _get(setup, ("network", "round_trips"))
        for pair in trips if isinstance(trips, dict) else ():
            if pair.startswith(f"{gone}-") or pair.endswith(f"-{gone}"):
                setup = _without(setup, ("network", "round_trips", pair))
        for heir in regions if gone in used else [""]:
            if heir != gone:
                moved = [op._replace(region=heir) if op.region == gone else op for op in case.workload]
                yield replace(case, setup=setup).with_operations(moved)


def _fewer_regions(case: Case, bench: Bench) -> Case:
    while (smaller := _first(case, bench, without_region(case))) is not None:
        case = smaller
    return case


def settings_in(setup: Mapping[str, Any]) -> list[Keys]:
    """What the scenario says beside what it must: the places of values that are no defaults."""
    found: list[Keys] = [("seed",)] if "seed" in setup else []
    for section in SECTIONS:
        found += _leaves((section,), setup.get(section))
    entry = setup["designs"][0]
    if isinstance(entry, dict) and "sql" not in entry:
        found += [("designs", key) for key in entry if key not in ("name", "design")]
    return found


def _leaves(keys: Keys, value: Any) -> list[Keys]:
    """The places below; a table of round trips is one value, for half of it says nothing."""
    if isinstance(value, dict) and keys != ("network", "round_trips"):
        return [leaf for key, inner in value.items() for leaf in _leaves((*keys, key), inner)]
    return [] if value is None else [keys]


def without_setting(case: Case) -> Iterator[Case]:
    """The case with one of its settings left to the default."""
    for keys in settings_in(case.setup):
        yield replace(case, setup=_without(case.setup, keys))


def _fewer_settings(case: Case, bench: Bench) -> Case:
    every = settings_in(case.setup)

    def with_only(kept: Any) -> Case:
        setup = case.setup
        for keys in every:
            if keys not in kept:
                setup = _without(setup, keys)
        return replace(case, setup=setup)

    return with_only(ddmin(every, lambda kept: bench.shows(with_only(kept))))


def _without(setup: Mapping[str, Any], keys: Keys) -> dict[str, Any]:
    changed: dict[str, Any] = copy.deepcopy(dict(setup))
    inner: Any = changed
    for key in keys[:-1]:
        inner = inner[0] if isinstance(inner, list) else inner.get(key, {})
        if isinstance(inner, list):
            inner = inner[0]
    inner.pop(keys[-1], None)
    for section in SECTIONS:
        if changed.get(section) == {}:
            del changed[section]
    entry = changed["designs"][0]
    if isinstance(entry, dict) and set(entry) == {"name", "design"} and entry["name"] == entry["design"]:
        changed["designs"] = [entry["design"]]
    return changed


def _get(setup: Mapping[str, Any], keys: Keys) -> Any:
    value: Any = setup
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


# -- rounding ----------------------------------------------------------------------------------------------


def _simpler_operations(case: Case, bench: Bench) -> Case:
    """A transfer touches two accounts: try its halves."""
    for number, op in enumerate(case.workload.operations):
        if op.kind is Kind.TRANSFER and op.to_account is not None:
            halves = (
                op._replace(kind=Kind.WITHDRAW, to_account=None),
                op._replace(kind=Kind.DEPOSIT, account=op.to_account, to_account=None),
            )
            smaller = _first(case, bench, (_with(case, number, half) for half in halves))
            case = smaller or case
    return case


def _with(case: Case, number: int, op: Operation) -> Case:
    operations = list(case.workload.operations)
    operations[number] = op
    return case.with_operations(operations)


def roundness(value: int) -> tuple[int, int]:
    """How many digits a number has that are no trailing zeros; then how large it is."""
    return len(str(abs(value)).rstrip("0")), value


def _rounder(value: int) -> Iterator[int]:
    """Numbers that are rounder than this one, the roundest first: 0, and its first digits, down and up."""
    yield 0
    for digits in range(1, len(str(value)) + 1):
        size = 10 ** max(0, len(str(value)) - digits)
        yield value // size * size
        yield -(-value // size) * size


def _rounder_amounts(case: Case, bench: Bench) -> Case:
    """All amounts alike, if that will do; else each as round as it can be, the opening balances too."""
    for opening in (0, UNIT):
        accounts = dict.fromkeys(case.workload.accounts, opening)
        alike = [op._replace(amount_cents=op.amount_cents and UNIT) for op in case.workload]
        every = case.with_accounts(accounts).with_operations(alike)
        # Where it is so already, what comes after is no simpler: taking it would go round in circles.
        if every.data == case.data or bench.shows(every):
            return every
    for account, cents in case.workload.accounts.items():
        for candidate in (UNIT, *_rounder(cents)):
            other = case.with_accounts({**case.workload.accounts, account: candidate})
            if roundness(candidate) < roundness(cents) and bench.shows(other):
                case = other
                break
    for number, op in enumerate(case.workload.operations):
        for candidate in (UNIT, *_rounder(op.amount_cents)):
            changed = _with(case, number, op._replace(amount_cents=candidate))
            if candidate > 0 and roundness(candidate) < roundness(op.amount_cents) and bench.shows(changed):
                case = changed
                break
    return case


def _rounder_times(case: Case, bench: Bench) -> Case:
    """The first at 0; each at the roundest time that will do."""
    first = case.workload.operations[0].at_ns
    moved = case.with_operations([op._replace(at_ns=op.at_ns - first) for op in case.workload])
    case = moved if bench.shows(moved) else case
    for number in range(len(case.workload)):
        op = case.workload.operations[number]
        for candidate in _rounder(op.at_ns):
            changed = _with(case, number, op._replace(at_ns=candidate))
            if roundness(candidate) < roundness(op.at_ns) and bench.shows(changed):
                case = changed
                break
    return case
