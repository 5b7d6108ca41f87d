"""Figures of several charts, as SVG files that stand beside a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.charts import Frame, Line, line_chart
from markupsafe import Markup

COLOURS = ("#5d6b78", "#2563a8", "#c2641b", "#2f8558", "#8a4fa3", "#a8871c")
"""Line `i` of a legend has the style `c{i}`."""
_STYLE = Markup(
    "text { font: 11px sans-serif; fill: #444444; } line { stroke-width: 2; } "
    ".grid { stroke: #eceeef; stroke-width: 1; } .axis { stroke: #c0c4c8; stroke-width: 1; } "
    "polyline { fill: none; stroke-width: 1.75; } "
    + "".join(f".c{i} {{ stroke: {colour}; }} " for i, colour in enumerate(COLOURS))
)
_LEFT, _TITLE, _LINE = 46, 20, 18


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart of a figure."""

    title: str
    lines: Sequence[Line]


def figure(
    panels: Sequence[Panel], legend: Sequence[str], frame: Frame, columns: int | None = None
) -> str:
    """The panels in rows, all in the same frame, and under them what line `c0`, `c1`, … is."""
    columns = columns or len(panels)
    width = int(frame.width) * columns
    height = (int(frame.height) + _TITLE) * math.ceil(len(panels) / columns)
    entries = max(1, round(width / 240))
    parts = [_panel(panel, i % columns, i // columns, frame) for i, panel in enumerate(panels)]
    parts += [
        _key(i, text, (width - _LEFT) / entries, height, entries) for i, text in enumerate(legend)
    ]
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}">'
        '<style>{2}</style><rect width="100%" height="100%" fill="#ffffff"/>{3}</svg>\n'
    ).format(
        width, height + _LINE * math.ceil(len(legend) / entries) + 8, _STYLE, Markup("").join(parts)
    )


def _panel(panel: Panel, column: int, row: int, frame: Frame) -> Markup:
    x, y = column * frame.width, row * (frame.height + _TITLE)
    return Markup(
        '<text x="{:g}" y="{:g}">{}</text>'
        '<svg x="{:g}" y="{:g}" width="{:g}" height="{:g}">{}</svg>'
    ).format(
        x + _LEFT,
        y + 14,
        panel.title,
        x,
        y + _TITLE,
        frame.width,
        frame.height,
        line_chart(panel.lines, frame),
    )


def _key(number: int, text: str, width: float, top: int, entries: int) -> Markup:
    """An entry of the legend."""
    x, y = _LEFT + number % entries * width, top + _LINE * (number // entries) + 12
    return Markup(
        '<line class="c{0}" x1="{1:g}" x2="{2:g}" y1="{3}" y2="{3}"/>'
        '<text x="{4:g}" y="{5}">{6}</text>'
    ).format(number, x, x + 24, y - 4, x + 30, y, text)
