"""What a sweep costs: two workers over one, starting many points, and the memory of one long run.

``python -m benchmarks.sweeps 300`` measures the first alone, with so many replications of each point.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arbsim.scenario.load import parse_scenario
from arbsim.scenario.source import Source
from arbsim.sweep.dask import LOCAL, connect
from arbsim.sweep.executors import LocalProcesses, Workers
from arbsim.sweep.plan import Plan, make_plan
from arbsim.sweep.run import run_sweep
from benchmarks.measures import ROOT

SCENARIO = """\
name: a sweep to measure
seed: 3
regions: {{east: {{location: us-east-1}}, west: {{location: us-west-2}}}}
accounts: {{count: 20, balance: 100.00}}
workload:
  generate:
    operations: {operations}
    arrivals: {{process: poisson, rate: 20/s}}
    amounts: {{from: 5.00, to: 40.00}}
    mix: {{withdraw: 60 %, deposit: 40 %}}
designs: [{designs}]
sweep: {{vary: {{{vary}}}, replications: {replications}, measures: [violated, fate_p99]}}
"""

MANY = (
    "kafka.mirror_lag: {from: 1 ms, to: 9 s, steps: 100}, workload.rate: {from: 1/s, to: 900/s, steps: 100}"
)


def plan_of(operations: int, designs: str, vary: str, replications: int) -> Plan:
    """Return the plan of a sweep of the scenario above."""
    text = SCENARIO.format(operations=operations, designs=designs, vary=vary, replications=replications)
    return make_plan(parse_scenario(Source("sweep", text), folder=ROOT))


def parallel(replications: int) -> dict[str, Any]:
    """Wall time of one sweep by one process over that by two, and the same for workers of a local Dask cluster.

    Each pays what a user pays: from the call to the document, its workers' start and end included. A short sweep shows
    little else, so this one takes a minute or more, and what starting costs stands beside it. Two workers of Dask are
    held against one of Dask, and against the one process that needs no Dask. It means something only where two cores
    are free: the load of the minute before says whether they were.
    """
    vary = "kafka.mirror_lag: [5 ms, 50 ms, 100 ms, 200 ms]"
    plan = plan_of(200, "bus/regional-deltas, db/atomic-update", vary, replications)
    operations = sum(point.operations for point in plan.points) * replications * len(plan.designs)
    load = os.getloadavg()[0]
    ways: dict[str, Callable[[], Workers]] = {
        "one_process": lambda: LocalProcesses(1),
        "two_processes": lambda: LocalProcesses(2),
        "dask_one_worker": lambda: connect(LOCAL, 1),
        "dask_two_workers": lambda: connect(LOCAL, 2),
    }
    cost = {name: cost_s(plan, workers) for name, workers in ways.items()}
    wall = {name: seconds for name, (seconds, _) in cost.items()}
    return {
        "operations": operations,
        "load_before": load,
        "wall_s": {name: round(seconds, 1) for name, seconds in wall.items()},
        "two_processes_times_one": round(wall["one_process"] / wall["two_processes"], 2),
        "dask_two_workers_times_one": round(wall["dask_one_worker"] / wall["dask_two_workers"], 2),
        "dask_two_workers_times_one_process": round(wall["one_process"] / wall["dask_two_workers"], 2),
        "dask_two_workers_start_and_stop_s": _idle_s(2),
        "cpu_us_per_operation": {name: round(1e6 * cpu / operations, 1) for name, (_, cpu) in cost.items()},
    }


def _idle_s(workers: int) -> float:
    """Seconds in which a local Dask cluster starts and stops, with nothing to do between."""
    begun = time.perf_counter()
    connect(LOCAL, workers).close()
    return round(time.perf_counter() - begun, 1)


def cost_s(plan: Plan, workers: Callable[[], Workers]) -> tuple[float, float]:
    """Seconds from the start of a sweep to its document, and the CPU seconds of all processes that took part."""
    with tempfile.TemporaryDirectory() as folder:
        begun, cpu = time.perf_counter(), _cpu_s()
        run_sweep(plan, Path(folder), workers, "", "")
        return time.perf_counter() - begun, _cpu_s() - cpu


def _cpu_s() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def starting() -> dict[str, float]:
    """CPU time of a sweep of 10,000 tiny points until its first task is handed out, by point."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        plan = plan_of(6, "db/atomic-update", MANY, 1)

        class Started(Exception):
            """The first task."""

        class Nobody:
            count = 2

            def executor(self) -> Any:
                raise Started

            def lost(self, error: BaseException) -> bool:
                return False

            def close(self) -> None:
                pass

        try:
            run_sweep(plan, Path(folder), Nobody, "", "")
        except Started:
            spent = time.process_time() - begun
    return {"points": len(plan.points), "ms_per_point": round(1000 * spent / len(plan.points), 3)}


def memory(operations: int) -> dict[str, float]:
    """Peak memory of a worker that runs one replication of db/atomic-update, audit included. Linux alone tells it.

    Not by getrusage: a process begins with the peak of the one that started it.
    """
    plan = plan_of(operations, "db/atomic-update", "kafka.mirror_lag: [5 ms]", 1)
    script = (
        "import pickle, sys\n"
        "setting, units = pickle.load(sys.stdin.buffer)\n"
        "from arbsim.sweep.task import run_units\n"
        "assert run_units(setting, units).done[0].record\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    work = pickle.dumps((plan.setting, (plan.unit(0, 0),)))
    done = subprocess.run(
        [sys.executable, "-c", script], input=work, cwd=ROOT, check=True, capture_output=True
    )
    return {"operations": operations, "peak_mib": round(int(done.stdout) / 1024)}


# The processes of a sweep import this module again.
if __name__ == "__main__":
    print(json.dumps(parallel(int(sys.argv[1])), indent=2))
