import copy
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from longstep_agents.types import Completion, Group, Outcome, Step, Trajectory
from longstep_envs.types import BadValueError, DataError
from longstep_training.batch import Batch, pack, pack_rows
from longstep_training.credit.gae import GAEConfig, gae
from longstep_training.critic import (
    CriticConfig,
    explained_variance,
    load_critic,
    new_critic,
    save_critic,
    value_loss,
    value_rows,
    values,
)
from longstep_training.distributed import World
from longstep_training.loss.value import ValueLossConfig
from longstep_training.updater import OptimizerConfig, Updater

ModelFactory = Callable[..., Qwen3ForCausalLM]
CONFIG = GAEConfig(turn_discount=1.0)


def play(seed: int, value: float = 0.0, outcome: Outcome = Outcome.OK) -> Trajectory:
    """Two turns of random tokens; the first token of the episode tells what it will earn."""
    rng = random.Random(seed)
    won = float(seed % 2)
    steps = []
    for turn in range(2):
        bridge = (10 + int(won), *(rng.randrange(20, 40) for _ in range(rng.randrange(1, 4))))
        ids = tuple(rng.randrange(20, 40) for _ in range(rng.randrange(1, 4)))
        said = (value,) * len(ids)
        completion = Completion(ids=ids, logprobs=(-1.0,) * len(ids), values=said)
        steps.append(Step(reward=won * turn, bridge_ids=bridge, completion=completion))
    return Trajectory(tuple(steps), outcome=outcome)


def batch_of(*trajectories: Trajectory) -> Batch:
    return pack_rows(value_rows([Group(trajectories)], CONFIG))


def shaken(critic: torch.nn.Module) -> None:
    """Weights at random, so that values differ."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


def test_a_new_critic_expects_nothing_and_is_the_policys_copy(make_model: ModelFactory) -> None:
    policy = make_model()
    before = copy.deepcopy(policy.state_dict())
    critic = new_critic(policy)
    batch = batch_of(play(0), play(1))
    assert not values(critic, batch).any()
    own = dict(policy.base_model.named_parameters())
    for name, parameter in critic.base_model.named_parameters():
        assert torch.equal(parameter, own[name])
        assert parameter.data_ptr() != own[name].data_ptr()
    shaken(critic)
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.state_dict().items())


def test_values_are_of_the_prefix_before_each_token(make_model: ModelFactory) -> None:
    """What comes after does not matter, nor do other rows; what came before does."""
    critic = new_critic(make_model())
    shaken(critic)
    one, other = play(0), play(1)
    with torch.no_grad():
        alone = values(critic, batch_of(one))
        together = values(critic, batch_of(other, one))
        assert together[-len(alone) :] == pytest.approx(alone, abs=1e-5)
        completion = one.steps[-1].completion
        changed = replace(completion, ids=(*completion.ids[:-1], 41))
        last = replace(one.steps[-1], completion=changed)
        ended = values(critic, batch_of(replace(one, steps=(one.steps[0], last))))
        assert ended == pytest.approx(alone, abs=1e-6)
        began = replace(one.steps[0], bridge_ids=(41, *one.steps[0].bridge_ids[1:]))
        turned = values(critic, batch_of(replace(one, steps=(began, one.steps[1]))))
        assert not torch.isclose(turned, alone).any()


def test_values_do_not_depend_on_packing(make_model: ModelFactory) -> None:
    critic = new_critic(make_model())
    shaken(critic)
    rows = value_rows([Group(tuple(play(seed) for seed in range(5)))], CONFIG)
    objective = partial(value_loss, critic, config=ValueLossConfig())

    def gradient(budget: int) -> Tensor:
        critic.zero_grad()
        for batch in pack(rows, budget):
            objective(batch)[0].backward()
        gradients = [p.grad for p in critic.parameters() if p.grad is not None]
        return torch.cat([g.flatten() for g in gradients])

    small, large = gradient(1), gradient(10_000)
    assert large.norm() > 0
    torch.testing.assert_close(small, large, rtol=1e-3, atol=1e-4)


def test_rows_hold_what_was_said_and_what_should_have_been() -> None:
    failed = play(1, outcome=Outcome.ENV_ERROR)
    silent = Trajectory((Step(reward=1.0),))
    group = Group((play(0, 0.25), failed, play(1, 0.5), silent))
    lost, won = value_rows([group], CONFIG)
    assert set(lost.advantages) == {0.0}
    assert set(lost.logprobs) == {0.25}
    assert set(won.advantages) == {1.0}
    assert set(won.logprobs) == {0.5}
    assert len(won.logprobs) == len(won.positions)
    assert value_rows([], CONFIG) == []


def test_rows_ask_for_values() -> None:
    bare = Trajectory((Step(completion=Completion(ids=(1,), logprobs=(-1.0,))),))
    with pytest.raises(DataError, match="record what the method"):
        value_rows([Group((bare,))], CONFIG)


def test_a_critic_learns_what_the_first_token_tells(make_model: ModelFactory) -> None:
    """And with what it has learnt, it leaves little to earn by chance."""
    critic = new_critic(make_model())
    config = CriticConfig(
        loss=ValueLossConfig(clip=None), optimizer=OptimizerConfig(learning_rate=3e-3)
    )
    updater = Updater(critic, config.optimizer, World())
    groups = [Group(tuple(play(seed) for seed in range(8)))]
    rows = value_rows(groups, CONFIG)
    assert explained_variance(rows) == pytest.approx(0.0, abs=1e-6)
    objective = partial(value_loss, critic, config=config.loss)
    losses = [updater.step(rows, objective)["value_loss"] for _ in range(40)]
    assert losses[-1] < 0.05 * losses[0]

    unseen = tuple(play(seed) for seed in range(100, 108))
    with torch.no_grad():
        told = iter(values(critic, batch_of(*unseen)).tolist())
    informed = Group(
        tuple(
            replace(
                t,
                steps=tuple(
                    replace(
                        s,
                        completion=replace(
                            s.completion, values=tuple(next(told) for _ in s.completion.ids)
                        ),
                    )
                    for s in t.steps
                ),
            )
            for t in unseen
        )
    )
    assert explained_variance(value_rows([informed], CONFIG)) > 0.8
    raw = CONFIG.model_copy(update={"whiten": "none"})

    def size(group: Group) -> float:
        (rows,) = gae([group], raw)
        return sum(abs(v) for row in rows for step in row for v in step)  # type: ignore[union-attr]

    assert size(informed) < 0.5 * size(Group(unseen))


def test_an_old_value_holds_the_new_one_back(make_model: ModelFactory) -> None:
    """Where the value has moved by more than the clip, towards the return, it earns no more."""
    critic = new_critic(make_model())
    batch = batch_of(play(1, value=-1.0))
    loss, statistics = value_loss(critic, batch, ValueLossConfig(clip=0.5))
    tokens = len(batch.targets_T)
    assert float(loss.detach()) == pytest.approx(tokens * 0.5 * 1.5**2)
    assert statistics["value_clip_fraction"] == tokens
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in critic.parameters())


def test_a_critic_comes_back_from_its_folder(make_model: ModelFactory, tmp_path: Path) -> None:
    critic = new_critic(make_model())
    shaken(critic)
    save_critic(critic, tmp_path / "critic")
    assert (tmp_path / "critic" / "model.safetensors").exists()
    again = load_critic(tmp_path / "critic")
    batch = batch_of(play(0), play(1))
    with torch.no_grad():
        assert torch.equal(values(again, batch), values(critic, batch))


def test_a_policy_without_a_classifier_has_no_critic(make_model: ModelFactory) -> None:
    from transformers import RwkvConfig

    policy = make_model()
    policy.config = RwkvConfig()  # type: ignore[assignment]
    with pytest.raises(BadValueError, match="no critic for a rwkv policy"):
        new_critic(policy)
