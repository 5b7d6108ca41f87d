"""TensorBoard: event files in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from longstep_envs.packages import package
from longstep_training.trackers.types import TrackedRun, TrackerConfig


class TensorBoardConfig(TrackerConfig):
    """Options of `tensorboard`."""

    name: Literal["tensorboard"] = "tensorboard"


class TensorBoard:
    """Writes `tensorboard/` in the run's folder: `tensorboard --logdir RUN`."""

    def __init__(self, config: TensorBoardConfig, run: TrackedRun) -> None:
        package("tensorboard", "tensorboard")  # without it, torch's own message is no help
        summaries = package("torch.utils.tensorboard", "tensorboard")
        self._writer = summaries.SummaryWriter(str(run.folder / "tensorboard"))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """A scalar each."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # what is in the run's own files is in these, too

    def close(self) -> None:
        """End the files."""
        self._writer.close()
