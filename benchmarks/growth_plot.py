"""The plot of `growth.py`: every cost of a token, relative to that of the smallest size."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.charts import Frame, Line, Point
from benchmarks.figure import Panel, figure

SIDES = ("rollout", "update")
LEGEND = (
    "1.5 times the smallest: the aim",
    "CPU seconds of a token",
    "the same without attention",
    "memory of a token (update)",
)


def draw(found: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> str:
    """A panel for each phase and axis."""
    panels = [
        Panel(f"{side}, log2 of {axis}", _lines(points, side))
        for side in SIDES
        for axis, points in found.items()
    ]
    return figure(panels, LEGEND, Frame(width=300.0, height=180.0), columns=len(found))


def _lines(points: Mapping[int, Mapping[str, Any]], side: str) -> list[Line]:
    sizes = list(points)
    first = points[sizes[0]][side]
    lines = [Line("aim", [Point(math.log2(size), 1.5) for size in sizes], "c0")]
    # What a small rollout holds lies within what is resident anyhow; there is no start to compare.
    keys = ("seconds", "plain", "bytes") if side == "update" else ("seconds", "plain")
    for number, key in enumerate(keys, start=1):
        start = max(first[key], 1e-12)
        places = [Point(math.log2(s), points[s][side][key] / start) for s in sizes]
        lines.append(Line(key, places, f"c{number}"))
    return lines
