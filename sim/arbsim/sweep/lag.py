"""The ratio by which asynchronous designs stop looking safe: how long news travels, over how often it is needed."""

from __future__ import annotations

import math
from itertools import permutations

from arbsim.scenario import Scenario
from arbsim.scenario.workloads import Recipe
from arbsim.workload import DEFAULT_EXPONENT

NS_PER_S = 1_000_000_000


def lag_over_gap(scenario: Scenario) -> float | None:
    """Return the replication lag over the mean gap between operations on the hottest account.

    The lag is the longest one-way delay between two regions with clients, without jitter, and kafka.mirror_lag.
    None where operations are listed or recorded: they have no rate.
    """
    recipe = scenario.workload.generate
    if recipe is None:
        return None
    trips = scenario.round_trips_ns()
    one_way_ns = max((trips[pair] // 2 for pair in permutations(scenario.client_regions, 2)), default=0)
    rate = float(recipe.arrivals.rate) * _hottest_share(recipe, len(scenario.accounts))
    return (one_way_ns + scenario.kafka.mirror_lag) * rate / NS_PER_S


def _hottest_share(recipe: Recipe, accounts: int) -> float:
    """Return the part of all operations that the most used account gets."""
    choice = recipe.accounts
    if choice.distribution == "uniform":
        return 1 / accounts
    exponent = DEFAULT_EXPONENT if choice.exponent is None else float(choice.exponent)
    return 1 / math.fsum(rank**-exponent for rank in range(1, accounts + 1))
