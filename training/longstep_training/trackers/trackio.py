"""Trackio: a database on this machine, or a Space on the Hub."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Literal

from longstep_envs.packages import package
from longstep_training.trackers.types import TrackedRun, TrackerConfig


class TrackioConfig(TrackerConfig):
    """Options of `trackio`."""

    name: Literal["trackio"] = "trackio"
    project: str = "longstep"
    space: str | None = None
    """A Space that is logged to; without it, trackio's database, which `trackio show` opens."""


class Trackio:
    """Logs to Trackio, and nothing of the machine."""

    def __init__(self, config: TrackioConfig, run: TrackedRun) -> None:
        self._trackio = package("trackio", "trackio")
        with redirect_stdout(sys.stderr):  # what longstep prints there is for programs
            self._run = self._trackio.init(
                project=config.project,
                name=run.name,
                space_id=config.space,
                config=dict(run.config),
                resume="allow" if run.resumed else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """All numbers of a step."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Wait until everything is written."""
        with redirect_stdout(sys.stderr):
            self._trackio.finish()
