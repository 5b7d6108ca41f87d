"""Training in an environment that fails: only the episodes with faults are lost to it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.trace import read_rows
from longstep_envs.faulty import Ledger
from longstep_training.config import build_config
from longstep_training.loop import train
from longstep_training.recipe import TrainConfig
from longstep_training.reinforcement import policy_loss

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


@pytest.mark.case(31)
@pytest.mark.parametrize("what", ["logprobs_T", "advantages_T"])
def test_a_number_that_is_none_costs_a_step_and_its_episodes_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """In the first step of RL; the second goes on from the weights of the warm start."""
    calls = iter(range(100))

    def broken(model: Any, batch: Any, **options: Any) -> Any:
        if next(calls):
            return policy_loss(model, batch, **options)
        if what == "advantages_T":
            spoilt = batch.advantages_T.clone()
            spoilt[0] = float("nan")
            return policy_loss(model, replace(batch, advantages_T=spoilt), **options)
        loss, sums = policy_loss(model, batch, **options)
        return loss * float("nan"), sums

    monkeypatch.setattr("longstep_training.loop.policy_loss", broken)
    learnt = rows(tmp_path / "run", rate=0.0)
    assert [row["skipped_steps"] for row in learnt] == [1, 0]
    (told,) = read_rows(tmp_path / "run" / "skipped.jsonl")
    assert (told["phase"], told["iteration"], told["grad_norm"]) == ("rl", 1, "nan")
    assert all(episode["task_id"].startswith("train/") for episode in told["episodes"])


@pytest.mark.case(31)
@pytest.mark.case(2)
def test_what_stays_broken_takes_no_part(tmp_path: Path) -> None:
    learnt = rows(tmp_path / "run", kinds=["nan_reward"])
    assert [row["episodes"] for row in learnt] == [32] * 2
    assert all(0 < row["failed_episodes"] < 32 for row in learnt)
    assert all(row["skipped_steps"] == 0 for row in learnt)
