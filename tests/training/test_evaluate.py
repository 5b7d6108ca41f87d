import pytest

from longstep_agents.types import Outcome, Step, Trajectory
from longstep_training.evaluate import success_rate, summarise


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_the_interval_is_wilsons(successes: int, episodes: int, low: float, high: float) -> None:
    rate = success_rate(successes, episodes)
    assert rate.success == successes / episodes
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=1e-4)


def test_of_no_episode_nothing_is_known() -> None:
    rate = success_rate(0, 0)
    assert (rate.episodes, rate.success, rate.low, rate.high) == (0, 0.0, 0.0, 1.0)


def test_a_summary_counts_failures_apart_and_splits_by_kind() -> None:
    played = [
        Trajectory((Step(),) * 4, task_type="heat", success=True),
        Trajectory((Step(),) * 2, task_type="clean", outcome=Outcome.TRUNCATED),
        Trajectory(task_type="heat", outcome=Outcome.ENV_ERROR),
    ]
    row = summarise(played)
    assert (row["episodes"], row["successes"], row["failed_to_run"]) == (2, 1, 1)
    assert (row["success"], row["mean_turns"]) == (0.5, 3.0)
    assert list(row["by_task_type"]) == ["clean", "heat"]
    assert row["by_task_type"]["heat"]["success"] == 1.0
    assert summarise([])["success"] == 0.0
