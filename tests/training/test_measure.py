from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from longstep_agents.types import Completion, Group, Outcome, Step, Trajectory
from longstep_training.batch import Row, build_row
from longstep_training.distributed import World
from longstep_training.measure import iteration_row, parts_row, status
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.updater import OptimizerConfig, Updater


class Coin(torch.nn.Module):
    """Both tokens are equally likely: of log-probability -0.69."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.zeros(2))

    def forward(self, input_ids: torch.Tensor, logits_to_keep: Any, **_: object) -> Any:
        logits = self.table.expand(*input_ids.shape, 2)[:, logits_to_keep]
        return type("Output", (), {"logits": logits})


def measured(rows: list[Row]) -> dict[str, Any]:
    model: Any = Coin()
    objective = partial(policy_loss, model, config=ReinforcementConfig())
    sums = Updater(model, OptimizerConfig(), World()).step(rows, objective)
    return iteration_row(World(), [], sums, seconds=1.0)


def test_what_compares_with_the_sampler_is_a_mean_over_fresh_tokens() -> None:
    completion = Completion(ids=(0, 1), logprobs=(-0.5, -0.5))
    fresh = build_row(Trajectory((Step(bridge_ids=(1,), completion=completion),)), [1.0])
    alone, mixed = measured([fresh]), measured([fresh] + [replace(fresh, replayed=True)] * 3)
    assert alone["sampler_kl"] == pytest.approx(0.1931, abs=1e-4)
    for name in ("sampler_kl", "ratio_deviation", "entropy"):
        assert mixed[name] == pytest.approx(alone[name], rel=1e-5)


def test_where_nothing_was_learnt_from_entropy_is_not_told() -> None:
    row = measured([])
    assert row["entropy"] is None
    assert "entropy n/a" in status(row)
    assert all(value is not None for name, value in row.items() if name != "entropy")


def test_parts_of_the_reward_are_means_of_what_counted_episodes_got_of_each() -> None:
    def played(*parts: dict[str, float], outcome: Outcome = Outcome.OK) -> Trajectory:
        return Trajectory(tuple(Step(reward_parts=part) for part in parts), outcome=outcome)

    group = Group(
        (
            played({"format": 1.0}, {"format": 1.0, "tests": 0.5, "test:a": 1.0}),
            played({"format": 0.0}),
            played({"format": 9.0}, outcome=Outcome.ENV_ERROR),
        )
    )
    assert parts_row(World(), [group]) == {"format": 1.0, "tests": 0.25}
    assert parts_row(World(), []) == {}
