"""What matters and what does not: a shrunk case is run again with other values, and what the runs show is told.

Nothing here is known beforehand. A sentence says how many cases were run for it, and is told only if all of them agree
with it; between the values that were tried it says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from random import Random

from arbsim.model import Cents, Kind
from arbsim.scenario.parameter_paths import Place, places, with_values
from arbsim.scenario.quantities import Duration
from arbsim.scenario.sweep_check import written
from arbsim.shrinking.bench import Bench, Case
from arbsim.shrinking.document import Fact
from arbsim.shrinking.reduce import LEADERS, without_operation, without_region, without_setting

MS = 1_000_000
GRID_NS = tuple(number * MS for number in (0, 1, 10, 100, 1_000, 10_000))
SEEDS = range(1, 21)
MOST_AMOUNTS = 60
MOST_AMOUNTS_ANY_ORDER = 12
"""A case that does not break costs a whole search there."""
STRETCH_NS = 100 * MS
PRECISION_NS = MS // 10


def facts_of(case: Case, bench: Bench) -> Iterator[Fact]:
    """Run the case with other values, and yield what that shows."""
    probes = _Probes(case, bench)
    yield from _parts(probes)
    yield from _amounts(probes)
    if not bench.any_order:
        yield from _times(probes)
        yield from _delays(probes)
        yield from _seeds(probes)
    yield from _regions(probes)


@dataclass(slots=True)
class _Probes:
    """Runs cases, and counts them for the fact that is being found."""

    case: Case
    bench: Bench
    tried: int = 0
    violating: int = 0

    def shows(self, case: Case) -> bool:
        """Run a case."""
        shown = self.bench.shows(case)
        self.tried += 1
        self.violating += shown
        return shown

    def fact(self, about: str, matters: bool, text: str) -> Fact:
        """What the runs since the last fact have shown."""
        fact = Fact(about=about, matters=matters, text=text, tried=self.tried, violating=self.violating)
        self.tried = self.violating = 0
        return fact


# -- parts -------------------------------------------------------------------------------------------------


def _parts(probes: _Probes) -> Iterator[Fact]:
    """That nothing can be left out."""
    case = probes.case
    needed = {
        "operation": [*without_operation(case)],
        "region": [*without_region(case)],
        "setting": [*without_setting(case)],
    }
    counts = {"operation": len(case.workload), "region": len(case.setup["regions"])}
    counts["setting"] = len(needed["setting"])
    every = [probes.shows(one) for cases in needed.values() for one in cases]
    if any(every):
        probes.tried = probes.violating = 0
        return
    parts = [_count(number, word) for word, number in counts.items() if number > (word == "region")]
    yield probes.fact("parts", True, f"{_and(parts)}: without any one of them it does not break")


# -- amounts -----------------------------------------------------------------------------------------------

Rule = Callable[[Cents, Sequence[Cents]], bool]

RULES: tuple[tuple[str, Rule], ...] = (
    (
        "that sum to more than the balance",
        lambda opening, amounts: sum(amounts) > opening,
    ),
    (
        "each within the balance",
        lambda opening, amounts: max(amounts) <= opening,
    ),
    (
        "that are each within the balance and sum to more than it",
        lambda opening, amounts: max(amounts) <= opening < sum(amounts),
    ),
)


def _amounts(probes: _Probes) -> Iterator[Fact]:
    """Other amounts, and other opening balances, where one account is all there is."""
    case = probes.case
    changing = [op for op in case.workload if op.kind is not Kind.READ]
    if len(case.workload.accounts) != 1 or not changing:
        return
    few = MOST_AMOUNTS_ANY_ORDER if probes.bench.any_order else None
    some = islice(_other_amounts(case), few)
    found = [(opening, amounts, probes.shows(other)) for opening, amounts, other in some]
    violating = sum(shown for *_, shown in found)
    if violating == len(found):
        yield probes.fact(
            "amounts",
            False,
            f"the amounts and the opening balance may be anything: {len(found)} choices tried",
        )
        return
    names = {"withdraw": "withdrawals", "deposit": "deposits"}
    kinds = {op.kind for op in changing}
    for text, rule in RULES:
        if len(kinds) == 1 and all(rule(opening, amounts) == shown for opening, amounts, shown in found):
            what = names.get(next(iter(kinds)).value, "amounts")
            yield probes.fact(
                "amounts",
                True,
                f"the amounts may be any {what} {text}: all {violating} such choices break, and none of"
                f" {len(found) - violating} others",
            )
            return
    yield probes.fact("amounts", True, f"{violating} of {len(found)} other choices of amounts break")


def _other_amounts(case: Case) -> Iterator[tuple[Cents, tuple[Cents, ...], Case]]:
    """Amounts around a balance of 100.00, to the cent, in all combinations or some of them; then other balances."""
    (account,) = case.workload.accounts
    around = (1, 4_000, 5_000, 5_001, 6_000, 9_999, 10_000, 10_001, 25_000)
    count = sum(op.kind is not Kind.READ for op in case.workload)
    every = [(10_000, amounts) for amounts in product(around, repeat=count)] if count < 4 else []
    draw = Random("amounts")  # noqa: S311 - nothing here is secret
    while len(every) < MOST_AMOUNTS:
        every.append((10_000, tuple(draw.choice(around) for _ in range(count))))
    some = draw.sample(every, MOST_AMOUNTS)
    some += [(opening, tuple(cents * opening // 10_000 or 1 for cents in amounts))
             for opening in (10, 123_456_789) for _, amounts in some[:10]]  # fmt: skip
    for opening, amounts in some:
        left = iter(amounts)
        operations = [
            op if op.kind is Kind.READ else op._replace(amount_cents=next(left)) for op in case.workload
        ]
        yield opening, amounts, case.with_accounts({account: opening}).with_operations(operations)


# -- times -------------------------------------------------------------------------------------------------


def _times(probes: _Probes) -> Iterator[Fact]:
    """How much later each operation may begin than it does."""
    operations = probes.case.workload.operations
    if len(operations) == 1:
        return
    for number, op in enumerate(operations):
        where = f"op {op.id} ({op.region})" if len({one.region for one in operations}) > 1 else f"op {op.id}"
        others = "the other" if len(operations) == 2 else "the others"
        last, first = _window(probes, probes.case, number)
        if first is None:
            yield probes.fact(
                "times",
                False,
                f"{where} may begin up to {_time(last)} after {others}, and later was not tried",
            )
        else:
            yield probes.fact(
                "times",
                True,
                f"{where} may begin up to {_time(last)} later than it does here; {_time(first)} later it does not"
                " break",
            )


def _window(probes: _Probes, case: Case, number: int, part: int | None = None) -> tuple[int, int | None]:
    """The last delay of an operation with which the case still breaks, and the first with which it does not, in ns.

    They are a tenth of a millisecond apart, or so many parts of what they are.
    """

    def shows(delay_ns: int) -> bool:
        operations = list(case.workload.operations)
        operations[number] = operations[number]._replace(at_ns=operations[number].at_ns + delay_ns)
        return probes.shows(case.with_operations(operations))

    good, bad = 0, None
    for delay_ns in GRID_NS[1:]:
        if not shows(delay_ns):
            bad = delay_ns
            break
        good = delay_ns
    if bad is None:
        return good, None
    return _bisect(good, bad, shows, max(PRECISION_NS, bad // part if part else 0))


def _bisect(good: int, bad: int, shows: Callable[[int], bool], step: int = PRECISION_NS) -> tuple[int, int]:
    """Bring a value that shows it and one that does not together, up to a step, in ns."""
    while abs(bad - good) > step:
        middle = (good + bad) // 2 // step * step
        if middle in (good, bad):
            break
        good, bad = (middle, bad) if shows(middle) else (good, middle)
    return good, bad


# -- delays ------------------------------------------------------------------------------------------------

ROUND_TRIPS = "every round trip between regions"


def _delays(probes: _Probes) -> Iterator[Fact]:
    """Each delay of the model by itself: where it breaks, and what it does to the time that the last one has."""
    free: list[str] = []
    tried = violating = 0
    for name, quantity, with_delay in _delays_of(probes):
        grid = [ns for ns in GRID_NS if quantity.at_least <= ns <= quantity.at_most]
        found = [(ns, probes.shows(with_delay(ns))) for ns in grid]
        decides = _switch(name, found, probes, with_delay)
        if decides is not None:
            yield probes.fact("delays", True, decides)
            continue
        free.append(name)
        tried, violating = tried + probes.tried, violating + probes.violating
        probes.tried = probes.violating = 0
        if len(probes.case.workload) > 1:
            yield from _stretch(probes, name, with_delay)
    probes.tried, probes.violating = tried, violating
    if free:
        yield probes.fact(
            "delays",
            False,
            f"as the operations begin here, it breaks with {_time(GRID_NS[0])} to {_time(GRID_NS[-1])} of each of"
            f" these: {', '.join(free)}",
        )


def _switch(
    name: str,
    found: Sequence[tuple[int, bool]],
    probes: _Probes,
    with_delay: Callable[[int], Case],
) -> str | None:
    """Where a delay decides; None where it breaks with all of them."""
    shown = [ns for ns, shows in found if shows]
    if len(shown) == len(found):
        return None
    changes = [number for number in range(1, len(found)) if found[number][1] != found[number - 1][1]]
    if len(changes) != 1:
        return f"with {name} it breaks at {', '.join(map(_time, shown)) or 'none'} of those that were tried"
    low, high = found[changes[0] - 1][0], found[changes[0]][0]

    def shows(ns: int) -> bool:
        return probes.shows(with_delay(ns))

    if found[0][1]:
        good, bad = _bisect(low, high, shows)
        return f"it breaks with {name} up to {_time(good)}, not with {_time(bad)} or more"
    good, bad = _bisect(high, low, shows)
    return f"it breaks with {name} from {_time(good)} on, not with {_time(bad)} or less"


def _stretch(probes: _Probes, name: str, with_delay: Callable[[int], Case]) -> Iterator[Fact]:
    """What a delay does to the time in which the last operation may begin."""
    last = len(probes.case.workload) - 1
    short, long = (_window(probes, with_delay(ns), last, 100)[0] for ns in (MS // 10, STRETCH_NS))
    if abs(long - short) > 2 * MS:
        yield probes.fact(
            "delays",
            True,
            f"how late op {last + 1} may begin depends on {name}: up to {_time(short)} later with"
            f" {_time(MS // 10)} of it, {_time(long)} with {_time(STRETCH_NS)}",
        )
    probes.tried = probes.violating = 0


def _delays_of(probes: _Probes) -> Iterator[tuple[str, Duration, Callable[[int], Case]]]:
    """Every delay that has to do with this design, and the case with another value of it."""
    case = probes.case
    scenario = probes.bench.scenario(case)
    data = written(scenario)
    trips = scenario.round_trips_ns()
    pairs = [f"{source}-{target}" for source, target in trips if source < target]
    if pairs:

        def with_trips(ns: int) -> Case:
            table = {("network", "round_trips"): dict.fromkeys(pairs, Duration().write(ns))}
            return replace(case, setup=with_values(case.setup, table))  # type: ignore[arg-type]

        yield ROUND_TRIPS, Duration(at_least=1), with_trips
    sections = probes.bench.sections(case)
    for place in places(data).values():
        if place.keys[0] in sections and isinstance(place.quantity, Duration):
            yield _name(place), place.quantity, _with(case, place)


def _with(case: Case, place: Place) -> Callable[[int], Case]:
    def with_delay(ns: int) -> Case:
        return replace(case, setup=with_values(case.setup, {place.keys: Duration().write(ns)}))

    return with_delay


def _name(place: Place) -> str:
    return f"the design's {place.keys[-1]}" if place.keys[0] == "designs" else place.path


# -- regions and seeds -------------------------------------------------------------------------------------


def _regions(probes: _Probes) -> Iterator[Fact]:
    """Who leads, and who begins where."""
    case = probes.case
    regions = list(case.setup["regions"])
    if len(regions) < 2:
        return
    led = {region: probes.shows(_led_by(case, region)) for region in regions}
    yield _which(probes, "leader", "leads", led)
    used = sorted({op.region for op in case.workload})
    if len(used) == 2:
        other = dict(zip(used, reversed(used), strict=True))
        swapped = case.with_operations([op._replace(region=other[op.region]) for op in case.workload])
        shown = probes.shows(swapped)
        how = "just the same" if shown else "no more"
        yield probes.fact("regions", not shown, f"with {used[0]} and {used[1]} exchanged it breaks {how}")


def _led_by(case: Case, region: str) -> Case:
    leaders = dict.fromkeys(LEADERS, region)
    return replace(case, setup=with_values(case.setup, leaders))


def _which(probes: _Probes, about: str, verb: str, shown: dict[str, bool]) -> Fact:
    if all(shown.values()):
        return probes.fact(about, False, f"it does not matter which region {verb}: {', '.join(shown)}")
    good = [region for region, shows in shown.items() if shows]
    bad = [region for region, shows in shown.items() if not shows]
    return probes.fact(
        about, True, f"it breaks where {_and(good) or 'none'} {verb}, not where {_and(bad)} does"
    )


def _seeds(probes: _Probes) -> Iterator[Fact]:
    """Other network weather."""
    case = probes.case
    shown = sum(probes.shows(replace(case, setup={**case.setup, "seed": str(seed)})) for seed in SEEDS)
    yield probes.fact(
        "seed",
        shown < len(SEEDS),
        f"it breaks with {'each' if shown == len(SEEDS) else str(shown)} of {len(SEEDS)} seeds",
    )


# -- words -------------------------------------------------------------------------------------------------


def _time(ns: int) -> str:
    return Duration().write(ns)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
