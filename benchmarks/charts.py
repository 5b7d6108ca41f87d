"""Charts as inline SVG: no script, no network, and every text escaped by `Markup.format`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

_MOST_POINTS = 240
_ROWS = 4
_FLAT = 1e-9
"""Numbers nearer to each other than this, relative to their size, count as one."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 12.0, 30.0


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a line."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Line:
    """A named line; `style` is a class of the page's style sheet."""

    label: str
    points: Sequence[Point]
    style: str = "c1"


@dataclass(frozen=True, slots=True)
class Frame:
    """The axes of a chart."""

    width: float = 360.0
    height: float = 190.0
    x_label: str = ""
    y_range: tuple[float, float] | None = None
    x_start: float | None = None
    """Where the x axis begins; None is the first point."""


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        inside = (value - self.low) / (self.high - self.low)
        return round(self.start + inside * (self.end - self.start), 1)


def line_chart(lines: Sequence[Line], frame: Frame) -> Markup:
    """Lines over one axis; an empty text when there is nothing to draw."""
    lines = [Line(line.label, thin(line.points), line.style) for line in lines]
    points = [point for line in lines for point in line.points]
    if not points:
        return Markup("")
    x = _x_scale([p.x for p in points], frame)
    y = _y_scale(points, frame)
    parts = [*_grid(x, y, frame), *(part for line in lines for part in _line(line, x, y))]
    return Markup('<svg viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">{}</svg>').format(
        frame.width, frame.height, ", ".join(line.label for line in lines), Markup("").join(parts)
    )


def thin(points: Sequence[Point], most: int = _MOST_POINTS) -> Sequence[Point]:
    """At most `most` finite points; neighbours are averaged."""
    finite = [p for p in points if math.isfinite(p.x) and math.isfinite(p.y)]
    if len(finite) <= most:
        return finite
    size = math.ceil(len(finite) / most)
    return [_average(finite[i : i + size]) for i in range(0, len(finite), size)]


def smooth(points: Sequence[Point], window: int) -> Sequence[Point]:
    """Each point with the mean of the `window` points that end at it."""
    return [
        Point(point.x, _average(points[max(0, i + 1 - window) : i + 1]).y)
        for i, point in enumerate(points)
    ]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most `most` + 1 round numbers from `low` to `high`."""
    step = _tick_step(low, high, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def compact(value: float) -> str:
    """A number in at most about five characters: 0.05, 12, 9.5k, 2M."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


def _x_scale(values: Sequence[float], frame: Frame) -> _Scale:
    low, high = min(values), max(values)
    low = low if frame.x_start is None else min(low, frame.x_start)
    return _Scale(low, high if high - low > _FLAT else low + 1.0, _LEFT, frame.width - _RIGHT)


def _y_scale(points: Sequence[Point], frame: Frame) -> _Scale:
    values = [point.y for point in points]
    low, high = frame.y_range or _round_range(min(values), max(values))
    return _Scale(low, high, frame.height - _BOTTOM, _TOP)


def _tick_step(low: float, high: float, most: int) -> float:
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)


def _round_range(low: float, high: float) -> tuple[float, float]:
    if high - low < _FLAT * max(abs(low), abs(high), 1.0):
        size = max(abs(low), abs(high))
        margin = 0.5 * size if size > _FLAT else 0.5
        low, high = low - margin, high + margin
    step = _tick_step(low, high, _ROWS)
    return step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9)


def _grid(x: _Scale, y: _Scale, frame: Frame) -> list[Markup]:
    parts, bottom = [], frame.height - _BOTTOM
    for value in ticks(y.low, y.high, _ROWS):
        parts.append(_segment("grid", _LEFT, y(value), frame.width - _RIGHT, y(value)))
        parts.append(_text("end", _LEFT - 6, y(value) + 4, compact(value)))
    for value in ticks(x.low, x.high, max(3, int(frame.width / 90))):
        parts.append(_text("middle", x(value), bottom + 15, f"{value:g}"))
    parts.append(_segment("axis", _LEFT, bottom, frame.width - _RIGHT, bottom))
    parts.append(_text("end", frame.width - _RIGHT, bottom + 27, frame.x_label))
    return parts


def _line(line: Line, x: _Scale, y: _Scale) -> list[Markup]:
    places = " ".join(f"{x(p.x)},{y(p.y)}" for p in line.points)
    drawn = [Markup('<polyline class="{}" points="{}"/>').format(line.style, places)]
    if len(line.points) == 1:
        drawn.append(_dot(line.style, x(line.points[0].x), y(line.points[0].y)))
    return drawn


def _segment(style: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        style, x1, y1, x2, y2
    )


def _dot(style: str, x: float, y: float) -> Markup:
    return Markup('<circle class="{}" cx="{}" cy="{}" r="4"/>').format(style, x, y)


def _text(anchor: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text text-anchor="{}" x="{}" y="{}">{}</text>').format(anchor, x, y, text)


def _average(points: Sequence[Point]) -> Point:
    count = len(points)
    return Point(sum(p.x for p in points) / count, sum(p.y for p in points) / count)
