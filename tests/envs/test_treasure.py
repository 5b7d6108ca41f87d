import random

import pytest

from longstep_envs import UnknownNameError, make
from longstep_envs.treasure import TreasureEnv, make_world, solve
from longstep_envs.types import BadValueError


@pytest.mark.parametrize(("rooms", "locks"), [(2, 0), (2, 1), (6, 2), (9, 3)])
def test_every_world_can_be_solved_through_all_its_doors(rooms: int, locks: int) -> None:
    env = TreasureEnv(rooms, locks)
    for number in range(60):
        _, info = env.reset(seed=0, options={"task": f"train/{number}", "expert": True})
        steps = [env.step(action) for action in info["expert_plan"]]
        assert steps[-1][2]
        assert steps[-1][4]["score"] == 1.0
        assert sum(reward for _, reward, *_ in steps) == pytest.approx(1.0)
        for _, reward, _, _, after in steps:
            assert sum(after["reward_parts"].values()) == pytest.approx(reward)


def test_splits_hold_different_worlds() -> None:
    env = TreasureEnv(split="valid")
    assert env.task_ids[0] == "valid/0"
    assert env.reset(seed=0)[1]["split"] == "valid"
    worlds = {str(make_world(f"train/{number}", 6, 2)) for number in range(100)}
    assert len(worlds) == 100


def test_the_expert_plan_is_shortest() -> None:
    walked = random.Random(0)
    env = TreasureEnv(3, 1)
    for _ in range(200):
        _, info = env.reset(seed=0, options={"task": "train/5"})
        for turn in range(1, 30):
            _, _, terminated, _, info = env.step(walked.choice(info["admissible_commands"]))
            if terminated:
                assert turn >= len(solve(make_world("train/5", 3, 1)))
                break


def test_what_is_not_admissible_changes_nothing() -> None:
    env = make("longstep/Treasure-v0")
    _, before = env.reset(seed=0, options={"task": "train/1"})
    for action in ("", "open chest please", "go up", "take all", "unlock red door"):
        observation, reward, _, _, info = env.step(action)
        assert (observation, reward) == ("You cannot do that.", 0.0)
        assert info["action_valid"] is False
        assert info["state_key"] == before["state_key"]


def test_bad_options_are_refused() -> None:
    with pytest.raises(BadValueError, match="rooms=1"):
        TreasureEnv(rooms=1)
    with pytest.raises(UnknownNameError, match="unknown split 'dev'"):
        TreasureEnv(split="dev")
