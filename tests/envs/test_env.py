import pickle
from collections.abc import Sequence
from typing import Any

import pytest

from longstep_envs import EpisodeOverError, Info, SnapshotError, TextEnv, UnknownNameError
from longstep_envs.types import ContractError, DataError


class Dice(TextEnv):
    """Every action rolls; random in its steps, so that seeds and random state matter."""

    metadata = TextEnv.metadata | {"concurrency": "thread", "snapshot": "replay"}

    def __init__(self, result: Any = None, tasks: Sequence[str] = ("a", "b", "c")) -> None:
        super().__init__()
        self.result = result
        self.tasks = tasks

    @property
    def task_ids(self) -> Sequence[str]:
        return self.tasks

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        return f"{task_id} {self.np_random.integers(1000)}", {}

    def _act(self, action: str) -> tuple[str, bool, Info]:
        if action == "fail":
            raise ZeroDivisionError
        if self.result is not None and action == "odd":
            observation, score = self.result
            return observation, False, {"score": score}
        win = action == "win"
        roll = str(self.np_random.integers(1000))
        return roll, win or action == "lose", {"score": 1.0 if win else 0.25, "success": win}


class NativeDice(Dice):
    metadata = Dice.metadata | {"snapshot": "native"}

    def _set_state(self, state: Any) -> Info:
        return {}


KINDS = pytest.mark.parametrize("kind", [Dice, NativeDice])


def rolls(env: TextEnv, number: int = 5) -> list[str]:
    return [env.step("roll")[0] for _ in range(number)]


@KINDS
@pytest.mark.parametrize("options", [None, {"task": "b"}])
@pytest.mark.parametrize("seed", [None, 3])
def test_restore_leads_back_and_the_same_future_follows(
    kind: type[Dice], options: Any, seed: int | None
) -> None:
    env = kind()
    env.reset(seed=5)
    env.reset(seed=seed, options=options)
    rolls(env, 3)
    snapshot = pickle.loads(pickle.dumps(env.snapshot()))
    future = rolls(env)
    for again in (env, kind()):
        observation, info = again.restore(snapshot)
        assert observation == again.render()
        assert (info["turn"], info["score"], info["task_id"]) == (3, 0.25, snapshot.task_id)
        assert rolls(again) == future


@KINDS
def test_a_fork_has_the_same_future_and_a_life_of_its_own(kind: type[Dice]) -> None:
    env = kind(None, tasks=("x", "y"))
    env.reset(seed=1)
    rolls(env, 2)
    twin, stray = env.fork(), env.fork()
    assert twin.task_ids == env.task_ids
    stray.reset(seed=9)
    rolls(stray)
    assert rolls(twin) == rolls(env)


def test_a_registered_environment_forks_too() -> None:
    from longstep_envs import make

    env = make("longstep/Treasure-v0")
    env.reset(seed=0)
    twin = env.fork()
    assert twin.spec == env.spec
    assert twin.step("look")[0] == env.step("look")[0]


@pytest.mark.case(16)
def test_the_end_of_an_episode_survives_a_snapshot() -> None:
    for env in (Dice(), NativeDice()):
        env.reset(seed=0)
        env.step("win")
        snapshot = env.snapshot()
        env.reset()
        env.restore(snapshot)
        with pytest.raises(EpisodeOverError):
            env.step("roll")


@KINDS
def test_a_restored_point_is_told_as_it_was(kind: type[Dice], monkeypatch: Any) -> None:
    monkeypatch.setattr(kind, "provenance", "a bag of dice")
    env = kind()
    told = env.reset(seed=0)[1]
    start = env.snapshot()
    told["extra"].clear()  # the caller's own
    env.step("win")
    _, at_the_start = kind().restore(start)
    _, at_the_end = kind().restore(env.snapshot())
    assert at_the_start["extra"] == {"provenance": "a bag of dice"}
    assert "success" not in at_the_start
    assert at_the_end["success"]
    assert (at_the_end["stop_reason"], at_the_end.get("extra")) == ("success", None)


def test_restore_refuses_what_does_not_fit() -> None:
    env = Dice()
    with pytest.raises(SnapshotError, match=r"call reset\(\) first"):
        env.snapshot()
    env.reset(seed=0)
    rolls(env)
    snapshot = env.snapshot()
    with pytest.raises(SnapshotError, match="NativeDice cannot restore a snapshot of Dice"):
        NativeDice().restore(snapshot)
    object.__setattr__(snapshot, "seed", 1)
    with pytest.raises(SnapshotError, match="led to another observation"):
        env.restore(snapshot)
    with pytest.raises(EpisodeOverError):  # not left in the middle of a wrong replay
        env.step("roll")


@KINDS
def test_restore_refuses_a_snapshot_of_other_data(kind: type[Dice], monkeypatch: Any) -> None:
    monkeypatch.setattr(kind, "provenance", "old dice")
    env = kind()
    env.reset(seed=0)
    rolls(env)
    snapshot = pickle.loads(pickle.dumps(env.snapshot()))
    monkeypatch.setattr(kind, "provenance", "new dice")
    with pytest.raises(SnapshotError, match="other data, 'old dice'; here it is 'new dice'"):
        kind().restore(snapshot)


def test_seeds_reproduce_and_differ() -> None:
    def play(seed: int) -> list[str]:
        env = Dice()
        first, _ = env.reset(seed=seed)
        episode = [first, *rolls(env)]
        second, _ = env.reset()
        return [*episode, second, *rolls(env)]

    assert play(4) == play(4)
    assert play(4) != play(5)


def test_tasks_are_drawn_by_the_seed_and_all_of_them_come() -> None:
    env = Dice()
    drawn = {env.reset(seed=seed)[1]["task_id"] for seed in range(30)}
    assert drawn == {"a", "b", "c"}


def test_rewards_are_changes_of_score_and_the_end_has_a_reason() -> None:
    env = Dice()
    env.reset(seed=0)
    steps = [env.step("roll"), env.step("roll"), env.step("win")]
    assert [reward for _, reward, *_ in steps] == [0.25, 0.0, 0.75]
    assert steps[-1][2:4] == (True, False)
    assert steps[-1][4]["stop_reason"] == "success"
    env.reset(seed=0)
    assert env.step("lose")[4]["stop_reason"] == "failure"


@pytest.mark.case(16)
def test_an_episode_that_failed_or_ended_cannot_go_on() -> None:
    env = Dice()
    with pytest.raises(EpisodeOverError, match=r"call reset\(\) first"):
        env.step("roll")
    env.reset(seed=0)
    with pytest.raises(ZeroDivisionError):
        env.step("fail")
    with pytest.raises(EpisodeOverError):
        env.step("roll")
    env.reset(seed=0)
    with pytest.raises(UnknownNameError):
        env.reset(options={"task": "z"})
    with pytest.raises(EpisodeOverError):
        env.step("roll")


@pytest.mark.case(15)
@pytest.mark.parametrize("result", [(None, 0.0), (b"x", 0.0), ("x", float("nan")), ("x", 1.5)])
def test_what_breaks_the_contract_is_refused(result: Any) -> None:
    env = Dice(result)
    env.reset(seed=0)
    with pytest.raises(ContractError):
        env.step("odd")


def test_misuse_names_what_came_and_what_is_wanted() -> None:
    env = Dice()
    with pytest.raises(UnknownNameError, match=r"unknown task 7; there are 3, for example a, b, c"):
        env.reset(options={"task": 7})
    env.reset(seed=0)
    with pytest.raises(TypeError, match="an action is a str, got int"):
        env.step(7)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="has no tasks"):
        Dice(tasks=()).reset()
