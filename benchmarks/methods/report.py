"""The table and the training curves of `docs/methods.md`, from the finished runs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.charts import Frame, Line, Point, smooth
from benchmarks.figure import Panel, figure
from benchmarks.methods.runs import EVALUATION, METHODS, Result

from longstep_training.evaluate import success_rate

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
PLOT = PAGE.parent / "plots" / "household.svg"
_START, _END = "<!-- household -->", "<!-- end -->"
_BASE = "GRPO"
_WINDOW = 5
"""Iterations over which curves are smoothed."""


def write(results: Sequence[Result]) -> None:
    """Keep the results, and put the table into the page and the curves beside it."""
    RESULTS.write_text(json.dumps(results) + "\n", "utf-8")
    page = PAGE.read_text("utf-8")
    before, found, rest = page.partition(_START)
    if found:
        after = rest.partition(_END)[2]
        shown = "\n".join([before + _START, *table(results), _END + after])
        PAGE.write_text(shown, "utf-8")
    PLOT.write_text(plot(results), "utf-8")


def table(results: Sequence[Result]) -> list[str]:
    """A row a method: pooled success with its interval, seed by seed, and against GRPO."""
    lines = [
        "| method | warm start | after RL | by seed | against GRPO, mean over seeds ± deviation |",
        "|---|---|---|---|---|",
    ]
    base = {result["seed"]: rate(result, "rl") for result in results if result["method"] == _BASE}
    for method in METHODS:
        chosen = [result for result in results if result["method"] == method]
        if not chosen:
            continue
        after = [rate(result, "rl") for result in chosen]
        gaps = [
            100 * (rate(result, "rl") - base[result["seed"]])
            for result in chosen
            if result["seed"] in base
        ]
        lines.append(
            f"| {method} | {pooled(chosen, 'warm start')} | {pooled(chosen, 'rl')} | "
            f"{', '.join(f'{100 * value:.1f}' for value in after)} | "
            f"{'' if method == _BASE else _gap(gaps)} |"
        )
    return lines


def plot(results: Sequence[Result]) -> str:
    """A panel a method: its success over iterations, mean over seeds, beside GRPO's."""
    base = _curve(results, _BASE, "c0")
    panels = [
        Panel(method, [base, _curve(results, method, "c1")])
        for method in METHODS
        if method != _BASE and any(result["method"] == method for result in results)
    ]
    frame = Frame(280.0, 160.0, x_label="iterations", y_range=(0.4, 0.9), x_start=0.0)
    return figure(panels, [_BASE, "the method"], frame, columns=3)


def rate(result: Result, stage: str) -> float:
    """A run's success at a stage."""
    row = evaluated(result, stage)
    return float(row["successes"] / row["episodes"])


def evaluated(result: Result, stage: str) -> Result:
    """A run's evaluation at a stage, on held-out games at temperature 1."""
    found: Result = next(
        row for row in result["evaluations"] if row["stage"] == stage and row["name"] == EVALUATION
    )
    return found


def pooled(results: Sequence[Result], stage: str) -> str:
    """The success of all seeds' episodes together, with Wilson's interval."""
    rows = [evaluated(result, stage) for result in results]
    total = success_rate(sum(r["successes"] for r in rows), sum(r["episodes"] for r in rows))
    return f"{100 * total.success:.1f} % [{100 * total.low:.1f}, {100 * total.high:.1f}]"


def _gap(gaps: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(gaps):.1f}" if len(gaps) > 1 else ""
    return f"{statistics.fmean(gaps):+.1f}{spread}"


def _curve(results: Sequence[Result], method: str, style: str) -> Line:
    curves = [result["curve"] for result in results if result["method"] == method]
    points = [
        Point(i + 1, statistics.fmean(values)) for i, values in enumerate(zip(*curves, strict=True))
    ]
    return Line(method, smooth(points, _WINDOW), style)
