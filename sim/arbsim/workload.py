"""Operations from a scenario: the list it holds, the trace it names, or what its recipe draws.

Every draw comes from a stream of its own, ``random.Random`` seeded with a text, and only ``random()`` is
called: its numbers are the same in every version of Python (documentation of the module ``random``, "Notes on
Reproducibility"). So operations do not depend on how many draws another region or another purpose made.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, islice
from operator import itemgetter
from random import Random as Stream
from typing import Generic, TypeVar

from arbsim.model import Cents, Kind, Operation, Operations, Workload
from arbsim.scenario.models import Scenario
from arbsim.scenario.workloads import AccountChoice, Amounts, Arrivals, Recipe

NS_PER_US = 1_000
NS_PER_S = 1_000_000_000
DEFAULT_EXPONENT = 0.99
"""The Zipf exponent of the Yahoo! Cloud Serving Benchmark (Cooper et al., SoCC 2010)."""

T = TypeVar("T")


def build_workload(scenario: Scenario, seed: int | None = None) -> Workload:
    """Return the operations of a scenario, in order of time, and the opening balances.

    ``seed`` replaces the scenario's own. Operations at the same time keep the order of the list or the file;
    generated ones follow the order of the regions.
    """
    spec = scenario.workload
    operations: Sequence[Operation]
    if spec.trace is not None:
        operations = spec.trace.operations
    elif spec.generate is not None:
        operations = _generate(scenario, spec.generate, scenario.seed if seed is None else seed)
    else:
        listed = sorted(spec.operations or (), key=lambda op: op.at)
        operations = tuple(
            Operation(number, op.at, op.region, op.kind, op.account, op.amount_cents, op.to_account)
            for number, op in enumerate(listed, 1)
        )
    return Workload(operations, dict(scenario.accounts))


def _generate(scenario: Scenario, recipe: Recipe, seed: int) -> Operations:
    accounts = AccountChooser(tuple(scenario.accounts), recipe.accounts)
    streams = [
        _region_operations(region, share, recipe, accounts, f"{seed}/{region}")
        for region, share in _shares(scenario.client_regions, recipe).items()
        if share
    ]
    # merge keeps the order of the streams where times are equal.
    merged = heapq.merge(*streams, key=itemgetter(0))
    return Operations(
        Operation(number, at_ns, region, kind, account, cents, to_account)
        for number, (at_ns, region, kind, account, cents, to_account) in enumerate(
            islice(merged, recipe.operations), 1
        )
    )


def _shares(regions: Sequence[str], recipe: Recipe) -> dict[str, Fraction]:
    """Return each region's part of all operations; who names none shares the rest equally."""
    named = {name: load.share for name, load in recipe.regions.items() if load.share is not None}
    rest = Fraction(1_000_000 - sum(named.values()), max(1, len(regions) - len(named)))
    return {name: Fraction(named.get(name, rest)) / 1_000_000 for name in regions}


_Draft = tuple[int, str, Kind, int, Cents, int | None]


def _region_operations(
    region: str, share: Fraction, recipe: Recipe, accounts: AccountChooser, stream: str
) -> Iterator[_Draft]:
    """Yield one region's operations without end: time, region, kind, account, cents, target."""
    load = recipe.regions.get(region)
    mix = load.mix if load is not None and load.mix is not None else recipe.mix
    draw_kind = Wheel(list(mix), list(mix.values())).drawn_by(_stream(f"{stream}/kind"))
    draw_account = accounts.drawn_by(_stream(f"{stream}/account"))
    draw_cents = amount_draw(recipe.amounts, _stream(f"{stream}/amount"))
    draw_target = evenly(accounts.accounts, _stream(f"{stream}/target"))
    for at_ns in arrival_times(recipe.arrivals, recipe.arrivals.rate * share, _stream(f"{stream}/arrivals")):
        kind = draw_kind()
        account = draw_account()
        # Every kind takes one draw of each stream: another mix leaves accounts and amounts as they were.
        cents = draw_cents()
        if kind is Kind.TRANSFER:
            target = draw_target()
            while target == account:
                target = draw_target()
            yield at_ns, region, kind, account, cents, target
        else:
            yield at_ns, region, kind, account, 0 if kind is Kind.READ else cents, None


def _stream(name: str) -> Stream:
    return Stream(name)  # noqa: S311  (nothing here is a secret)


def arrival_times(arrivals: Arrivals, rate: Fraction, stream: Stream) -> Iterator[int]:
    """Yield times in nanoseconds, in whole microseconds, never decreasing, without end."""
    if arrivals.process == "bursts":
        yield from _burst_times(arrivals, rate, stream)
        return
    mean_us = float(Fraction(1_000_000) / rate)
    draw = stream.random
    at_us = 0.0
    if arrivals.process == "uniform":
        # A random phase, or all regions would begin at the same instant for ever.
        phase_us = draw() * mean_us
        number = 0
        while True:
            yield round(phase_us + number * mean_us) * NS_PER_US
            number += 1
    while True:
        at_us -= math.log(1.0 - draw()) * mean_us
        yield round(at_us) * NS_PER_US


def _burst_times(arrivals: Arrivals, rate: Fraction, stream: Stream) -> Iterator[int]:
    """Yield bursts that begin like a Poisson process; a burst spreads evenly over its length.

    A burst that begins while another lasts follows it, so times never decrease.
    """
    size = arrivals.burst or 1
    mean_us = float(Fraction(1_000_000) * size / rate)
    within_us = (arrivals.within or 0) / NS_PER_US
    begins_us = 0.0
    free_us = 0.0
    while True:
        begins_us -= math.log(1.0 - stream.random()) * mean_us
        first_us = max(begins_us, free_us)
        for number in range(size):
            yield round(first_us + within_us * number / size) * NS_PER_US
        free_us = first_us + within_us


class Wheel(Generic[T]):
    """Values drawn in proportion to their weights, by the inverse of the sum of the weights."""

    def __init__(self, values: Sequence[T], weights: Sequence[float]) -> None:
        kept = [(value, weight) for value, weight in zip(values, weights, strict=True) if weight > 0]
        total = math.fsum(weight for _, weight in kept)
        self.values = [value for value, _ in kept]
        self.bounds = list(accumulate(weight / total for _, weight in kept))
        # The parts may add up to a little less than one, and a draw may lie between.
        self.bounds[-1] = 1.0

    def drawn_by(self, stream: Stream) -> Callable[[], T]:
        """Return a function that draws from one stream."""
        values, bounds, draw = self.values, self.bounds, stream.random
        return lambda: values[bisect_right(bounds, draw())]


def evenly(values: Sequence[T], stream: Stream) -> Callable[[], T]:
    """Return a function that draws values that are all alike."""
    count, draw = len(values), stream.random
    return lambda: values[int(draw() * count)]


class AccountChooser:
    """Which account an operation touches. With zipf the first accounts are the hot ones."""

    def __init__(self, accounts: Sequence[int], choice: AccountChoice) -> None:
        self.accounts = accounts
        self._wheel: Wheel[int] | None = None
        if choice.distribution == "zipf":
            exponent = DEFAULT_EXPONENT if choice.exponent is None else float(choice.exponent)
            self._wheel = Wheel(accounts, [rank**-exponent for rank in range(1, len(accounts) + 1)])

    def drawn_by(self, stream: Stream) -> Callable[[], int]:
        """Return a function that draws from one stream."""
        return evenly(self.accounts, stream) if self._wheel is None else self._wheel.drawn_by(stream)


def amount_draw(amounts: Amounts, stream: Stream) -> Callable[[], Cents]:
    """Return a function that draws an amount in cents."""
    if amounts.weights is not None:
        return Wheel(list(amounts.weights), list(amounts.weights.values())).drawn_by(stream)
    if amounts.fixed is not None:
        fixed = amounts.fixed
        return lambda: fixed
    lowest, highest = amounts.from_ or 1, amounts.to or 1
    count, draw = highest - lowest + 1, stream.random
    return lambda: lowest + int(draw() * count)


def hottest(workload: Workload) -> Mapping[int, int]:
    """Return how many operations touch each account, the most touched first."""
    touched: dict[int, int] = {}
    for operation in workload:
        touched[operation.account] = touched.get(operation.account, 0) + 1
        if operation.to_account is not None:
            touched[operation.to_account] = touched.get(operation.to_account, 0) + 1
    return dict(sorted(touched.items(), key=lambda item: (-item[1], item[0])))
