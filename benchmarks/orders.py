"""What trying every order costs: runs and orders a second, and how many orders one run stands for.

By itself, ``python -m benchmarks.orders db/select-then-update 4`` tries the orders of one design by one process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from multiprocessing import get_context

from arbsim.explore.search import ALONE, LOOK, Explored, explore_design
from arbsim.model import Kind, Operation, Workload
from arbsim.runner import card_of, designs_of, settings_of
from arbsim.scenario import load_scenario
from arbsim.worlds.api import Design
from benchmarks.measures import ROOT

TWO_REGIONS = load_scenario(ROOT / "scenarios" / "two_regions.yaml")
AMOUNTS_CENTS = (7_000, 6_000, 2_000, 4_000)
MOST_CUTS = 50_000

Row = dict[str, float | int | None]


def withdrawals(count: int) -> Workload:
    """Up to four withdrawals from the account of two_regions.yaml, from east and west in turn."""
    operations = tuple(
        Operation(place + 1, 0, ("east", "west")[place % 2], Kind.WITHDRAW, 1, AMOUNTS_CENTS[place])
        for place in range(count)
    )
    return Workload(operations, {1: 10_000})


def explored(
    name: str, operations: int, *, reduced: bool = True, most_runs: int | None = None, workers: int = 1
) -> tuple[Explored, float]:
    """Try the orders of some withdrawals through a design of two_regions.yaml; return what it took in CPU time, too."""
    designs: Mapping[str, Design] = designs_of(TWO_REGIONS)
    begun = time.process_time()
    found = explore_design(
        designs[name],
        card_of(name, designs[name]),
        withdrawals(operations),
        settings_of(TWO_REGIONS, TWO_REGIONS.seed),
        reduced=reduced,
        most_cuts=MOST_CUTS if operations < 3 or name == "bus/single-writer" else 0,
        workers=workers,
        stop=lambda progress: "enough" if progress.runs == most_runs else None,
    )
    return found, time.process_time() - begun


def shared(name: str, operations: int) -> Row:
    """Wall time of one search by one process, over that by two. Means something only where two cores are free.

    What one process does before the others begin (ALONE runs of the search, and LOOK by chance) is paid: the search
    must be long enough. Nor may it be begun anew halfway, which comes at another time where two are at work.
    ``at_most`` is the figure if only that stood in the way. ``at_most_here`` is how much more than one two processes do
    that share nothing: what cores that are not wholly two, or are not free, allow.
    """
    wall_s = []
    for workers in (1, 2):
        begun = time.perf_counter()
        found, _ = explored(name, operations, workers=workers)
        wall_s.append(time.perf_counter() - begun)
    apart = [get_context("fork").Process(target=explored, args=(name, operations)) for _ in range(2)]
    begun = time.perf_counter()
    for process in apart:
        process.start()
    for process in apart:
        process.join()
    apart_wall_s = time.perf_counter() - begun
    alone = ALONE + LOOK
    runs = LOOK + found.classes + found.redundant
    return {
        "one_process_wall_s": round(wall_s[0], 1),
        "two_processes_wall_s": round(wall_s[1], 1),
        "times_as_fast": round(wall_s[0] / wall_s[1], 2),
        "at_most": round(runs / (alone + (runs - alone) / 2), 2),
        "at_most_here": round(2 * wall_s[0] / apart_wall_s, 2),
    }


def plain_speed(runs: int) -> Row:
    """Every order by itself: four operations through db/atomic-update, the first so many orders."""
    found, cpu_s = explored("db/atomic-update", 4, reduced=False, most_runs=runs)
    return {"orders": found.classes, "orders_per_cpu_s": round(found.classes / cpu_s)}


def reduction(name: str, operations: int) -> Row:
    """One order of each class: how many there are, and of how many orders they are where that can be counted."""
    found, cpu_s = explored(name, operations)
    return {
        "classes": found.classes,
        "given_up": found.redundant,
        "orders": found.orders,
        "orders_per_run": None if found.orders is None else found.orders // (found.classes + found.redundant),
        "steps": found.longest,
        "cpu_s": round(cpu_s, 2),
    }


if __name__ == "__main__":
    print(json.dumps(reduction(sys.argv[1], int(sys.argv[2]))))
