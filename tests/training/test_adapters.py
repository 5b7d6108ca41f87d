"""Adapters: what is trained beside weights that stay, sampled merged, and saved both ways."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Qwen3ForCausalLM

from longstep_agents.attention import Documents
from longstep_agents.models.twin import Twin
from longstep_envs.types import BadValueError, DataError
from longstep_training.adapters import LoRAConfig, add_adapters
from longstep_training.checkpoint import load_policy, restore
from longstep_training.critic import new_critic
from longstep_training.distributed import World, launch
from longstep_training.shards import own_state, whole_state
from longstep_training.updater import OptimizerConfig, Updater

peft = pytest.importorskip("peft")
sys.path.insert(0, str(Path(__file__).parent))  # spawned processes import the work by name
ranks = import_module("adapter_ranks")

ModelFactory = Callable[..., Qwen3ForCausalLM]
LORA = ranks.LORA


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process has left, and two that share the weights."""
    out = tmp_path_factory.mktemp("adapters")
    launch(1, ranks.adapt, out, False)
    launch(2, ranks.adapt, out, True)
    return out


def adapted(model: Qwen3ForCausalLM) -> Qwen3ForCausalLM:
    ranks.fill(add_adapters(model, LORA, seed=1))
    return model


def logits_of(model: Any) -> torch.Tensor:
    ids = torch.arange(5, 17)[None]
    with torch.no_grad():
        logits: torch.Tensor = model(ids, packing=Documents([12]), use_cache=False).logits
    return logits


def test_new_adapters_change_nothing_and_are_all_that_is_trained(make_model: ModelFactory) -> None:
    model = make_model()
    before, names = logits_of(model), set(dict(model.named_parameters()))
    add_adapters(model, LORA, seed=1)
    assert torch.equal(logits_of(model), before)
    updater = Updater(model, OptimizerConfig(), World())
    assert len(updater.parameters) == 2 * 7 * 2  # two matrices of seven layers of two blocks
    assert all(".lora_" in name for name in updater.parameters)
    assert set(whole_state(model)) - {"lm_head.weight"} == names


def test_adapters_of_a_seed_are_the_same(make_model: ModelFactory) -> None:
    torch.manual_seed(99)
    one = own_state(add_adapters(make_model(), LORA, seed=1))
    torch.manual_seed(98)
    same = own_state(add_adapters(make_model(), LORA, seed=1))
    other = own_state(add_adapters(make_model(), LORA, seed=2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_what_samples_is_what_is_trained(make_model: ModelFactory) -> None:
    model = adapted(make_model())
    plain = make_model()
    plain.load_state_dict(whole_state(model))
    twin = Twin(model, torch.float32).model
    assert {type(m).__name__ for m in twin.modules()} == {type(m).__name__ for m in plain.modules()}
    for other in (plain, twin):
        assert torch.allclose(logits_of(model), logits_of(other), atol=1e-4)
        assert not torch.allclose(logits_of(make_model()), logits_of(other), atol=1e-1)


def test_a_critic_begins_as_the_policy_and_learns_by_itself(make_model: ModelFactory) -> None:
    policy = adapted(make_model())
    critic = new_critic(policy)
    trained = {name for name, p in critic.named_parameters() if p.requires_grad}
    assert {name for name in trained if ".lora_" not in name} == {"score.weight", "score.bias"}
    mine, its = own_state(policy), own_state(critic)
    shared = [name for name in its if name in mine]
    assert len(shared) > 40
    assert all(torch.equal(mine[name], its[name]) for name in shared)
    ranks.fill(critic, seed=3)
    assert not torch.equal(
        own_state(policy)["model.layers.0.mlp.up_proj.lora_A.default.weight"],
        own_state(critic)["model.layers.0.mlp.up_proj.lora_A.default.weight"],
    )


def test_two_processes_that_share_the_weights_learn_as_one(found: Path) -> None:
    alone, both = (torch.load(found / f"found-{size}.pt") for size in (1, 2))
    alone.pop("whole lm_head.weight")  # tied to the embeddings, which are told once
    assert alone.keys() == both.keys()
    kinds = {name.partition(" ")[0] for name in alone}
    assert kinds == {"gradient", "sampled", "whole"}
    for name, tensor in alone.items():
        assert torch.allclose(tensor, both[name], rtol=1e-4, atol=2e-5), name


def test_a_checkpoint_is_a_policy_and_adapters_for_peft(found: Path) -> None:
    folder = found / "of-1" / "rl-000002"
    whole, _ = load_policy(folder)
    base = ranks.make_policy()
    theirs = peft.PeftModel.from_pretrained(base, folder / "adapter").merge_and_unload()
    for name, tensor in whole.state_dict().items():
        assert torch.allclose(theirs.state_dict()[name], tensor, atol=1e-6), name
    assert json.loads((folder / "adapter" / "adapter_config.json").read_text())["r"] == 4


@pytest.mark.parametrize("config", [LoRAConfig(rank=8), LoRAConfig(target_modules=("q_proj",))])
def test_other_adapters_are_refused(found: Path, config: LoRAConfig) -> None:
    updater = Updater(add_adapters(ranks.make_policy(), config, 1), OptimizerConfig(), World())
    with pytest.raises((DataError, RuntimeError), match=r"other adapters|rank|size mismatch"):
        restore(found / "of-1" / "rl-000002", updater)


def test_a_checkpoint_of_a_whole_policy_has_no_adapters(
    tmp_path: Path, make_model: ModelFactory
) -> None:
    updater = Updater(adapted(make_model()), OptimizerConfig(), World())
    with pytest.raises(DataError, match=r"no adapters that can be read.*policy\.lora"):
        restore(tmp_path, updater)


@pytest.mark.parametrize(
    ("layer", "kind"), [("lm_head", "is the head"), ("embed_tokens", "of Embedding")]
)
def test_layers_that_cannot_be_merged_are_refused(
    make_model: ModelFactory, layer: str, kind: str
) -> None:
    with pytest.raises(BadValueError, match=kind):
        add_adapters(make_model(), LoRAConfig(target_modules=("q_proj", layer)), 0)


def test_transposed_layers_are_refused() -> None:
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=32, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    )
    with pytest.raises(BadValueError, match="of Conv1D"):
        add_adapters(model, LoRAConfig(), 0)


def test_layers_that_are_not_there_are_refused_by_name(make_model: ModelFactory) -> None:
    with pytest.raises(BadValueError, match=r"policy\.lora\.target_modules.*w_pack"):
        add_adapters(make_model(), LoRAConfig(target_modules=("w_pack",)), 0)
