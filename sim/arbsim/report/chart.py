"""The latency chart: where its marks stand. The page draws them as SVG, with the figures in a table beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from arbsim.model import Family
from arbsim.results import Results

LEFT, RIGHT, TOP, ROW, WIDTH = 230, 60, 34, 26, 760


@dataclass(frozen=True, slots=True)
class Bar:
    """One design: from the median to the 99th percentile of the time to fate, in pixels, with both in milliseconds."""

    name: str
    family: Family
    y: int
    from_x: float
    to_x: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A logarithmic axis and its bars; ``ticks`` are (pixel, label)."""

    height: int
    ticks: tuple[tuple[float, str], ...]
    bars: tuple[Bar, ...]


def latency_chart(results: Results) -> Chart | None:
    """Lay out the chart; None where no design answered anything."""
    measured = list(_measured(results))
    if not measured:
        return None
    low = math.floor(math.log10(min(max(p50, 0.01) for _, _, p50, _ in measured)))
    high = max(math.ceil(math.log10(max(p99 for *_, p99 in measured))), low + 1)
    scale = (WIDTH - LEFT - RIGHT) / (high - low)

    def x(milliseconds: float) -> float:
        return round(LEFT + (math.log10(max(milliseconds, 10.0**low)) - low) * scale, 1)

    ticks = tuple((x(10.0**power), f"{10.0**power:g}") for power in range(low, high + 1))
    bars = tuple(
        Bar(name, family, TOP + row * ROW, x(p50), x(p99), p50, p99)
        for row, (name, family, p50, p99) in enumerate(measured)
    )
    return Chart(TOP + len(bars) * ROW + 10, ticks, bars)


def _measured(results: Results) -> Iterator[tuple[str, Family, float, float]]:
    for name, result in results.designs.items():
        for row in result.costs.latency:
            if row.region == "all" and row.fate.p50_ms is not None and row.fate.p99_ms is not None:
                yield name, result.family, row.fate.p50_ms, row.fate.p99_ms
