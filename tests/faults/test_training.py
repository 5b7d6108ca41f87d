"""Training in an environment that fails: only the episodes with faults are lost to it."""

import json
from pathlib import Path
from typing import Any

import pytest

from longstep_envs.faulty import Ledger
from longstep_training.config import build_config
from longstep_training.loop import train
from longstep_training.recipe import TrainConfig

WORLD = {"inner_kwargs": {"split": "train", "rooms": 3, "locks": 1}}
CONFIG: dict[str, Any] = {
    "seed": 5,
    "policy": {
        "vocabulary_episodes": 16,
        "small": {"hidden": 16, "layers": 2, "heads": 2, "feed_forward": 32},
    },
    "agent": {"max_tokens": 8, "action": {"constraint": "admissible"}},
    "imitation": {"iterations": 1, "demonstrations": 4, "schedule": {"updates": 1}},
    "rl": {"iterations": 2, "tasks": 8, "siblings": 4},
}


def rows(folder: Path, **faults: Any) -> list[dict[str, Any]]:
    """Train under such faults; what was measured of each iteration of RL."""
    env_kwargs = {**WORLD, "rate": 0.25, "seconds": 600.0, **faults}
    source = {"env_id": "longstep/Faulty-v0", "turns": 8, "env_kwargs": env_kwargs}
    tree = {**CONFIG, "train": {**source, "step_seconds": 0.5}}
    train(build_config(TrainConfig, tree, "test"), folder)
    told = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in told if row["phase"] == "rl"]


@pytest.mark.case(4)
def test_what_hangs_is_ended_and_played_again(tmp_path: Path) -> None:
    ledger = tmp_path / "faults"
    learnt = rows(tmp_path / "run", kinds=["hang"], ledger=str(ledger))
    assert [(row["episodes"], row["failed_episodes"]) for row in learnt] == [(32, 0)] * 2
    assert list(Ledger(ledger).faults())


@pytest.mark.case(2)
def test_what_stays_broken_takes_no_part(tmp_path: Path) -> None:
    learnt = rows(tmp_path / "run", kinds=["nan_reward"])
    assert [row["episodes"] for row in learnt] == [32] * 2
    assert all(0 < row["failed_episodes"] < 32 for row in learnt)
    assert all(row["skipped_steps"] == 0 for row in learnt)
