"""The charts of a sweep as SVG, every interval drawn, with the figures for a table beside each.

Drawn here and not by a plotting library: the page's policy forbids style attributes, the same figures must give
the same bytes everywhere, and three plain charts need little. Colours are those of Okabe and Ito; every series has
a shape and a letter as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from arbsim.report.words import clean
from arbsim.sweep.report import words
from arbsim.sweep.results import Level, Measured, SweepResults

WIDTH, HEIGHT = 860, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 300, 18, 56
ROW = 30
MOST_SERIES = 26
MOST_BARS = 14
MOST_PLACES = 60
"""Places along an axis; where there are more, a part of them at equal distances is drawn."""

Scale = Callable[[float], float]
_SHAPES = ("circle", "square", "up", "diamond", "down")

STYLE = """
svg { font-family: system-ui, "Segoe UI", Roboto, sans-serif; background: #fdfdfb; }
svg text { fill: #1b1d21; font-size: 12px; }
svg .tick { fill: #5a6069; font-size: 11px; }
svg .axis { stroke: #d9dce1; stroke-width: 1; }
"""
SERIES_STYLE = """
svg .line { fill: none; stroke-width: 1.6; }
svg .whisker { stroke-width: 1.4; fill: none; }
svg .end { text-anchor: end; }
svg .middle { text-anchor: middle; }
svg .bar { fill-opacity: .35; stroke: none; }
svg .s0 { stroke: #0072b2; fill: #0072b2; } svg .s1 { stroke: #d55e00; fill: #d55e00; }
svg .s2 { stroke: #009e73; fill: #009e73; } svg .s3 { stroke: #cc79a7; fill: #cc79a7; }
svg .s4 { stroke: #e69f00; fill: #e69f00; } svg .s5 { stroke: #56b4e9; fill: #56b4e9; }
svg .s6 { stroke: #6b5b95; fill: #6b5b95; } svg .none { stroke: #8a8f98; fill: #8a8f98; }
svg .line { fill: none; }
"""
_COLOURS = 7
_NONE = -1
"""The index of what stands for all designs that never violated."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: its title, what it shows in a sentence, the drawing, and the figures."""

    title: str
    description: str
    svg: Markup
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def charts_of(results: SweepResults) -> dict[str, Chart]:
    """Return the charts by the name of their file; what has no figures has no chart."""
    found = {
        "rates": _rates(results),
        "frontier": _frontier(results),
        "sensitivity": _sensitivity(results),
    }
    return {name: chart for name, chart in found.items() if chart is not None}


def alone(chart: Chart) -> str:
    """Return a chart as a file of its own."""
    style = f"<style>{STYLE}{SERIES_STYLE}</style>"
    head, rest = chart.svg.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}\n'


# -- the rate of violating runs along an axis ------------------------------------------------------------


def _rates(results: SweepResults) -> Chart | None:
    levels = [level for level in results.levels if level.estimate is not None]
    places = sorted({level.x for level in levels})
    if len(places) < 2:
        return None
    kept = set(_thinned(places))
    shown = [level for level in levels if level.x in kept]
    labels = {float(place): label for place, label in enumerate(results.axis.labels) if place in kept}
    x, ticks = _axis_x([*kept], labels)
    y = _linear(0, 1, HEIGHT - BOTTOM, TOP)
    broke = [name for name in _designs(results) if any(one.count for one in levels if one.design == name)]
    safe = [name for name in _designs(results) if name not in broke]
    parts = [*_frame(ticks, clean(results.axis.name), "violating runs")]
    legend = []
    if safe:
        worst = [
            max((one for one in shown if one.x == place and one.design in safe), key=_top)
            for place in sorted(kept)
        ]
        parts += _series(_NONE, "", worst, x, y)
        text = f"never in any run: {len(safe)} designs" if len(safe) > 1 else f"{safe[0]}: never in any run"
        legend.append((_NONE, "", text))
    order = _designs(results)
    for name in broke[:MOST_SERIES]:
        index = order.index(name)
        mine = [one for one in shown if one.design == name]
        parts += _series(index, _letter(index), mine, x, y)
        legend.append((index, _letter(index), name))
    parts += _legend(legend)
    description = (
        f"The rate of violating runs of each design along {clean(results.axis.name)}, with 95 % intervals."
    )
    rows = [
        (labels.get(one.x, words.number(one.x)), clean(one.design), words.rate(one, one.count, one.runs))
        for one in shown
    ]
    return Chart(
        "Violating runs",
        description,
        _svg(HEIGHT, description, parts),
        (results.axis.name, "design", "violating runs (95 %)"),
        tuple(rows),
    )


def _top(level: Level) -> float:
    return level.high if level.high is not None else level.estimate or 0.0


def _thinned(places: Sequence[float]) -> list[float]:
    step = max(1, -(-len(places) // MOST_PLACES))
    return list(places[::step])


def _series(index: int, letter: str, levels: Sequence[Level], x: Scale, y: Scale) -> Iterator[str]:
    """A line through the estimates, a whisker for each interval, a mark for each estimate."""
    line = " ".join(f"{x(one.x):.1f},{y(one.estimate or 0):.1f}" for one in levels)
    yield f'<polyline class="line {_style(index)}" points="{line}"/>'
    for one in levels:
        at = x(one.x)
        if one.low is not None and one.high is not None:
            yield _whisker(index, at, y(one.low), at, y(one.high))
        yield _mark(index, at, y(one.estimate or 0))
    if letter and levels:
        last = levels[-1]
        yield f'<text x="{x(last.x) + 8:.1f}" y="{y(last.estimate or 0) + 4:.1f}">{letter}</text>'


# -- safety against cost ---------------------------------------------------------------------------------


def _frontier(results: SweepResults) -> Chart | None:
    rows = [row for row in results.frontier if row.violated.estimate is not None and row.fate_p99.estimate]
    if len(rows) < 2:
        return None
    waits = [edge for row in rows for edge in _edges(row.fate_p99) if edge > 0]
    x, ticks = _axis_x(waits, {})
    y = _linear(0, 1, HEIGHT - BOTTOM, TOP)
    parts = [*_frame(ticks, "time to fate, 99th percentile over the whole sweep, ms", "violating runs")]
    legend = []
    above: dict[int, int] = {}
    order = _designs(results)
    for row in rows[:MOST_SERIES]:
        index = order.index(row.design)
        at_x, at_y = x(row.fate_p99.estimate or 0), y(row.violated.estimate or 0)
        low, high = row.violated.low, row.violated.high
        if low is not None and high is not None:
            parts.append(_whisker(index, at_x, y(low), at_x, y(high)))
        if row.fate_p99.low is not None and row.fate_p99.high is not None:
            parts.append(_whisker(index, x(row.fate_p99.low), at_y, x(row.fate_p99.high), at_y))
        parts.append(_mark(index, at_x, at_y))
        # Designs that are alike lie on top of each other: their letters stand above each other.
        crowd = round(at_x / 14) * 1000 + round(at_y / 14)
        lift = 14 * above.get(crowd, 0)
        above[crowd] = above.get(crowd, 0) + 1
        parts.append(f'<text x="{at_x + 7:.1f}" y="{at_y - 6 - lift:.1f}">{_letter(index)}</text>')
        legend.append((index, _letter(index), row.design + (" (frontier)" if row.on_frontier else "")))
    parts += _legend(legend)
    description = (
        "Each design by how long clients wait for a fate and how often it violates; left and low is best."
    )
    told = [
        (
            clean(row.design),
            words.value(row.fate_p99, "fate_p99"),
            words.rate(row.violated),
            words.frontier(row, results),
        )
        for row in rows
    ]
    return Chart(
        "Safety against cost",
        description,
        _svg(HEIGHT, description, parts),
        ("design", "p99 to fate, ms", "violating runs (95 %)", "frontier"),
        tuple(told),
    )


def _edges(measured: Measured) -> list[float]:
    return [value for value in (measured.low, measured.estimate, measured.high) if value is not None]


# -- which parameter moves the result most ---------------------------------------------------------------


def _sensitivity(results: SweepResults) -> Chart | None:
    swings = words.strongest(results)[:MOST_BARS]
    if not swings:
        return None
    rate = swings[0].measure == "violated"
    factor = 100 if rate else 1
    most = max(edge for swing in swings for edge in _edges(swing)) * factor
    x = _linear(0, most, 330, WIDTH - 40)
    height = TOP + ROW * len(swings) + BOTTOM
    parts = []
    for value in _round_ticks(0, most):
        parts.append(
            f'<line class="axis" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>'
        )
        parts.append(
            f'<text class="tick middle" x="{x(value):.1f}" y="{height - BOTTOM + 18}">{words.number(value)}</text>'
        )
    unit = "points of the rate of violating runs" if rate else "ms of the 99th percentile of the time to fate"
    parts.append(f'<text class="middle" x="{(330 + WIDTH - 40) / 2:.1f}" y="{height - 12}">{unit}</text>')
    colours = {name: index for index, name in enumerate(dict.fromkeys(swing.parameter for swing in swings))}
    for place, swing in enumerate(swings):
        y = TOP + ROW * place + ROW / 2
        index = colours[swing.parameter]
        end = x((swing.estimate or 0) * factor)
        parts.append(
            f'<rect class="bar {_style(index)}" x="{x(0):.1f}" y="{y - 8:.1f}" '
            f'width="{end - x(0):.1f}" height="16"/>'
        )
        if swing.low is not None and swing.high is not None:
            low, high = max(0.0, swing.low * factor), swing.high * factor
            parts.append(_whisker(index, x(low), y, x(high), y))
        parts.append(_mark(index, end, y))
        name = _short(f"{clean(swing.parameter)}: {clean(swing.design)}", 48)
        parts.append(f'<text class="end" x="322" y="{y + 4:.1f}">{escape(name)}</text>')
    description = (
        "How far each parameter moves a result between its lowest and highest level, with 95 % intervals."
    )
    rows = [
        (
            clean(one.parameter),
            clean(one.design),
            words.difference(one, one.measure).lstrip("+"),
            clean(one.lowest_at),
            clean(one.highest_at),
        )
        for one in swings
    ]
    head = ("parameter", "design", unit, "lowest at", "highest at")
    return Chart(
        "What moves the result most", description, _svg(height, description, parts), head, tuple(rows)
    )


# -- pieces ----------------------------------------------------------------------------------------------


def _designs(results: SweepResults) -> list[str]:
    return [row.design for row in results.frontier]


def _letter(index: int) -> str:
    return chr(ord("A") + index % MOST_SERIES)


def _style(index: int) -> str:
    return "none" if index == _NONE else f"s{index % _COLOURS}"


def _linear(low: float, high: float, from_px: float, to_px: float) -> Scale:
    span = (high - low) or 1.0
    return lambda value: from_px + (value - low) / span * (to_px - from_px)


def _axis_x(values: Sequence[float], labels: dict[float, str]) -> tuple[Scale, list[tuple[float, str]]]:
    """Return a scale, logarithmic where the values span more than one order, and its ticks as (pixel, label)."""
    low, high = min(values), max(values)
    inner_left, inner_right = LEFT + 18, WIDTH - RIGHT - 18
    if labels:
        x = _linear(low, high, inner_left, inner_right)
        return x, [(x(value), _short(clean(label), 16)) for value, label in labels.items()]
    if low > 0 and high / low >= 10:
        x_of_log = _linear(math.log10(low), math.log10(high), inner_left, inner_right)

        def x(value: float) -> float:
            return x_of_log(math.log10(max(value, low)))

        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        few = len(powers) <= 4
        marks = [step * 10.0**power for power in powers for step in ((1, 2, 5) if few else (1,))]
        return x, [
            (x(mark), words.number(mark)) for mark in marks if low <= mark * 1.0001 and mark <= high * 1.0001
        ]
    x = _linear(low, high, inner_left, inner_right)
    return x, [(x(mark), words.number(mark)) for mark in _round_ticks(low, high)]


def _round_ticks(low: float, high: float) -> list[float]:
    """Return three to seven round numbers between two others."""
    span = high - low
    if span <= 0:
        return [low]
    size = 10.0 ** math.floor(math.log10(span / 4))
    step = next(size * factor for factor in (1, 2, 5, 10) if span / (size * factor) <= 6)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _frame(ticks: Sequence[tuple[float, str]], across: str, up: str) -> Iterator[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    y = _linear(0, 1, bottom, TOP)
    for share in (0, 0.25, 0.5, 0.75, 1):
        yield f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>'
        yield f'<text class="tick end" x="{LEFT - 8}" y="{y(share) + 4:.1f}">{share:.0%}</text>'
    for at, label in ticks:
        yield f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{bottom}" y2="{bottom + 5}"/>'
        yield f'<text class="tick middle" x="{at:.1f}" y="{bottom + 18}">{escape(label)}</text>'
    yield f'<text class="middle" x="{(LEFT + right) / 2:.1f}" y="{HEIGHT - 12}">{escape(across)}</text>'
    middle = (TOP + bottom) / 2
    yield f'<text class="middle" transform="translate(14 {middle:.1f}) rotate(-90)">{escape(up)}</text>'


def _legend(entries: Sequence[tuple[int, str, str]]) -> Iterator[str]:
    at = WIDTH - RIGHT + 34
    for row, (index, letter, name) in enumerate(entries):
        y = TOP + 10 + 19 * row
        yield _mark(index, at, y)
        text = f"{letter}  {clean(name)}" if letter else clean(name)
        yield f'<text x="{at + 12}" y="{y + 4}">{escape(_short(text, 40))}</text>'


def _whisker(index: int, x1: float, y1: float, x2: float, y2: float) -> str:
    """An interval: a line with a stroke across each end."""
    across = 4
    dx, dy = (across, 0) if abs(x1 - x2) < 0.01 else (0, across)
    ends = "".join(f"M{x - dx:.1f} {y - dy:.1f}L{x + dx:.1f} {y + dy:.1f}" for x, y in ((x1, y1), (x2, y2)))
    return f'<path class="whisker {_style(index)}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}{ends}"/>'


def _mark(index: int, x: float, y: float) -> str:
    shape, style = _SHAPES[index % len(_SHAPES)], _style(index)
    if shape == "circle":
        return f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    corners = {
        "square": ((-4, -4), (4, -4), (4, 4), (-4, 4)),
        "up": ((0, -5), (5, 4), (-5, 4)),
        "down": ((0, 5), (5, -4), (-5, -4)),
        "diamond": ((0, -5), (5, 0), (0, 5), (-5, 0)),
    }[shape]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon class="{style}" points="{points}"/>'


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(height: float, description: str, parts: Sequence[str]) -> Markup:
    body = "".join(parts)
    return Markup(  # noqa: S704  every text in it was escaped where it was put in
        f'<svg viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" role="img" '
        f'aria-label="{escape(description)}"><title>{escape(description)}</title>{body}</svg>'
    )
