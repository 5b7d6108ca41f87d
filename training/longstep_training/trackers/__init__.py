"""Trackers: the numbers of `metrics.jsonl`, shown elsewhere too while a run goes on.

To add one, write a module with a config and a class, and add a line to `TRACKERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from longstep_agents.config import choice_of
from longstep_agents.page import values
from longstep_training.log import PHASES
from longstep_training.terminal import clean
from longstep_training.trackers.tensorboard import TensorBoard
from longstep_training.trackers.trackio import Trackio
from longstep_training.trackers.types import TrackedRun, Tracker, TrackerConfig
from longstep_training.trackers.wandb import Wandb

TRACKERS: dict[str, Callable[..., Tracker]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": Wandb,
}
"""Each imports its package when it is made."""

AnyTrackerConfig = choice_of(TRACKERS)

_NOT_NUMBERS = ("phase", "iteration", "after", "stage", "name", "data")

_MOST_TOLD = 1_000

Row = Mapping[str, Any]


class Trackers:
    """All trackers of a run. One that fails is told of and left out; the run goes on."""

    def __init__(
        self,
        configs: Sequence[TrackerConfig],
        run: TrackedRun,
        tell: Callable[[str], object],
        known: Iterable[Row] = (),
    ) -> None:
        """Begin to track.

        Args:
            configs: One for each tracker.
            run: What is tracked.
            tell: Shows a person a line.
            known: Rows that were tracked before the run was interrupted; those that come again, as
                it goes on from its last checkpoint, are not tracked twice.
        """
        self._tell = tell
        self._known = {_place(row) for row in known}
        self._offset = _iterations(run.config, PHASES[0])
        self._trackers: dict[str, Tracker] = {}
        for config in configs:
            try:
                self._trackers[config.name] = TRACKERS[config.name](config, run)
            except Exception as error:  # foreign code, and nothing that training depends on
                self._leave(config.name, error)

    def log(self, row: Row) -> None:
        """Track a row of `metrics.jsonl`."""
        if _place(row) in self._known:
            return
        step = row["iteration"] + (self._offset if _phase(row) != PHASES[0] else 0)
        numbers = dict(flat(row))
        self._each(lambda tracker: tracker.log(step, numbers))

    def close(self) -> None:
        """Nothing more comes."""
        self._each(lambda tracker: tracker.close())
        self._trackers.clear()

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                act(tracker)
            except Exception as error:  # as above
                self._leave(name, error)

    def _leave(self, name: str, error: Exception) -> None:
        self._trackers.pop(name, None)
        told = clean(f"{type(error).__name__}: {error}", _MOST_TOLD)
        self._tell(f"nothing more goes to {name}: {told}")


def flat(row: Row) -> Iterator[tuple[str, float]]:
    """The finite numbers of a row, under the names of its phase, or evaluation, and tables."""
    phase = row["phase"]
    start = phase if phase in PHASES else f"{phase}/{row.get('name', '')}"
    told = {name: value for name, value in row.items() if name not in _NOT_NUMBERS}
    for name, value in values.flat(told, start, joint="/"):
        finite = values.number(value)
        if finite is not None:
            yield name, finite


def _phase(row: Row) -> str:
    """The phase that a row is of; an evaluation is of the one that it followed."""
    return str(row.get("after", row["phase"]))


def _place(row: Row) -> tuple[str, int, str, str]:
    return row["phase"], row["iteration"], row.get("name", ""), row.get("stage", "")


def _iterations(config: Mapping[str, Any], phase: str) -> int:
    return int(config.get(phase, {}).get("iterations", 0))
