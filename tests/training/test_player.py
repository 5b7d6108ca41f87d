import pytest

from longstep_agents.types import Outcome, Trajectory
from longstep_training.player import RolloutError, require_some

FAILED = Trajectory(task_id="train/7", outcome=Outcome.ENV_ERROR, error="OSError: no such game")


def test_a_few_failures_are_borne() -> None:
    require_some([FAILED, FAILED, Trajectory()])
    require_some([])


def test_when_every_episode_fails_the_first_error_is_told() -> None:
    with pytest.raises(RolloutError, match=r"none of 2 .* train/7 .*env_error: OSError: no such"):
        require_some([FAILED, FAILED])
