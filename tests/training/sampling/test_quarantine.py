import random
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.types import Group, Outcome, Trajectory
from longstep_envs.types import DataError
from longstep_training.config import build_config
from longstep_training.distributed import World
from longstep_training.log import RunLog
from longstep_training.loop import train
from longstep_training.player import Patience, RolloutError
from longstep_training.recipe import TrainConfig
from longstep_training.sampling.quarantine import Quarantine
from longstep_training.sampling.strategy import Plan

POOL = tuple("abcdef")
PLAN = Plan(("a", "b", "a"), siblings=2, pool=POOL)


def played(**outcomes: str) -> list[Group]:
    """A group of each task, whose letters tell its episodes: `f`ailed or played."""
    kinds = {"f": Outcome.ENV_ERROR, "o": Outcome.OK, "a": Outcome.AGENT_ERROR}
    return [
        Group(tuple(Trajectory(task_id=task, outcome=kinds[letter]) for letter in letters))
        for task, letters in outcomes.items()
    ]


@pytest.mark.case(11)
def test_a_task_that_only_fails_is_replaced_and_no_other() -> None:
    quarantine = Quarantine(3)
    assert quarantine.observe(played(a="ff", b="oo", c="oo")) == []
    assert quarantine.plan(PLAN, random.Random(0)) is PLAN
    assert quarantine.observe(played(a="f", b="oo")) == ["a"]
    planned = quarantine.plan(PLAN, random.Random(0))
    assert planned.tasks[1] == "b"
    assert "a" not in planned.tasks
    assert set(planned.tasks) <= set(POOL)
    again = Quarantine(3)
    again.load(quarantine.state())
    assert again.tasks == ["a"]


def test_one_episode_that_can_be_played_clears_a_task() -> None:
    quarantine = Quarantine(3)
    for outcomes in ("ff", "fo", "ff"):
        assert quarantine.observe(played(a=outcomes, b="ooo")) == []
    assert quarantine.observe(played(a="a", b="ooo")) == []  # an agent's fault tells nothing
    assert quarantine.observe(played(a="f", b="ooo")) == ["a"]


@pytest.mark.case(12)
def test_an_outage_is_no_tasks_fault() -> None:
    quarantine = Quarantine(1)
    assert quarantine.observe(played(a="ff", b="ff", c="oo")) == []
    assert Quarantine(None).observe(played(a="f", b="ooo")) == []


@pytest.mark.case(11)
def test_a_run_without_a_good_task_is_told() -> None:
    quarantine = Quarantine(1)
    quarantine.observe([*played(**dict.fromkeys(POOL, "f")), *played(z="o" * 6)])
    with pytest.raises(DataError, match=r"all 6 training tasks have failed .* the first is 'a'"):
        quarantine.plan(PLAN, random.Random(0))


@pytest.mark.case(12)
def test_batches_in_which_all_fails_pass_but_not_for_ever() -> None:
    patience = Patience(2, World())
    failed, good = [Trajectory(outcome=Outcome.ENV_ERROR)], [Trajectory()]
    for batch in (failed, failed, good, failed, failed):
        patience.check(batch)
    with pytest.raises(RolloutError, match="none of 1 episodes could be played"):
        patience.check(failed)


def config(tmp_path: Path, **faults: Any) -> TrainConfig:
    kwargs = {"inner_kwargs": {"split": "train", "rooms": 3, "locks": 1}, "kinds": ["raise"]}
    source = {"env_id": "longstep/Faulty-v0", "turns": 6, "env_kwargs": kwargs | faults}
    tree = {
        "train": {**source, "match": "train/?"},
        "policy": {
            "vocabulary_episodes": 4,
            "small": {"hidden": 16, "layers": 1, "heads": 2, "feed_forward": 32},
        },
        "agent": {"max_tokens": 8, "action": {"constraint": "admissible"}},
        "imitation": {"iterations": 0},
        "rl": {"iterations": 4, "tasks": 12, "siblings": 3},
        "run": {"checkpoint_every": 9},
    }
    return build_config(TrainConfig, tree, "test")


@pytest.mark.case(11)
def test_a_run_with_poisoned_tasks_finishes_and_lists_them(tmp_path: Path) -> None:
    probe = config(tmp_path).train.task_ids()
    poisoned = [probe[2], probe[5]]
    train(config(tmp_path, poisoned=poisoned, within=0), tmp_path / "run")
    rows = [row for row in RunLog(tmp_path / "run").rows() if row["phase"] == "rl"]
    assert rows[-1]["quarantined"] == sorted(poisoned)
    assert rows[0]["failed_episodes"] > 0
    assert rows[-1]["failed_episodes"] == 0
    assert rows[-1]["episodes"] == 36
