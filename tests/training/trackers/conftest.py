from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longstep_training.trackers import Trackers
from longstep_training.trackers.types import TrackedRun, TrackerConfig

ROWS: list[dict[str, Any]] = [
    {"phase": "imitation", "iteration": 1, "loss": 2.0, "success": None, "timing": {"update": 0.5}},
    {"phase": "imitation", "iteration": 2, "loss": 1.5},
    {
        "phase": "eval",
        "after": "imitation",
        "iteration": 2,
        "name": "valid",
        "stage": "warm start",
        "success": 0.25,
        "by_task_type": {"open": {"success": 0.25}},
    },
    {"phase": "rl", "iteration": 1, "loss": 0.5, "entropy_by_turn": [0.9, None, 0.7]},
    {"phase": "rl", "iteration": 2, "loss": 0.25, "gates": {"outcome": float("nan")}},
]
"""As `metrics.jsonl` holds them."""
TRACKED = {
    ("imitation/loss", 1): 2.0,
    ("imitation/timing/update", 1): 0.5,
    ("imitation/loss", 2): 1.5,
    ("eval/valid/success", 2): 0.25,
    ("eval/valid/by_task_type/open/success", 2): 0.25,
    ("rl/loss", 3): 0.5,
    ("rl/entropy_by_turn/1", 3): 0.9,
    ("rl/entropy_by_turn/3", 3): 0.7,
    ("rl/loss", 4): 0.25,
}
"""Name and step of each number, and the number."""
Track = Callable[[TrackerConfig], None]


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """What is tracked."""
    return ROWS


@pytest.fixture
def tracked() -> dict[tuple[str, int], float]:
    """What of it the tracker is to hold."""
    return TRACKED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a run."""
    path = tmp_path / "household-seed0"
    path.mkdir()
    return path


@pytest.fixture
def track(folder: Path) -> Track:
    """Tracks a run that is interrupted after four rows and goes on from the third."""

    def run(config: TrackerConfig) -> None:
        for new, known in ((ROWS[:4], []), (ROWS[2:], ROWS[:4])):
            place = TrackedRun(folder, {"imitation": {"iterations": 2}}, resumed=bool(known))
            trackers = Trackers([config], place, pytest.fail, known)
            for row in new:
                trackers.log(row)
            trackers.close()

    return run
