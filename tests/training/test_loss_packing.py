"""The gradient of an update is that of one sum over tokens, however its rows are packed."""

import math
import random
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel, Qwen3ForCausalLM

from longstep_agents.types import Completion, Group, Outcome, Step, Trajectory
from longstep_training.batch import AGGREGATIONS, Row, build_row, build_rows, pack_rows
from longstep_training.credit.trajectory import GRPOConfig, grpo
from longstep_training.distributed import World
from longstep_training.loss import LOSSES
from longstep_training.loss.corrections import CORRECTIONS
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.scores import score
from longstep_training.updater import Objective, OptimizerConfig, Updater

VOCABULARY = 12
ModelFactory = Callable[..., Qwen3ForCausalLM]


class Bigram(torch.nn.Module):
    """The least model that has a gradient: the next token depends on the last one alone."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(VOCABULARY, VOCABULARY, generator=generator))

    def forward(self, input_ids: Tensor, logits_to_keep: Any, **_: object) -> SimpleNamespace:
        return SimpleNamespace(logits=self.table[input_ids][:, logits_to_keep])


def gradient(objective: Objective, model: torch.nn.Module, rows: Sequence[Row], budget: int) -> Any:
    """What one update gives to the optimiser, and its statistics; without rows, no gradient."""
    config = OptimizerConfig(token_budget=budget, learning_rate=1e-9, clip_norm=1e9)
    updater = Updater(cast(PreTrainedModel, model), config, World())
    seen: list[Tensor] = []
    updater.optimizer.register_step_pre_hook(
        lambda *_: seen.extend(p.grad.flatten().clone() for p in model.parameters())  # type: ignore[union-attr]
    )
    statistics = updater.step(rows, objective)
    return torch.cat(seen) if seen else None, statistics


def close(one: Tensor, other: Tensor) -> bool:
    return float((one - other).norm()) <= 1e-5 * max(1e-3, float(other.norm()))


def random_completion(rng: random.Random) -> Completion:
    ids = tuple(rng.randrange(VOCABULARY) for _ in range(rng.randint(1, 4)))
    others = [tuple(sorted({token, rng.randrange(VOCABULARY)})) for token in ids]
    logprobs = [rng.uniform(-4.0, -0.1) for _ in ids]
    return Completion(
        ids=ids,
        logprobs=tuple(logprobs),
        trainer_logprobs=tuple(value + rng.gauss(0.0, 0.4) for value in logprobs),
        reference_logprobs=tuple(rng.uniform(-4.0, -0.1) for _ in ids),
        allowed=tuple(others) if rng.random() < 0.3 else None,
    )


def random_row(rng: random.Random, aggregation: str) -> Row:
    steps = [
        Step(
            bridge_ids=tuple(rng.randrange(VOCABULARY) for _ in range(rng.randint(1, 5))),
            completion=random_completion(rng),
        )
        for _ in range(rng.randint(1, 4))
    ]
    credit = [[rng.gauss(0.0, 1.0) for _ in step.completion.ids] for step in steps]
    return build_row(Trajectory(tuple(steps)), credit, aggregation)


def random_rows(seed: int, aggregation: str) -> list[Row]:
    """At least one, each with a token that no constraint forced."""
    rng, rows = random.Random(seed), list[Row]()
    while not rows:
        drawn = [random_row(rng, aggregation) for _ in range(rng.randint(1, 6))]
        rows = [row for row in drawn if row.positions]
    return rows


CORRECTION_OPTIONS = [
    {"name": name, "unit": unit}
    for name in sorted(CORRECTIONS)
    for unit in ("token", "step", "trajectory")
    if (name, unit) != ("negative_sequence", "token")
]


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("aggregation", sorted(AGGREGATIONS))
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    budget=st.integers(1, 60),
    correction=st.sampled_from(CORRECTION_OPTIONS),
    data=st.data(),
)
def test_the_gradient_and_what_is_logged_do_not_depend_on_packing(
    name: str, aggregation: str, seed: int, budget: int, correction: dict[str, str], data: Any
) -> None:
    coupled = name == "gmpo" and correction["unit"] == "token"
    config = ReinforcementConfig.model_validate(
        {
            "loss": {"name": name},
            "corrections": [] if coupled else [correction],
            "kl": {"estimator": "k3+"},
            "reference": "start",
        }
    )
    rows, model = random_rows(seed, aggregation), Bigram()
    objective = partial(policy_loss, cast(PreTrainedModel, model), config=config)
    expected, told = gradient(objective, model, rows, budget=10_000)
    other, told_other = gradient(objective, model, data.draw(st.permutations(rows)), budget)
    assert close(other, expected)
    assert told_other == pytest.approx(told, rel=1e-4, abs=1e-3)


def padded_loss(model: Qwen3ForCausalLM, rows: Sequence[Row]) -> Tensor:
    """The mean clipped loss over sampled tokens, with one padded line a row and masks over all."""
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [3] * (width - len(row.ids)) for row in rows])
    attention = torch.tensor([[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows])
    old, advantages, mask = torch.zeros(3, len(rows), width).unbind()
    for line, row in enumerate(rows):
        old[line, row.positions] = torch.tensor(row.logprobs)
        advantages[line, row.positions] = torch.tensor(row.advantages)
        mask[line, row.positions] = 1.0
    table = model(input_ids=ids, attention_mask=attention).logits.log_softmax(-1)
    new = table[:, :-1].gather(2, ids[:, 1:, None])[:, :, 0]
    ratio, gain = (new - old[:, 1:]).exp(), advantages[:, 1:]
    worse = torch.minimum(ratio * gain, ratio.clamp(0.8, 1.28) * gain)
    total: Tensor = -(worse * mask[:, 1:]).sum() / mask.sum()
    return total


def test_packed_rows_have_the_gradient_of_padded_ones_and_nothing_leaks_into_other_tokens(
    make_model: ModelFactory,
) -> None:
    model, plain = make_model(), make_model(attention="sdpa")
    rng = random.Random(1)
    rows = []
    for _ in range(5):
        steps = []
        for _ in range(rng.randint(1, 3)):
            bridge = tuple(rng.randrange(4, 40) for _ in range(rng.randint(1, 6)))
            ids = tuple(rng.randrange(4, 40) for _ in range(rng.randint(1, 5)))
            sampled = Completion(ids=ids, logprobs=(0.0,) * len(ids))
            steps.append(Step(bridge_ids=bridge, completion=sampled))
        rows.append(build_row(Trajectory(tuple(steps)), [rng.gauss(0.0, 1.0) for _ in steps]))
    for row in rows:  # old probabilities near the present ones, so that some tokens are clipped
        present = score(model, pack_rows([row])).logprobs_T.tolist()
        row.logprobs[:] = [value + rng.gauss(0.0, 0.3) for value in present]
    padded_loss(plain, rows).backward()
    expected = torch.cat([p.grad.flatten() for p in plain.parameters()])  # type: ignore[union-attr]
    objective = partial(policy_loss, model, config=ReinforcementConfig())
    found, statistics = gradient(objective, model, rows, budget=30)
    assert 0 < statistics["clip_fraction"] < statistics["tokens"]
    assert float((found - expected).norm() / expected.norm()) < 1e-5


def test_what_is_never_followed_by_a_choice_gets_no_gradient_at_all() -> None:
    """Token 1 stands inside the environment's text, and token 9 ends every completion."""
    sampled = Completion(ids=(5, 6, 9), logprobs=(-1.0, -1.0, -1.0))
    step = Step(bridge_ids=(1, 2), completion=sampled)
    rows = [build_row(Trajectory((step, step)), [1.0, -0.5])]
    model = Bigram()
    objective = partial(policy_loss, cast(PreTrainedModel, model), config=ReinforcementConfig())
    found, _ = gradient(objective, model, rows, budget=100)
    moved = found.view(VOCABULARY, VOCABULARY).abs().sum(1).nonzero()[:, 0].tolist()
    assert moved == [2, 5, 6]


def played(reward: float, rng: random.Random, outcome: Outcome = Outcome.OK) -> Trajectory:
    completion = random_completion(rng)
    free = Completion(ids=completion.ids, logprobs=completion.logprobs)
    steps = (Step(bridge_ids=(1, 2), completion=free), Step(bridge_ids=(3,), completion=free))
    last = Step(bridge_ids=(4,), completion=free, reward=reward)
    return Trajectory((*steps, last), outcome=outcome)


def test_equal_rewards_move_nothing() -> None:
    rng = random.Random(0)
    groups = [Group(tuple(played(reward, rng) for _ in range(4))) for reward in (0.0, 1.0, 0.1)]
    rows = build_rows(groups, grpo(groups, GRPOConfig()))
    model = Bigram()
    before = model.table.detach().clone()
    updater = Updater(cast(PreTrainedModel, model), OptimizerConfig(), World())
    objective = partial(policy_loss, cast(PreTrainedModel, model), config=ReinforcementConfig())
    assert updater.step(rows, objective)["grad_norm"] == 0.0
    assert torch.equal(model.table, before)


@pytest.mark.parametrize("outcome", [Outcome.ENV_ERROR, Outcome.AGENT_ERROR, Outcome.CANCELLED])
def test_a_faulted_member_changes_nothing_for_the_others(outcome: Outcome) -> None:
    """With what the hand calculates from the three that count, of rewards 1, 0 and 0."""
    rng = random.Random(0)
    good, bad, worse = played(1.0, rng), played(0.0, rng), played(0.0, rng)
    groups = [Group((good, played(7.0, rng, outcome), bad, worse))]
    rows = build_rows(groups, grpo(groups, GRPOConfig()))
    model = Bigram()
    config = ReinforcementConfig.model_validate({"loss": {"name": "reinforce"}})
    objective = partial(policy_loss, cast(PreTrainedModel, model), config=config)
    found, _ = gradient(objective, model, rows, budget=20)

    total, tokens = torch.zeros(()), 0
    deviation = math.sqrt(((1 - 1 / 3) ** 2 + 2 * (1 / 3) ** 2) / 2)
    for trajectory in (good, bad, worse):
        earned = (trajectory.total_reward - 1 / 3) / (deviation + 1e-6)
        ids = [i for step in trajectory.steps for i in (*step.bridge_ids, *step.completion.ids)]
        chosen = [c for s in trajectory.steps for c in [False] * len(s.bridge_ids)
                  + [True] * len(s.completion.ids)]  # fmt: skip
        for place in range(1, len(ids)):
            if chosen[place]:
                logprob = model.table[ids[place - 1]].log_softmax(0)[ids[place]]
                total = total - earned * logprob
                tokens += 1
    expected = torch.autograd.grad(total / tokens, model.table)[0].flatten()
    assert close(found, expected)


@pytest.mark.parametrize("aggregation", sorted(AGGREGATIONS))
def test_replays_of_little_weight_leave_the_update_as_it_was(aggregation: str) -> None:
    """Also where they are many, and with entropy in the loss, which credit does not scale."""
    rng = random.Random(0)
    fresh = [Group((played(1.0, rng), played(0.0, rng)))]
    groups = fresh + [Group((played(1.0, rng),)) for _ in range(20)]
    credit = [*grpo(fresh, GRPOConfig()), *([[1.0] * 3] for _ in range(20))]
    config = ReinforcementConfig.model_validate(
        {"loss": {"name": "reinforce"}, "entropy": {"name": "bonus", "coefficient": 0.1}}
    )

    def update(groups: list[Group], replays: Sequence[float] = ()) -> Tensor:
        model = Bigram()
        objective = partial(policy_loss, cast(PreTrainedModel, model), config=config)
        rows = build_rows(groups, credit[: len(groups)], aggregation, replays=replays)
        return cast(Tensor, gradient(objective, model, rows, budget=30)[0])

    assert close(update(groups, [1e-8] * 20), update(fresh))
    assert close(update(groups, [1.0] * 20), update(groups))
    assert not close(update(groups), update(fresh))


def test_a_group_that_only_faulted_or_an_empty_batch_moves_nothing() -> None:
    rng = random.Random(0)
    faulted = Group(tuple(played(1.0, rng, Outcome.ENV_ERROR) for _ in range(3)))
    alone = Group((played(1.0, rng), played(0.0, rng, Outcome.INFRA_ERROR)))
    for groups in ([], [faulted], [alone], [Group()]):
        assert build_rows(groups, grpo(groups, GRPOConfig())) == []


def test_the_first_step_of_an_update_tells_that_its_ratio_is_one() -> None:
    model = Bigram()
    rows = random_rows(3, "token")
    for row in rows:
        row.logprobs[:] = score(cast(Any, model), pack_rows([row])).logprobs_T.tolist()
    objective = partial(policy_loss, cast(PreTrainedModel, model), config=ReinforcementConfig())
    _, statistics = gradient(objective, model, rows, budget=20)
    assert statistics["ratio_deviation"] == pytest.approx(0.0, abs=1e-5)
    assert statistics["correction"] == statistics["tokens"]
    assert statistics["reference_kl"] == 0.0
    rows[0].logprobs[0] += math.log(2.0)  # the ratio is a half
    _, statistics = gradient(objective, model, rows, budget=20)
    assert statistics["ratio_deviation"] == pytest.approx(0.5, abs=1e-5)
