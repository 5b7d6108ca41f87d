"""Episodes and results as HTML for notebooks, legible on light and on dark ground.

Whatever an environment or a model wrote is shown as text, escaped and capped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from longstep_agents.tools.output import show

if TYPE_CHECKING:
    from longstep_agents.evaluation.statistics import Estimate
    from longstep_agents.evaluation.summary import PartSummary
    from longstep_agents.types import Step, Trajectory

_STEPS = 200
_CHARS = 800
_TABLE = "border-collapse:collapse;font-size:13px"
_TEXT = "text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:anywhere"
_NUMBER = "text-align:right;vertical-align:top;font-variant-numeric:tabular-nums"
_LINE = "border-top:1px solid rgba(128,128,128,.3);padding:4px 8px"
_TEXT_COLUMNS = ("part", "observation", "action")
_EARNED, _LOST = "34,160,90", "220,70,60"
"""As red, green and blue, of which the ground takes some: text stays legible on either."""


def trajectory_html(trajectory: Trajectory, credit_S: Sequence[float] | None = None) -> str:
    """A row for each step: what was seen, what was done, and what came of it.

    `credit_S` is what each step earned, if credit was assigned; it stands beside the reward, on
    ground of its colour.
    """
    shown = trajectory.steps[:_STEPS]
    credit: Sequence[float | None] = credit_S or [None] * len(trajectory.steps)
    largest = max((abs(value) for value in credit if value is not None), default=0.0)
    heads = ["", "observation", "action", "reward", *(["credit"] if credit_S else [])]
    rows = [
        _row(_step_cells(number, step, earned, largest))
        for number, (step, earned) in enumerate(zip(shown, credit, strict=False))
    ]
    left = len(trajectory.steps) - len(shown)
    end = f"[… {left:,} more steps …]\n" if left else ""
    last = ["", end + show(trajectory.final_observation, _CHARS), *[""] * (len(heads) - 2)]
    rows.append(_row([_cell(text) for text in last]))
    return _table(_caption(trajectory), heads, rows)


def results_html(parts: Iterable[PartSummary]) -> str:
    """A row for each part of an evaluation, with 95 % intervals."""
    heads = ["part", "success", "score", "tasks", "episodes", "turns", "faults"]
    rows = [
        _row(
            [
                _cell(show(part.name, _CHARS)),
                _cell(_rate(part.success), _NUMBER),
                _cell(_rate(part.score), _NUMBER),
                _cell(f"{part.success.tasks:,}", _NUMBER),
                _cell(f"{part.success.episodes:,}", _NUMBER),
                _cell(f"{part.turns:.1f}", _NUMBER),
                _cell(f"{part.faults:,}", _NUMBER),
            ]
        )
        for part in parts
    ]
    return _table("", heads, rows)


def _step_cells(number: int, step: Step, earned: float | None, largest: float) -> list[str]:
    said, wrong = step.completion.text, step.fault or ("" if step.action_valid else "invalid")
    notes = [step.target if step.target != "environment" else "", wrong]
    action = show(step.action, _CHARS)
    if said not in ("", step.action):
        action += "\n\n" + show(said, _CHARS)
    action += "".join(f"\n[{note}]" for note in notes if note)
    cells = [
        _cell(str(number), _NUMBER),
        _cell(show(step.observation, _CHARS)),
        _cell(action),
        _cell(f"{step.reward:+.3g}" if step.reward else "0", _NUMBER),
    ]
    if earned is not None:
        ground = _EARNED if earned > 0 else _LOST
        share = 0.5 * abs(earned) / largest if largest else 0.0
        style = f"{_NUMBER};background:rgba({ground},{share:.2f})"
        cells.append(_cell(f"{earned:+.3g}", style))
    return cells


def _caption(trajectory: Trajectory) -> str:
    ended = trajectory.error or trajectory.stop_reason or trajectory.outcome
    told = [
        show(trajectory.env_id, _CHARS),
        show(trajectory.task_id, _CHARS),
        "solved" if trajectory.success else "not solved",
        f"score {trajectory.score:.3g}",
        show(str(ended), _CHARS),
    ]
    return " · ".join(part for part in told if part)


def _rate(estimate: Estimate) -> str:
    mean, low, high = (100 * value for value in (estimate.mean, estimate.low, estimate.high))
    return f"{mean:.1f} % [{low:.1f}, {high:.1f}]"


def _table(caption: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    title = f'<caption style="{_TEXT};padding:4px 8px">{escape(caption)}</caption>'
    sides = ["left" if one in _TEXT_COLUMNS else "right" for one in heads]
    head = "".join(
        f'<th style="text-align:{side};padding:4px 8px">{one}</th>'
        for side, one in zip(sides, heads, strict=True)
    )
    body = "".join(rows)
    return (
        f'<table style="{_TABLE}">{title if caption else ""}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _row(cells: Sequence[str]) -> str:
    return f'<tr style="background:none">{"".join(cells)}</tr>'


def _cell(text: str, style: str = _TEXT) -> str:
    return f'<td style="{_LINE};{style}">{escape(text)}</td>'
