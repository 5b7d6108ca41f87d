"""What the processes of test_gradients and test_shards run; spawned ones import it by its name."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from longstep_agents.attention import ATTENTION
from longstep_agents.models.hf import HFModel
from longstep_agents.shares import whole
from longstep_agents.small_policy import SmallPolicyConfig, build_model, build_tokenizer
from longstep_agents.types import Completion, Group, Step, Trajectory
from longstep_training.batch import Row, build_row
from longstep_training.blocks import run_blocks
from longstep_training.checkpoint import Parts, Progress, restore, save_checkpoint
from longstep_training.critic import new_critic, values
from longstep_training.distributed import World
from longstep_training.loss.kl import KLConfig
from longstep_training.policy import compute_in
from longstep_training.record import Recorder
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.scores import MOST_LOGITS
from longstep_training.shards import shard, whole_state
from longstep_training.updater import OptimizerConfig, Updater

METHOD = ReinforcementConfig(reference="start", kl=KLConfig(coefficient=0.1))
WORDS = ("You see shelf 1, shelf 2 and desk 1.", "take cup 1 from shelf 2", "go to desk 20", "look")
EPISODES, TURNS, TRUNK = 5, 3, 24


def make_policy(seed: int = 0) -> Qwen3ForCausalLM:
    """A model of two layers with preferences."""
    size = SmallPolicyConfig(hidden=32, layers=2, heads=2)  # heads as narrow as GPUs take them
    model = build_model(build_tokenizer(WORDS), size, seed)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(10)
    model.set_attn_implementation(ATTENTION)
    model.eval()
    return model


def make_episodes() -> list[Trajectory]:
    """Episodes of several turns and of different lengths, which all begin alike."""
    rng = random.Random(0)

    def drawn(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(4, 20) for _ in range(count))

    def step(before: tuple[int, ...]) -> Step:
        ids = drawn(rng.randrange(1, 6))
        told: dict[str, Any] = {
            name: tuple(rng.uniform(-4.0, -1.0) for _ in ids)
            for name in ("logprobs", "trainer_logprobs", "reference_logprobs")
        }
        allowed = tuple(rng.choice((None, (ids[j], 2, 3))) for j in range(len(ids)))
        return Step(bridge_ids=before, completion=Completion(ids=ids, allowed=allowed, **told))

    trunk = drawn(TRUNK)
    return [
        Trajectory(
            tuple(step((*(trunk if turn == 0 else ()), *drawn(2 + i))) for turn in range(TURNS))
        )
        for i in range(EPISODES)
    ]


def merged(episode: Trajectory, credit: list[float]) -> list[Row]:
    """One growing text."""
    return [build_row(episode, credit)]


def forked(episode: Trajectory, credit: list[float]) -> list[Row]:
    """One row of a text for each turn, which has the whole past before it."""
    return [build_row(Trajectory(tuple(_with_past(episode))), credit)]


def stepwise(episode: Trajectory, credit: list[float]) -> list[Row]:
    """A row for each turn."""
    steps = zip(_with_past(episode), credit, strict=True)
    return [build_row(Trajectory((step,)), [earned]) for step, earned in steps]


def _with_past(episode: Trajectory) -> list[Step]:
    past: tuple[int, ...] = ()
    steps = []
    for step in episode.steps:
        past += step.bridge_ids
        steps.append(Step(bridge_ids=past, completion=step.completion, begins_row=True))
        past += step.completion.ids
    return steps


LAYOUTS = {"merged": merged, "forked": forked, "stepwise": stepwise}


def make_rows(layout: str = "merged") -> list[Row]:
    """The rows of all episodes, with a credit for each turn."""
    rng = random.Random(1)
    return [
        row
        for episode in make_episodes()
        for row in LAYOUTS[layout](episode, [rng.gauss(0.0, 1.0) for _ in episode.steps])
    ]


def updater_of(world: World, sharded: bool, precision: Any = "float32", **options: Any) -> Updater:
    """An updater of the same policy on every rank."""
    model = compute_in(precision, make_policy())
    torch.nn.Module.to(model, world.device)
    if sharded:
        shard(model, world, precision)
    return Updater(model, OptimizerConfig(**options), world)


def objective_of(updater: Updater) -> Any:
    """The policy loss, with everything in it."""
    return partial(policy_loss, updater.model, config=METHOD)


def gradient(updater: Updater, rows: list[Row]) -> dict[str, Tensor]:
    """The whole gradient of the rows of all ranks, by parameter."""
    updater.differentiate(rows, objective_of(updater))
    return {name: whole(parameter.grad).cpu() for name, parameter in updater.parameters.items()}


def tell_gradients(world: World, out: Path) -> None:
    """The gradient of the same rows, unsharded and sharded, with few and with many passes."""
    rows = world.share(make_rows())
    found = {}
    for sharded in (False, True):
        for budget in (1, 10_000):
            updater = updater_of(world, sharded, token_budget=budget, share=budget > 1)
            found[f"sharded={sharded}, budget={budget}"] = gradient(updater, rows)
    again = updater_of(world, sharded=True)
    run_blocks(again.model, "full")
    found["blocks computed again"] = gradient(again, rows)
    with patch.dict(MOST_LOGITS, cpu=64, cuda=64):
        found["logits in parts"] = gradient(updater_of(world, sharded=True), rows)
    rounded = updater_of(world, True, "bfloat16")
    found["bfloat16"] = gradient(rounded, rows)
    torch.save(found, out / f"{world.size}-{world.rank}.pt")


def train_and_save(world: World, out: Path, sharded: bool) -> None:
    """Two steps, a checkpoint, and one step more."""
    updater = updater_of(world, sharded)
    critic = Updater(new_critic(make_policy()), OptimizerConfig(), world)
    if sharded:
        shard(critic.model, world)
        critic = Updater(critic.model, OptimizerConfig(), world)
    for _ in range(2):
        learn(updater, critic)
    parts = Parts(build_tokenizer(WORDS), updater, critic)
    root = out / f"of-{world.size}"
    save_checkpoint(root, parts, Progress("rl", 2, 0.0, 2), keep=1)
    tell_state(out / f"saved-{world.size}", updater, critic)
    learn(updater, critic)
    tell_state(out / f"ended-{world.size}", updater, critic)


def resume(world: World, out: Path, source: int, sharded: bool) -> None:
    """Go on with what `source` processes have saved."""
    folder = out / f"of-{source}" / "rl-000002"
    updater, model = updater_of(world, sharded), new_critic(make_policy(seed=7))
    critic = Updater(shard(model, world) if sharded else model, OptimizerConfig(), world)
    restore(folder, updater)
    restore(folder / "critic", critic)
    tell_state(out / f"resumed-{world.size}", updater, critic)
    learn(updater, critic)
    tell_state(out / f"went-on-{world.size}", updater, critic)


def learn(updater: Updater, critic: Updater) -> None:
    """One step of both."""
    rows = updater.world.share(make_rows())
    updater.step(rows, objective_of(updater))
    critic.step(rows, lambda batch: ((values(critic.model, batch) - 1.0).square().sum(), {}))


def tell_state(path: Path, updater: Updater, critic: Updater) -> None:
    """Weights and optimisers, whole, as rank 0 sees them."""
    state: dict[str, Tensor] = {}
    for owner, one in (("policy", updater), ("critic", critic)):
        for name, tensor in whole_state(one.model).items():
            state[f"{owner} {name}"] = tensor.clone()
        for name, parameter in one.parameters.items():
            for kind, tensor in one.optimizer.state[parameter].items():
                state[f"{owner} {name} {kind}"] = whole(tensor).clone()
    if updater.world.leads:
        torch.save(state, path)


def tell_records(world: World, out: Path) -> None:
    """What is recorded of each episode, and what the sampler's copy has after an update."""
    sharded = world.size > 1
    model, reference, critic = make_policy(), make_policy(seed=3), new_critic(make_policy())
    with torch.no_grad():
        critic.get_parameter("score.weight").fill_(0.1)
    engine = HFModel(model, lanes=2, own_weights=True)
    if sharded:
        for one in (model, reference, critic):
            shard(one, world)
    needs = frozenset({"trainer_logprobs", "reference", "values", "entropies"})
    recorder = Recorder(needs, model, reference, critic, token_budget=1)
    mine = world.share(make_episodes())
    told = recorder.record([Group((episode,)) for episode in mine])
    updater = Updater(model, OptimizerConfig(learning_rate=0.1), world)
    updater.step(world.share(make_rows()), objective_of(updater))
    engine.refresh(1)
    shares = world.gather([group.trajectories[0] for group in told])
    everyone = [shares[i % world.size][i // world.size] for i in range(EPISODES)]
    copied = dict(engine._model.named_parameters())
    weights = whole_state(model)
    assert all(torch.equal(copied[name], weights[name]) for name in copied)
    torch.save(everyone, out / f"told-{world.size}-{world.rank}.pt")


def together(world: World, out: Path) -> None:
    """Everything that test_shards looks at, in one start of processes."""
    tell_records(world, out)
    train_and_save(world, out, sharded=True)
    world.wait()
    resume(world, out, source=1, sharded=True)
    diverge(world, out)


def diverge(world: World, out: Path) -> None:
    """A gradient that is not finite on one rank; all must refuse it and keep their weights."""
    updater = updater_of(world, sharded=True, skips=0)
    before = whole_state(updater.model)
    scale = float("nan") if world.rank == world.size - 1 else 1.0

    def objective(batch: Any) -> Any:
        loss, statistics = objective_of(updater)(batch)
        return scale * loss, statistics

    try:
        updater.step(world.share(make_rows()), objective)
    except ArithmeticError as error:
        (out / f"refused-{world.size}-{world.rank}.txt").write_text(str(error))
    after = whole_state(updater.model)
    assert all(torch.equal(before[name], after[name]) for name in before)
