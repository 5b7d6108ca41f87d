"""Credit and loss against numbers that the methods' released implementations computed."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch

from longstep_agents.types import Group, Step, Trajectory
from longstep_training.credit import CreditConfig, discounted_returns, gigpo, grpo
from longstep_training.loss import LossConfig, clip

GOLDEN = Path(__file__).parent / "golden"
CASES: list[dict[str, Any]] = json.loads((GOLDEN / "gigpo.json").read_text())["cases"]


def flat(advantages_PGS: list[list[list[float]]]) -> list[float]:
    return [value for group in advantages_PGS for row in group for value in row]


def trajectory(case: dict[str, Any]) -> Trajectory:
    pairs = zip(case["states"], case["rewards"], strict=True)
    return Trajectory(tuple(Step(state_key=key, reward=reward) for key, reward in pairs))


@pytest.mark.parametrize("case", CASES)
def test_gigpo_is_that_of_the_released_code(case: dict[str, Any]) -> None:
    groups = [
        Group(tuple(map(trajectory, members)))
        for _, members in groupby(case["trajectories"], key=lambda t: t["group"])
    ]
    returns = [
        value
        for t in case["trajectories"]
        for value in discounted_returns(t["rewards"], case["discount"])
    ]
    assert returns == pytest.approx(case["returns"], abs=1e-5)
    config = CreditConfig(discount=case["discount"], normalise=case["normalise"])
    episode = flat(grpo(groups, config))
    both = flat(gigpo(groups, config))
    compared = 0
    for e, total, golden_e, golden_s in zip(
        episode, both, case["episode"], case["step"], strict=True
    ):
        if golden_e is not None:
            assert e == pytest.approx(golden_e, abs=2e-5)
            compared += 1
        if golden_s is not None:
            assert total - e == pytest.approx(golden_s, abs=2e-5)
            compared += 1
    assert compared


def test_centred_grpo_is_dr_grpo() -> None:
    rewards = [1.0, 0.0, 0.5]  # one group of three; what verl's dr_grpo gives for it
    group = Group(tuple(Trajectory((Step(reward=r),)) for r in rewards))
    assert flat(grpo([group], CreditConfig(normalise=False))) == pytest.approx([0.5, -0.5, 0.0])


def test_the_clipped_loss_and_its_gradient_are_those_of_verl() -> None:
    golden = json.loads((GOLDEN / "clip_loss.json").read_text())
    logprobs = torch.tensor(golden["logprobs"], requires_grad=True)
    config = LossConfig(clip_low=golden["clip_low"], clip_high=golden["clip_high"])
    old, advantages = torch.tensor(golden["old_logprobs"]), torch.tensor(golden["advantages"])
    loss = clip(logprobs, old, advantages, config).mean()
    loss.backward()
    assert loss.item() == pytest.approx(golden["loss"], abs=1e-6)
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx(golden["gradient"], abs=1e-6)
