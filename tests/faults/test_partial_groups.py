"""Credit in a group of which a part has failed, by hand."""

import pytest

from longstep_agents.types import Group, Outcome, Step, Trajectory
from longstep_training.credit import CREDIT
from longstep_training.credit.trajectory import GRPOConfig


def group(*returns: float | None) -> Group:
    """Episodes of two steps by their return; one without any has failed, after a good step."""
    return Group(
        tuple(
            Trajectory((Step(reward=1.0), Step()), outcome=Outcome.ENV_ERROR)
            if value is None
            else Trajectory((Step(), Step(reward=value)))
            for value in returns
        )
    )


@pytest.mark.case(13)
def test_credit_is_that_of_the_episodes_that_count() -> None:
    (credit,) = CREDIT["grpo"]([group(1.0, None, 0.0, None, 0.0)], GRPOConfig(normalise=False))
    thirds = [2 / 3, 0.0, -1 / 3, 0.0, -1 / 3]  # less the mean of 1, 0 and 0, which is 1 / 3
    for row, value in zip(credit, thirds, strict=True):
        assert row == pytest.approx([value] * 2)
    (scaled,) = CREDIT["grpo"]([group(1.0, None, 0.0, None, 0.0)], GRPOConfig(normalise=True))
    deviation = (((2 / 3) ** 2 + 2 * (1 / 3) ** 2) / 2) ** 0.5
    for row, value in zip(scaled, thirds, strict=True):
        assert row == pytest.approx([value / deviation] * 2, abs=1e-3)


@pytest.mark.case(13)
def test_one_that_is_left_alone_earns_nothing() -> None:
    for config in (GRPOConfig(normalise=False), GRPOConfig(normalise=True)):
        (credit,) = CREDIT["grpo"]([group(1.0, None, None)], config)
        assert credit == [[0.0, 0.0]] * 3
