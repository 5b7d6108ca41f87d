"""What the processes of test_adapters run; spawned ones import it by its name."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.training.shard_ranks import WORDS, gradient, learn, make_policy, make_rows
from torch import nn

from longstep_agents.models.twin import Twin
from longstep_agents.small_policy import build_tokenizer
from longstep_training.adapters import LoRAConfig, add_adapters
from longstep_training.checkpoint import Parts, Progress, restore, save_checkpoint
from longstep_training.critic import new_critic
from longstep_training.distributed import World
from longstep_training.shards import own_state, shard, whole_state
from longstep_training.updater import OptimizerConfig, Updater

LORA = LoRAConfig(rank=4, alpha=8.0)


def fill(model: nn.Module, seed: int = 0) -> None:
    """Let the adapters say something."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            parameter.data.normal_(std=0.2)


def adapt(world: World, out: Path, sharded: bool) -> None:
    """A gradient, two steps, a checkpoint, what is sampled from, and one step after a resume."""
    model = add_adapters(make_policy(), LORA, seed=1)
    fill(model)
    twin = Twin(model, torch.float32)
    if sharded:
        shard(model, world)
    updater = Updater(model, OptimizerConfig(), world)
    found = {f"gradient of {n}": g for n, g in gradient(updater, world.share(make_rows())).items()}
    updater.optimizer.zero_grad(set_to_none=True)
    values = new_critic(model)
    critic = Updater(shard(values, world) if sharded else values, OptimizerConfig(), world)
    for _ in range(2):
        learn(updater, critic)
    parts = Parts(build_tokenizer(WORDS), updater, critic)
    root = out / f"of-{world.size}"
    folder = save_checkpoint(root, parts, Progress("rl", 2, 1.0, 2), keep=1)
    twin.refresh()
    found |= {f"sampled {n}": t for n, t in twin.model.state_dict().items()}
    found |= {f"whole {n}": t.clone() for n, t in whole_state(model).items()}
    learn(updater, critic)
    after = {n: t.clone() for n, t in own_state(model).items()}
    restore(folder, updater)
    restore(folder / "critic", critic)
    learn(updater, critic)
    for name, tensor in own_state(model).items():
        assert torch.equal(after[name], tensor), name
    if world.leads:
        torch.save(found, out / f"found-{world.size}.pt")
