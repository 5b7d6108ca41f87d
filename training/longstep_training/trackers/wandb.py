"""Weights & Biases: on this machine until `wandb sync`, or online."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from uuid import uuid4

from longstep_envs.packages import package
from longstep_training.trackers.types import TrackedRun, TrackerConfig


class WandbConfig(TrackerConfig):
    """Options of `wandb`."""

    name: Literal["wandb"] = "wandb"
    project: str = "longstep"
    entity: str | None = None
    mode: Literal["offline", "online"] = "offline"
    """`offline` needs no account: `wandb sync RUN/wandb/offline-*` uploads what was written."""


class Wandb:
    """Writes `wandb/` in the run's folder, without the code and what the terminal shows."""

    def __init__(self, config: WandbConfig, run: TrackedRun) -> None:
        wandb = package("wandb", "wandb")
        quiet = wandb.Settings(silent=True, console="off", save_code=False, disable_git=True)
        self._run = wandb.init(
            dir=str(run.folder),
            project=config.project,
            entity=config.entity,
            mode=config.mode,
            name=run.name,
            id=_identity(run.folder),
            resume="allow",
            config=dict(run.config),
            settings=quiet,
        )

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """All numbers of a step."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Wait until everything is written."""
        self._run.finish()


def _identity(folder: Path) -> str:
    """The id by which a run that was interrupted is known again."""
    path = folder / "wandb" / "id.txt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid4().hex[:16], "utf-8")
    return path.read_text("utf-8")
