"""The tables and plots of `docs/mechanisms.md`, from the finished runs."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.charts import Frame, Line, Point
from benchmarks.figure import Panel, figure
from benchmarks.mechanisms.experiments import EXPERIMENTS, Experiment
from benchmarks.mechanisms.measures import estimate
from benchmarks.mechanisms.results import Key, Results, settings

PAGE = Path(__file__).parents[2] / "docs" / "mechanisms.md"
PLOTS = PAGE.with_name("plots")


def write(results: Results) -> None:
    """Put every finished experiment's table into the page, and its plot beside the page."""
    page = PAGE.read_text("utf-8")
    for name, experiment in EXPERIMENTS.items():
        if not _finished(name, experiment, results):
            continue
        block = f"<!-- {name} -->\n{table(name, results)}\n<!-- end -->"
        start, found, rest = page.partition(f"<!-- {name} -->")
        page = start + block + rest.partition("<!-- end -->")[2] if found else page
        if not experiment.skills:
            PLOTS.mkdir(exist_ok=True)
            (PLOTS / f"{name}.svg").write_text(plot(name, results), "utf-8")
    PAGE.write_text(page, "utf-8")


def table(name: str, results: Results) -> str:
    """A row for each arm: its means, and paired differences to another arm with intervals."""
    experiment = EXPERIMENTS[name]
    label = "skill" if experiment.skills else "rate"
    rows = [
        f"| {label} | method | {' | '.join(experiment.measures)} |",
        f"|---|---|{'---|' * len(experiment.measures)}",
    ]
    for setting in settings(experiment):
        for arm in experiment.arms:
            cells = [_cell(results, Key(name, arm, setting, 0), m) for m in experiment.measures]
            to = f" (to {experiment.against[arm]})" if arm in experiment.against else ""
            rows.append(f"| {setting:g} | {arm}{to} | {' | '.join(cells)} |")
    return "\n".join(rows)


def plot(name: str, results: Results) -> str:
    """A chart for each learning rate: the mean over seeds of the drawn curve, arm by arm."""
    experiment = EXPERIMENTS[name]
    panels = [
        Panel(f"{experiment.drawn} at learning rate {rate:g}", _lines(name, rate, results))
        for rate in settings(experiment)
    ]
    return figure(panels, list(experiment.arms), Frame(x_label="iterations", x_start=0.0))


def _lines(name: str, rate: float, results: Results) -> list[Line]:
    lines = []
    for number, arm in enumerate(EXPERIMENTS[name].arms):
        curves = [
            results[Key(name, arm, rate, seed)]["curve"] for seed in range(EXPERIMENTS[name].seeds)
        ]
        means = [statistics.fmean(values) for values in zip(*curves, strict=True)]
        size = _iterations(EXPERIMENTS[name]) / len(means)
        points = [Point(size * (i + 0.5), mean) for i, mean in enumerate(means)]
        lines.append(Line(arm, points, f"c{number}"))
    return lines


def _iterations(experiment: Experiment) -> int:
    return int(experiment.common.get("iterations", 100))


def _finished(name: str, experiment: Experiment, results: Results) -> bool:
    return all(
        Key(name, arm, setting, seed) in results
        for arm in experiment.arms
        for setting in settings(experiment)
        for seed in range(experiment.seeds)
    )


def _cell(results: Results, key: Key, measure: str) -> str:
    experiment = EXPERIMENTS[key.experiment]
    seeds, first = range(experiment.seeds), next(iter(experiment.arms))
    other = experiment.against.get(key.arm, first)
    values = [results[key._replace(seed=seed)][measure] for seed in seeds]
    mean = statistics.fmean(values)
    digits = 1 if abs(mean) >= 10 else 2 if abs(mean) >= 0.1 else 3
    if key.arm == first:
        return f"{mean:.{digits}f}"
    base = [results[key._replace(arm=other, seed=seed)][measure] for seed in seeds]
    change = estimate([value - reference for value, reference in zip(values, base, strict=True)])
    sure = "**" if change.low > 0 or change.high < 0 else ""
    shown, low, high = (f"{value:+.{digits}f}" for value in change)
    return f"{mean:.{digits}f} {sure}{shown}{sure} [{low}, {high}]"
