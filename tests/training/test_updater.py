import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from transformers import Qwen3ForCausalLM

from longstep_training.batch import Batch, Row, pack_rows
from longstep_training.distributed import World
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.scores import score
from longstep_training.updater import DivergedError, OptimizerConfig, Updater

ModelFactory = Callable[..., Qwen3ForCausalLM]
RowSampler = Callable[..., list[Row]]


def gradient(model: Qwen3ForCausalLM, rows: list[Row], token_budget: int) -> torch.Tensor:
    """What one update gives to the optimiser."""
    config = OptimizerConfig(token_budget=token_budget, learning_rate=1e-9, clip_norm=1e9)
    seen: list[torch.Tensor] = []
    updater = Updater(model, config, World())
    updater.optimizer.register_step_pre_hook(
        lambda *_: seen.extend(p.grad.flatten().clone() for p in model.parameters())  # type: ignore[union-attr]
    )
    updater.step(rows, partial(policy_loss, model, config=ReinforcementConfig()))
    return torch.cat(seen)


def test_the_gradient_does_not_depend_on_how_rows_are_packed(
    make_model: ModelFactory, sample_rows: RowSampler
) -> None:
    rows = sample_rows(make_model())
    expected = gradient(make_model(), rows, token_budget=10_000)
    for order, budget in ((rows, 1), (rows, 40), (rows[::-1], 40)):
        other = gradient(make_model(), order, budget)
        assert float((other - expected).norm() / expected.norm()) < 1e-5


def test_a_step_makes_what_was_rewarded_more_likely(
    make_model: ModelFactory, sample_rows: RowSampler
) -> None:
    model = make_model()
    rows = sample_rows(model)
    batch = pack_rows(rows)
    objective = partial(policy_loss, model, config=ReinforcementConfig())
    updater = Updater(model, OptimizerConfig(learning_rate=1e-3), World())
    before = score(model, batch).logprobs_T.detach()
    updater.step(rows, objective)
    change = score(model, batch).logprobs_T.detach() - before
    assert float((change * batch.advantages_T).sum()) > 0


@pytest.mark.case(31)
def test_a_gradient_that_is_not_finite_is_left_out_and_ends_the_run_when_it_stays(
    make_model: ModelFactory,
    sample_rows: RowSampler,
) -> None:
    model = make_model()
    rows = sample_rows(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def broken(batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        return score(model, batch).logprobs_T.sum() * float("nan"), {}

    noted: list[dict[str, Any]] = []
    updater = Updater(model, OptimizerConfig(skips=2), World(), noted.append)
    for _ in range(2):
        step = updater.step(rows, broken)
        assert (step["skipped"], step["grad_norm"]) == (1.0, 0.0)
        assert all(math.isfinite(value) for value in step.values())
    with pytest.raises(DivergedError, match=r"step 1 has norm nan.*lower learning_rate"):
        updater.step(rows, broken)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert len(noted) == 3
    assert noted[0]["grad_norm"] == "nan"
    assert not updater.optimizer.state
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.case(31)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_advantage_that_is_no_number_costs_one_step(
    make_model: ModelFactory, sample_rows: RowSampler, value: float
) -> None:
    twins = [make_model() for _ in range(2)]
    good = sample_rows(twins[0])
    bad = [replace(row, advantages=[value] * len(row.advantages)) for row in good]
    steps = ([good, bad, good], [good, good])
    for model, parts in zip(twins, steps, strict=True):
        updater = Updater(model, OptimizerConfig(skips=1), World())
        objective = partial(policy_loss, model, config=ReinforcementConfig())
        skipped = [updater.step(rows, objective).get("skipped", 0.0) for rows in parts]
        assert sum(skipped) == len(parts) - 2
    for one, other in zip(*(model.parameters() for model in twins), strict=True):
        assert torch.equal(one, other)


def test_without_any_row_nothing_moves(make_model: ModelFactory) -> None:
    model = make_model()
    updater = Updater(model, OptimizerConfig(), World())
    row = Row([1, 2], [2], [1], [0.0], [None], [0.0], [0], [1.0], 1.0)
    updater.step([row], lambda batch: (next(model.parameters()).sum(), {}))
    before = [parameter.clone() for parameter in model.parameters()]
    assert updater.step([], lambda batch: (torch.zeros(()), {}))["grad_norm"] == 0.0
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert updater.steps == 1


def test_the_learning_rate_warms_up_and_falls_along_a_cosine(make_model: ModelFactory) -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=4, decay_steps=10, final_fraction=0.1)
    model = make_model()
    updater = Updater(model, config, World())
    row = Row([1, 2], [2], [1], [0.0], [None], [0.0], [0], [1.0], 1.0)
    rates = []
    for _ in range(12):
        updater.step([row], lambda batch: (0.0 * next(model.parameters()).sum(), {}))
        rates.append(updater.optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(0.25)
    assert max(rates) == rates[3]
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] == pytest.approx(0.1)
