"""The report of a run: one HTML file without scripts that needs nothing outside itself."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from longstep_training.charts import Frame, Line, Point, line_chart, rate_strip, smooth, stacked_bar
from longstep_training.episode_views import choose_group, choose_singles, view_group, view_single
from longstep_training.run_files import Evaluation, Metrics, Rate, RunFiles, read_run
from longstep_training.terminal import clean

_TEMPLATES = Path(__file__).parent / "templates"
_STYLES = ("c1", "c2", "c3", "c4", "c5", "c6")
_PHASES = {"imitation": "Imitation", "rl": "Reinforcement learning"}
_FIRST_CURVES = ("reward", "entropy", "loss", "grad_norm", "tokens_per_second")
_MOST_CURVES = 15
_LEARNING_SIZES = ((860.0, 320.0), (380.0, 260.0))
_CONFIG_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Gain:
    """What RL added: a difference of rates with its 95 % interval."""

    points: float
    low: float
    high: float
    apart: bool
    """Whether the intervals before and after do not overlap."""


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One task type before and after RL."""

    name: str
    before: Rate | None
    after: Rate | None
    strip: Markup


@dataclass(frozen=True, slots=True)
class Comparison:
    """One kind of evaluation: at the warm start, and at the end of RL."""

    name: str
    conditions: str
    before: Evaluation | None
    after: Evaluation | None
    gain: Gain | None
    types: list[TypeRow]


@dataclass(frozen=True, slots=True)
class PhaseTiming:
    """Where the seconds of one phase went."""

    name: str
    rounds: int
    """Iterations, or evaluations."""
    episodes: int
    seconds: float
    parts: list[tuple[str, str, float]]
    """Style, name, seconds."""
    bar: Markup


def write_report(run: Path) -> Path:
    """Write `report.html` into the run directory, whole or not at all; return its path.

    Raises:
        DataError: `run` is not a run directory.
    """
    page = render_report(read_run(run))
    target, partial = run / "report.html", run / ".report.html.part"
    partial.write_text(page, encoding="utf-8")
    return partial.replace(target)


def render_report(files: RunFiles) -> str:
    """The report as HTML. A part whose data is missing is left out."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_TEMPLATES / "report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(
        title=clean(files.path.resolve().name, 120),
        style=Markup(style),
        style_hash=f"sha256-{digest}",
        seconds=max(
            [0.0, *(m.seconds for m in files.metrics), *(e.seconds for e in files.evaluations)]
        ),
        episodes=sum(row.episodes or 0 for row in files.metrics),
        unreadable=files.unreadable,
        comparisons=compare(files.evaluations),
        learning=[
            _learning_curve(files, width, height) for width, height in ((860, 320), (380, 260))
        ],
        curves=_curves(files.metrics),
        timings=_timings(files),
        group=view_group(choose_group(files.episodes)),
        singles=[view_single(title, place) for title, place in choose_singles(files.episodes)],
        config=clean(files.config, _CONFIG_LIMIT),
    )


def compare(evaluations: Sequence[Evaluation]) -> list[Comparison]:
    """For each kind of evaluation, the last at the warm start beside the last after RL."""
    kinds = list(dict.fromkeys(evaluation.kind for evaluation in evaluations))
    return [_compare_kind([e for e in evaluations if e.kind == kind]) for kind in kinds]


def difference(before: Rate, after: Rate) -> Gain:
    """The difference of two rates, in points, with Newcombe's interval (1998, method 10).

    It is built from the rates' own intervals, and so needs no normal approximation.
    """
    points = after.share - before.share
    down = math.hypot(after.share - after.low, before.high - before.share)
    up = math.hypot(after.high - after.share, before.share - before.low)
    apart = after.low > before.high or before.low > after.high
    return Gain(100 * points, 100 * (points - down), 100 * (points + up), apart)


def _compare_kind(rows: Sequence[Evaluation]) -> Comparison:
    before = next((row for row in reversed(rows) if row.stage == "warm start"), None)
    after = next((row for row in reversed(rows) if row.stage != "warm start"), None)
    name, temperature, constraint = rows[0].kind
    conditions = [] if temperature is None else [f"temperature {temperature:g}"]
    conditions += [f"actions: {clean(constraint, 40)}"] if constraint else []
    return Comparison(
        name=clean(name, 60),
        conditions=", ".join(conditions),
        before=before,
        after=after,
        gain=difference(before, after) if before and after else None,
        types=_type_rows(before, after),
    )


def _type_rows(before: Evaluation | None, after: Evaluation | None) -> list[TypeRow]:
    earlier, later = (row.by_task_type if row else {} for row in (before, after))
    rows = []
    for name in sorted({*earlier, *later}):
        rates = [("before", earlier.get(name)), ("after", later.get(name))]
        strip = rate_strip((s, r.share, r.low, r.high) for s, r in rates if r is not None)
        label = clean(name, 60).replace("_", " ")
        rows.append(TypeRow(label, rates[0][1], rates[1][1], strip))
    return rows


def _learning_curve(files: RunFiles, width: float, height: float) -> tuple[Markup, list[Line]]:
    """The chart and its lines, which the legend names."""
    sampled = [r for r in files.metrics if r.phase != "imitation" and r.success is not None]
    points = [Point(row.seconds / 60, row.success or 0.0) for row in sampled]
    lines = [Line("training episodes of RL", smooth(points, max(1, len(points) // 30)), "faint")]
    for style, kind in zip(_STYLES, dict.fromkeys(e.kind for e in files.evaluations), strict=False):
        points = [_evaluated(e) for e in files.evaluations if e.kind == kind]
        lines.append(Line(f"{clean(kind[0], 40)}{_setting(kind)}", points, style))
    lines = [line for line in lines if line.points]
    frame = Frame(
        width=width,
        height=height,
        x_label="minutes",
        y_range=(0.0, 1.0),
        marks=_warm_start(files.metrics),
        x_start=0.0,
        format_y="{:.0%}".format,
    )
    return line_chart(lines, frame), lines


def _evaluated(row: Evaluation) -> Point:
    note = f"{row.share:.1%} of {row.episodes} ({row.low:.1%} to {row.high:.1%})"
    return Point(row.seconds / 60, row.share, row.low, row.high, note)


def _setting(kind: tuple[str, float | None, str]) -> str:
    parts = [] if kind[1] is None else [f"T {kind[1]:g}"]
    parts += [clean(kind[2], 40)] if kind[2] else []
    return f" ({', '.join(parts)})" if parts else ""


def _curves(metrics: Sequence[Metrics]) -> list[tuple[str, list[tuple[str, Markup]]]]:
    """Per phase, one small chart for each number of its rows."""
    phases = []
    for phase in _phases(metrics):
        rows = [row for row in metrics if row.phase == phase]
        names = {name for row in rows for name in row.numbers}
        order = [*(n for n in _FIRST_CURVES if n in names), *sorted(names - {*_FIRST_CURVES})]
        charts = [(name, _curve(name, rows)) for name in order[:_MOST_CURVES]]
        phases.append(
            (_phase_name(phase), [(clean(n, 40).replace("_", " "), c) for n, c in charts])
        )
    return [(phase, charts) for phase, charts in phases if charts]


def _curve(name: str, rows: Sequence[Metrics]) -> Markup:
    points = [Point(row.seconds / 60, row.numbers[name]) for row in rows if name in row.numbers]
    if len(points) > 1 and len({point.y for point in points}) == 1:
        return Markup("")  # what never changes, such as a count that stays 0, needs no curve
    return line_chart([Line(clean(name, 40), points)], Frame(x_label="minutes"))


def _timings(files: RunFiles) -> list[PhaseTiming]:
    phases: list[tuple[str, list[Metrics] | list[Evaluation]]] = [
        (_phase_name(phase), [row for row in files.metrics if row.phase == phase])
        for phase in _phases(files.metrics)
    ]
    phases.append(("Evaluation", files.evaluations))
    return [timing for timing in (_timing(*phase) for phase in phases) if timing.parts]


def _timing(phase: str, rows: Sequence[Metrics | Evaluation]) -> PhaseTiming:
    names = dict.fromkeys(name for row in rows for name in row.timing)
    sums = {name: sum(row.timing.get(name, 0.0) for row in rows) for name in names}
    parts = [
        (_STYLES[i % len(_STYLES)], clean(name, 40).replace("_", " "), seconds)
        for i, (name, seconds) in enumerate(sums.items())
    ]
    return PhaseTiming(
        name=phase,
        rounds=len(rows),
        episodes=sum(row.episodes or 0 for row in rows),
        seconds=sum(sums.values()),
        parts=parts,
        bar=stacked_bar([(style, seconds) for style, _, seconds in parts]),
    )


def _warm_start(metrics: Sequence[Metrics]) -> list[tuple[float, str]]:
    ends = [row.seconds / 60 for row in metrics if row.phase == "imitation"]
    return [(max(ends), "warm start")] if ends else []


def _phases(metrics: Sequence[Metrics]) -> list[str]:
    return list(dict.fromkeys(row.phase for row in metrics))


def _phase_name(phase: str) -> str:
    return _PHASES.get(phase, clean(phase, 40))
