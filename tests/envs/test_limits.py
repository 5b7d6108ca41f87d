import pytest

from longstep_envs import EpisodeOverError, Limited, Limits, make
from longstep_envs.types import BadValueError


def limited(limits: Limits, times: list[float] | None = None) -> Limited:
    clock = iter(times or [0.0] * 1000)
    env = Limited(make("longstep/Treasure-v0"), limits, clock=lambda: next(clock))
    env.reset(seed=0, options={"task": "train/0", "expert": True})
    return env


def test_the_turn_limit_truncates_and_says_so() -> None:
    env = limited(Limits(turns=3))
    ends = [env.step("look")[2:4] for _ in range(2)]
    _, _, terminated, truncated, info = env.step("look")
    assert ends == [(False, False)] * 2
    assert (terminated, truncated, info["stop_reason"]) == (False, True, "turn_limit")
    with pytest.raises(EpisodeOverError, match="turn_limit"):
        env.step("look")
    env.reset(seed=0)
    assert env.step("look")[3] is False


def test_invalid_actions_count_only_in_a_row() -> None:
    env = limited(Limits(invalid_actions=2))
    ends = [env.step(action)[3] for action in ("dance", "look", "dance", "dance")]
    assert ends == [False, False, False, True]


def test_the_clock_starts_with_the_reset_call() -> None:
    env = limited(Limits(turns=None, episode_seconds=10), [0.0, 4.0, 9.9, 10.0])
    ends = [env.step("look") for _ in range(3)]
    assert [truncated for _, _, _, truncated, _ in ends] == [False, False, True]
    assert ends[-1][4]["stop_reason"] == "time_limit"


def test_solving_the_task_on_the_last_turn_is_not_truncation() -> None:
    env = limited(Limits())
    _, info = env.reset(seed=0, options={"task": "train/0", "expert": True})
    plan = info["expert_plan"]
    env = limited(Limits(turns=len(plan)))
    *_, (_, _, terminated, truncated, info) = [env.step(action) for action in plan]
    assert (terminated, truncated, info["stop_reason"]) == (True, False, "success")


def test_counters_go_with_snapshots_and_forks() -> None:
    env = limited(Limits(turns=4, invalid_actions=2))
    env.step("look")
    env.step("dance")
    snapshot = env.snapshot()
    twin = env.fork()
    assert env.step("dance")[4]["stop_reason"] == "invalid_actions"
    stopped = env.snapshot()
    assert twin.step("look")[3] is False
    assert twin.step("look")[4]["stop_reason"] == "turn_limit"
    env.restore(snapshot)
    assert env.step("dance")[4]["stop_reason"] == "invalid_actions"
    fresh = limited(Limits(turns=4, invalid_actions=2))
    _, info = fresh.restore(stopped)
    assert info["stop_reason"] == "invalid_actions"
    with pytest.raises(EpisodeOverError):
        fresh.step("look")


def test_used_time_stays_used_after_a_restore() -> None:
    limits = Limits(turns=None, episode_seconds=10)
    env = limited(limits, [0.0, 6.0, 7.0, 107.0, 109.9, 110.0])
    env.step("look")
    snapshot = env.snapshot()
    env.restore(snapshot)
    assert env.step("look")[3] is False
    assert env.step("look")[4]["stop_reason"] == "time_limit"


@pytest.mark.parametrize("name", ["turns", "step_seconds", "tokens"])
def test_limits_of_zero_or_below_are_refused(name: str) -> None:
    for value in (0, -1, float("nan")):
        with pytest.raises(BadValueError, match=f"Limits.{name} is"):
            Limits(**{name: value})  # type: ignore[arg-type]
