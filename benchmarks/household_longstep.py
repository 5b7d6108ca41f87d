"""Our side of the benchmark of household tasks beside TRL; `household_trl.py` runs this.

python household_longstep.py CONFIG FOLDER EVERY
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pace import Pace  # type: ignore[import-not-found]

from longstep_agents.small_policy import save_policy
from longstep_training import loop
from longstep_training.config import load_config
from longstep_training.distributed import World
from longstep_training.recipe import TrainConfig
from longstep_training.run import Run


class PacedRun(Run):
    """A run whose reinforcement learning stops every so many iterations."""

    pace: Pace

    def iterations(self, phase: str, count: int) -> Iterator[int]:
        """As every run's, until it is told to stop."""
        paced = phase == "rl"
        if paced:
            self.pace.begin()
        for iteration in super().iterations(phase, count):
            yield iteration
            if paced and not self.pace.done(iteration, self._save_policy):
                return

    def _save_policy(self, folder: Path) -> None:
        save_policy(self.model, self.tokenizer, folder)  # type: ignore[arg-type]


def main(config_path: Path, folder: Path, every: int) -> None:
    """Train as the config says."""
    PacedRun.pace = Pace(folder, every)
    loop.Run = PacedRun  # type: ignore[attr-defined]
    config = load_config(TrainConfig, config_path)
    folder.mkdir(parents=True, exist_ok=True)
    loop.make_policy(config, folder / "policy")
    loop.work(World(), config, folder, resume=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
