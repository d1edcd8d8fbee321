"""Print the speed figures as JSON. ``--quick`` takes a tenth of the operations."""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks.alone import design_alone
from benchmarks.live import live
from benchmarks.measures import (
    check_scenario,
    cold_cpu_s,
    events_of,
    flatness,
    hot_account,
    kernel_over_bare,
    where_time_goes,
)
from benchmarks.orders import plain_speed, reduction, shared
from benchmarks.peer import peer
from benchmarks.schedules import schedules
from benchmarks.stacks import starting as stack_starting
from benchmarks.sweeps import memory, parallel, starting


def main() -> None:
    """Measure; say on stderr what is at work."""
    share = 10 if "--quick" in sys.argv[1:] else 1
    check_scenario()
    figures: dict[str, Any] = {
        "cold_cpu_s": {
            "arbsim --help": cold_cpu_s("--help"),
            "arbsim run scenarios/two_regions.yaml": cold_cpu_s("run", "scenarios/two_regions.yaml"),
            "arbsim explore scenarios/two_regions.yaml": cold_cpu_s("explore", "scenarios/two_regions.yaml"),
        },
        "hot_account": {},
        "flatness": {},
    }
    for name in hot_account(100).designs:
        print(name, file=sys.stderr)
        figures["hot_account"][name] = events_of(name, 100_000 // share)
    print("where time goes", file=sys.stderr)
    figures["kernel_times_bare_simpy"] = kernel_over_bare(1_000_000 // share, 30)
    figures["design_without_database"] = design_alone(10_000, 9)
    figures["where_time_goes"] = {
        name: where_time_goes(name, 10_000 // share)
        for name in (
            "db/atomic-update",
            "db/select-for-update",
            "db/active-active",
            "bus/regional-deltas",
            "bus/single-writer",
            "bus/log-fold",
        )
    }
    print("flatness", file=sys.stderr)
    figures["flatness"] = flatness("db/atomic-update", 10_000, 1_000_000 // share)
    print("random schedules", file=sys.stderr)
    figures["random_schedules"] = schedules(10_000 // share)
    print("every order", file=sys.stderr)
    bus = (
        "regional-deltas",
        "regional-snapshots",
        "shared-table",
        "shared-table-atomic",
        "single-writer",
        "log-fold",
    )
    figures["every_order"] = {
        "plain": plain_speed(4_000 // share),
        "two_operations": {name: reduction(f"bus/{name}", 2) for name in bus},
        "three_operations": {name: reduction(f"bus/{name}", 3) for name in bus},
        "by_two_processes": shared("bus/regional-snapshots", 3),
        "four_operations": {
            name: reduction(f"bus/{name}", 4) for name in ("single-writer", "regional-deltas")
        },
    }
    print("a peer", file=sys.stderr)
    figures["beside_salabim"] = peer(20_000 // share)
    print("sweeps", file=sys.stderr)
    figures["sweep"] = {
        "parallel": parallel(600 if share == 1 else 300),
        "starting": starting(),
        "memory": memory(1_000_000 // share),
    }
    figures["live"] = {
        "starting": stack_starting(5 if share == 1 else 1),
        **live(2_000 if share == 1 else 500, rounds=7 if share == 1 else 1),
    }
    print(json.dumps(figures, indent=2))


# The processes of a sweep import this module again.
if __name__ == "__main__":
    main()
