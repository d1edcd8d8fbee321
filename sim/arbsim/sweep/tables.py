"""The numbers of a sweep as CSV: one row per point, design and measure."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import TextIO

from arbsim.sweep.results import Point, SweepResults

Cell = str | int | float | None


def write_estimates(results: SweepResults, file: TextIO) -> None:
    """Write every estimate with its interval, counts and seeds."""
    paths = [parameter.path for parameter in results.parameters]
    head = ("point", *paths, "lag_over_gap", "operations", "first_seed", "last_seed", "design", "measure")
    tail = (
        "runs",
        "count",
        "estimate",
        "low",
        "high",
        "one_sided",
        "method",
        "inconclusive",
        "first_violating_seed",
    )
    points = {point.number: point for point in results.points}
    rows = (
        (
            *_of_point(points[one.point]),
            one.design,
            one.measure,
            one.runs,
            one.count,
            one.estimate,
            one.low,
            one.high,
            str(one.one_sided).lower(),
            one.method,
            one.inconclusive,
            one.first_seed,
        )
        for one in results.estimates
    )
    _write(file, (*head, *tail), rows)


def write_differences(results: SweepResults, file: TextIO) -> None:
    """Write every paired difference with its interval."""
    paths = [parameter.path for parameter in results.parameters]
    head = ("point", *paths, "lag_over_gap", "operations", "first_seed", "last_seed")
    tail = ("design", "baseline", "measure", "difference", "low", "high", "method", "narrower")
    points = {point.number: point for point in results.points}
    rows = (
        (
            *_of_point(points[one.point]),
            one.design,
            one.baseline,
            one.measure,
            one.estimate,
            one.low,
            one.high,
            one.method,
            one.narrower,
        )
        for one in results.differences
    )
    _write(file, (*head, *tail), rows)


def _of_point(point: Point) -> tuple[Cell, ...]:
    return (
        point.number,
        *point.values.values(),
        point.lag_over_gap,
        point.operations,
        point.first_seed,
        point.last_seed,
    )


def _write(file: TextIO, head: tuple[str, ...], rows: Iterator[tuple[Cell, ...]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(map(_inert, row) for row in rows)


def _inert(cell: Cell) -> Cell:
    """Return a cell; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t") else cell
