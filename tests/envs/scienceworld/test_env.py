"""Episodes in the official simulator."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from longstep_envs.scienceworld import ScienceWorldEnv
from longstep_envs.types import EnvFaultError, EpisodeOverError

ERRANDS = [
    "open door to hallway",
    "go to hallway",
    "open door to kitchen",
    "go to kitchen",
    "look around",
]
Transcript = list[tuple[str, float, bool, str]]


def start(env: ScienceWorldEnv, task: str, *, expert: bool = False) -> tuple[str, Any]:
    return env.reset(seed=0, options={"task": task, "expert": expert})


def play(env: ScienceWorldEnv, task: str, actions: list[str]) -> Transcript:
    observation, info = start(env, task)
    lines: Transcript = [(observation, 0.0, False, info["state_key"])]
    for action in actions:
        observation, reward, terminated, _, info = env.step(action)
        lines.append((observation, reward, terminated, info["state_key"]))
        if terminated:
            break
    return lines


def test_the_first_observation_tells_the_task_and_what_is_around(env: ScienceWorldEnv) -> None:
    observation, info = start(env, "train/boil/0")
    assert observation.startswith("Task Description:\nYour task is to boil water.")
    assert "This room is called the hallway." in observation
    assert (info["split"], info["extra"]["task_type"]) == ("train", "boil")
    assert "admissible_commands" not in info
    assert info["extra"]["provenance"].startswith("ScienceWorld 1.2.3 (official simulator")


@pytest.mark.parametrize(
    ("action", "valid"),
    [
        ("open door to greenhouse", True),
        ("LOOK around", True),
        ("help", True),
        ("eat picture", True),  # understood, and refused in the game
        ("dance", False),
        ("", False),
        ("0", False),
        ("look at the moon\nhelp", False),
        ("\ud800", False),
        ("!xs\\n \\ye", False),
    ],
)
def test_valid_is_what_the_simulator_understands(
    env: ScienceWorldEnv, action: str, valid: bool
) -> None:
    start(env, "train/boil/0")
    observation, reward, terminated, _, info = env.step(action)
    assert observation
    assert (info["action_valid"], reward, terminated) == (valid, 0.0, False)


def test_a_question_is_answered_by_a_number_and_cancelled_by_nothing(env: ScienceWorldEnv) -> None:
    play(env, "train/boil/1", ERRANDS)
    valid, keys = [], []
    actions = ["eat orange", "help", "", "eat orange", "banana", "eat orange", "1"]
    for action in actions:
        observation, *_, info = env.step(action)
        valid.append(info["action_valid"])
        keys.append(info["state_key"])
    assert valid == [True, True, True, True, False, True, True]
    assert observation == "The orange was delicious."
    assert keys[0] == keys[1] != keys[2], "an open question is part of the state"


def test_failing_the_task_ends_it_with_a_negative_raw_score(env: ScienceWorldEnv) -> None:
    start(env, "train/boil/0")
    _, reward, terminated, truncated, info = env.step("focus on picture")
    assert (terminated, truncated, reward) == (True, False, 0.0)
    assert (info["score_raw"], info["score"], info["max_score"]) == (-100.0, 0.0, 100.0)
    assert (info["success"], info["stop_reason"]) == (False, "failure")
    with pytest.raises(EpisodeOverError):
        env.step("look around")


@pytest.mark.parametrize("first", ["help", "\x01HELP ", "task", "objects"])
def test_no_result_of_the_last_episode_is_told_again(env: ScienceWorldEnv, first: str) -> None:
    start(env, "train/boil/0")
    env.step("focus on picture")
    start(env, "train/boil/0")
    _, reward, terminated, _, info = env.step(first)
    assert (reward, terminated, info["score_raw"]) == (0.0, False, 0.0)


@pytest.mark.parametrize("task", ["train/power-component/1", "test/find-animal/225", "dev/melt/14"])
def test_the_gold_path_scores_everything(env: ScienceWorldEnv, task: str) -> None:
    _, info = start(env, task, expert=True)
    rewards = []
    for action in info["expert_plan"]:
        _, reward, terminated, _, info = env.step(action)
        rewards.append(reward)
        if terminated:
            break
    assert (info["score_raw"], info["score"], info["success"]) == (100.0, 1.0, True)
    assert sum(rewards) == pytest.approx(1.0)


def test_listing_commands_changes_nothing_and_every_jvm_tells_the_same_bytes(
    env: ScienceWorldEnv,
) -> None:
    tasks = ["train/boil/5", "test/grow-fruit/100"]
    actions = [*ERRANDS, "open cupboard", "look in cupboard", "objects", "inventory"]
    first = {task: play(env, task, actions) for task in tasks}
    listing = ScienceWorldEnv(admissible=True)
    for task in reversed(tasks):
        assert play(listing, task, actions) == first[task]
    play(listing, "train/boil/1", ERRANDS)
    commands = listing.step("inventory")[4]["admissible_commands"]
    assert "activate stove" in commands
    assert len(commands) == len(set(commands))
    assert listing.step("eat orange")[4]["admissible_commands"] == ["0", "1"]
    pid = listing.pid
    listing.close()
    listing.close()
    assert not Path(f"/proc/{pid}").exists()


def test_a_snapshot_leads_back_and_a_fork_goes_on_alone(env: ScienceWorldEnv) -> None:
    play(env, "train/melt/3", ERRANDS)
    twin = env.fork()
    assert twin.pid != env.pid
    assert twin.step("inventory")[:2] == env.step("inventory")[:2]
    twin.close()
    snapshot = env.snapshot()
    env.step("wait")
    observation, info = env.restore(snapshot)
    assert "In your inventory" in observation
    assert info["turn"] == len(ERRANDS) + 1


@pytest.mark.case(8)
def test_a_lost_jvm_is_a_fault_and_the_next_reset_starts_another(env: ScienceWorldEnv) -> None:
    start(env, "train/boil/0")
    lost = env.pid
    assert lost is not None
    os.kill(lost, signal.SIGKILL)
    with pytest.raises(EnvFaultError, match=r"JVM ended \(exit status -9\)") as fault:
        env.step("look around")
    assert fault.value.error["retryable"]
    with pytest.raises(EpisodeOverError):
        env.step("look around")
    start(env, "train/boil/0")
    assert env.pid != lost
    assert env.step("look around")[4]["action_valid"]


@pytest.mark.case(8)
def test_a_jvm_lost_between_two_episodes_is_replaced(env: ScienceWorldEnv) -> None:
    start(env, "train/boil/0")
    assert env.pid is not None
    os.kill(env.pid, signal.SIGKILL)
    while env._simulator is not None and env._simulator.alive:
        pass
    observation, _ = start(env, "train/boil/0")
    assert "boil water" in observation


@pytest.mark.slow
def test_every_task_has_a_gold_path_that_scores_everything(env: ScienceWorldEnv) -> None:
    firsts = {env.task_type_of(task_id): task_id for task_id in reversed(env.task_ids)}
    assert len(firsts) == 30
    scores = {}
    for task_id in firsts.values():
        _, info = start(env, task_id, expert=True)
        for action in info["expert_plan"]:
            _, _, terminated, _, info = env.step(action)
            if terminated:
                break
        scores[task_id] = info["score_raw"]
    assert scores == dict.fromkeys(firsts.values(), 100.0)
