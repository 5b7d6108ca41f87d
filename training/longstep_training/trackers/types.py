"""What a tracker is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from longstep_agents.config import Config


class TrackerConfig(Config):
    """Base of the options of one kind."""

    name: str


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What a tracker is told of a run."""

    folder: Path
    config: Mapping[str, Any]
    resumed: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return self.folder.resolve().name


class Tracker(Protocol):
    """Shows numbers elsewhere. Whatever it raises is told once, and ends it, not the run."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take the numbers of a step; steps never go back, and one may come in several parts."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...
