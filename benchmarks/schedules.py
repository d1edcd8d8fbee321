"""How many random schedules the virtual SQL database plays in a second of CPU time."""

from __future__ import annotations

import time

from arbsim.conform.schedules import schedule


def schedules(count: int) -> dict[str, float]:
    """Draw and play `count` schedules, as `arbsim conform --fuzz` does; compiling new SQL texts is part of it."""
    start = time.process_time()
    steps = sum(len(schedule(1, number).case.steps) for number in range(count))
    seconds = time.process_time() - start
    return {
        "schedules": count,
        "schedules_per_cpu_s": round(count / seconds),
        "statements_per_cpu_s": round(steps / seconds),
    }
