"""The machine on which this runs."""

from __future__ import annotations

import os
import platform


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_facts() -> dict[str, str]:
    """What this machine is, in words that identify nobody."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cores": str(cores()),
        "memory": f"{pages * size / 2**30:.0f} GiB",
        "Python": platform.python_version(),
    }
