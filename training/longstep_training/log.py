"""What a run writes and shows: metrics, skipped steps, episodes, and a progress display."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from longstep_agents.trace import append_rows, read_rows, trace_row
from longstep_agents.types import Group

if TYPE_CHECKING:  # they bring torch and transformers
    from longstep_agents.encoding import TextDecoder
    from longstep_training.credit import Credit

PHASES = ("imitation", "rl")
_PLAIN_SECONDS = 10.0


class RunLog:
    """Appends to a run directory. Every line is on disk before the next is written."""

    def __init__(self, folder: Path, decoder: TextDecoder | None = None) -> None:
        """Begin, or go on with, a folder; `decoder` reads the policy's tokens."""
        self._decoder = decoder
        self._metrics = folder / "metrics.jsonl"
        self._skips = folder / "skipped.jsonl"
        self._episodes = folder / "episodes"
        self._episodes.mkdir(parents=True, exist_ok=True)

    def rewind(self, phase: str, iteration: int) -> None:
        """Drop what was written after the given iteration: a resumed run writes it again."""
        last = (PHASES.index(phase), iteration)
        kept = [row for row in self.rows() if _place(row) <= last]
        _replace(self._metrics, kept)
        if self._skips.exists():
            _replace(self._skips, [row for row in read_rows(self._skips) if _place(row) <= last])
        for path in self._episodes.glob("*.jsonl"):
            _replace(path, [row for row in read_rows(path) if _place(row) <= last])

    def rows(self) -> list[dict[str, Any]]:
        """Every metrics row so far."""
        return read_rows(self._metrics)

    def metrics(self, row: dict[str, Any]) -> None:
        """Append one row."""
        append_rows(self._metrics, [row])

    def skip(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append what each process tells of a step that was left out."""
        append_rows(self._skips, rows)

    def episodes(
        self, place: Mapping[str, Any], groups: Sequence[Group], credit_PGS: Credit | None = None
    ) -> None:
        """Append the groups' trajectories token by token, with what each step earned, if anything.

        `place` tells `phase` and `iteration`; of an evaluation also the training phase that it came
        `after`, and the set that was played as `part`.
        """
        lines = []
        for g, group in enumerate(groups):
            for i, trajectory in enumerate(group.trajectories):
                credit_S = None if credit_PGS is None else credit_PGS[g][i]
                told = trace_row(trajectory, credit_S, self._decoder, tokens=True)
                lines.append({**place, "group": g, **told})
        append_rows(self._episodes / f"{place['phase']}.jsonl", lines)


class Display:
    """A live bar on a terminal, a plain line every ten seconds elsewhere."""

    def __init__(self, *, shown: bool) -> None:
        self._console = Console(stderr=True, quiet=not shown, highlight=False)
        self._live = shown and self._console.is_terminal
        self._shown_at = 0.0
        self._bar = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._live,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started = time.perf_counter()
        self._begun: dict[str, tuple[int, float]] = {}
        if self._live:
            self._bar.start()

    def message(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, markup=False, soft_wrap=True)

    def update(self, phase: str, done: int, total: int, status: str) -> None:
        """Show that `done` of `total` iterations of a phase are over."""
        if self._live:
            if phase not in self._tasks:
                self._tasks[phase] = self._bar.add_task(phase, total=total, status="")
            self._bar.update(self._tasks[phase], completed=done, status=status)
            return
        now = time.perf_counter()
        first, begun = self._begun.setdefault(phase, (done, now))
        if now - self._shown_at > _PLAIN_SECONDS or done == total:
            self._shown_at = now
            left = (now - begun) / (done - first) * (total - done) if done > first else None
            remaining = "" if left is None else f"  {left:.0f} s left"
            elapsed = now - self._started
            self.message(f"{elapsed:6.0f} s  {phase} {done}/{total}  {status}{remaining}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live:
            self._bar.stop()


def _place(row: dict[str, Any]) -> tuple[int, int]:
    phase = row.get("after", row["phase"])
    return PHASES.index(phase), int(row["iteration"])


def _replace(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    append_rows(partial, rows)
    partial.replace(path)
