import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeForCausalLM,
)

from longstep_agents.attention import ATTENTION
from longstep_agents.types import Completion, Step, Trajectory
from longstep_training.batch import Batch, Row, build_row, pack_rows
from longstep_training.lean import make_lean
from longstep_training.policy import compute_in
from longstep_training.recipe import RunConfig
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.scores import score

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}
FAMILIES: dict[str, Callable[[], Any]] = {
    "llama": partial(LlamaForCausalLM, LlamaConfig(**SIZES)),
    "llama with biases": partial(
        LlamaForCausalLM, LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True)
    ),
    "qwen2": partial(Qwen2ForCausalLM, Qwen2Config(**SIZES)),
    "qwen3": partial(Qwen3ForCausalLM, Qwen3Config(**SIZES, head_dim=16)),
    "qwen3 tied": partial(
        Qwen3ForCausalLM, Qwen3Config(**SIZES, head_dim=16, tie_word_embeddings=True)
    ),
}


def make(family: str = "qwen3") -> Any:
    torch.manual_seed(0)
    model = FAMILIES[family]()
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name:  # which start as nothing to be seen
            parameter.data += 0.3 * torch.randn_like(parameter)
    model.set_attn_implementation(ATTENTION)
    return model


def make_rows() -> list[Row]:
    """Siblings that begin alike, of turns that are not equally long."""
    drawn = torch.Generator().manual_seed(0)

    def words(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(60, (count,), generator=drawn).tolist())

    prompt = words(20)
    return [
        build_row(
            Trajectory(
                tuple(
                    Step(
                        bridge_ids=prompt if turn == 0 else words(3 + turn),
                        completion=Completion(ids=words(4), logprobs=(-4.0,) * 4),
                    )
                    for turn in range(turns)
                )
            ),
            [1.0 - turns + turn for turn in range(turns)],
        )
        for turns in (3, 1, 4)
    ]


def gradients(model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
    model.zero_grad()
    policy_loss(model, batch, ReinforcementConfig())[0].backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_alike(mine: dict[str, Tensor], its: dict[str, Tensor], tolerance: float) -> None:
    assert mine.keys() == its.keys()
    mean = torch.stack([gradient.norm() for gradient in its.values()]).mean()
    for name, gradient in its.items():
        difference = (mine[name] - gradient).norm()
        # The bias of keys moves all scores alike, but for their positions: little remains of much.
        assert difference <= tolerance * gradient.norm().clamp(min=0.1 * mean), name


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_and_gradients_are_those_of_transformers(family: str, share: bool) -> None:
    model, batch = make(family), pack_rows(make_rows(), share=share)
    wanted, told = gradients(model, batch), score(model, batch)
    assert make_lean(model)
    assert_alike(gradients(model, batch), wanted, 1e-5)
    mine = score(model, batch)
    torch.testing.assert_close(mine.logprobs_T, told.logprobs_T, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mine.entropy_T, told.entropy_T, rtol=1e-5, atol=1e-5)


def test_every_state_is_computed_where_all_are_wanted() -> None:
    model, batch = make(), pack_rows(make_rows())

    def context_gradients() -> dict[str, Tensor]:
        model.zero_grad()
        score(model, batch, context=True).context_loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}

    wanted = context_gradients()
    assert make_lean(model)
    assert_alike(context_gradients(), wanted, 1e-5)


def test_in_bfloat16_it_rounds_no_more_than_transformers() -> None:
    batch = pack_rows(make_rows(), share=True)
    exact = gradients(make(), batch)
    theirs = gradients(compute_in("bfloat16", make()), batch)
    model = compute_in("bfloat16", make())
    assert make_lean(model)
    ours = gradients(model, batch)
    assert all(gradient.dtype == torch.float32 for gradient in ours.values())

    def distance(found: dict[str, Tensor]) -> float:
        return float(torch.stack([(found[name] - exact[name]).norm() for name in exact]).norm())

    assert 0 < distance(ours) < 1.5 * distance(theirs)


def test_adapters_are_trained_as_transformers_trains_them() -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    model, batch = peft.get_peft_model(make(), config), pack_rows(make_rows(), share=True)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(std=0.1)
    wanted = gradients(model, batch)
    assert all("lora_" in name for name in wanted)
    assert make_lean(model)
    assert_alike(gradients(model, batch), wanted, 1e-5)


def test_a_copy_of_a_lean_model_computes_with_its_own_weights() -> None:
    model, batch = make(), pack_rows(make_rows())
    assert make_lean(model)
    copied = copy.deepcopy(model)
    before = score(copied, batch).logprobs_T
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    assert torch.equal(score(copied, batch).logprobs_T, before)
    assert not torch.equal(score(model, batch).logprobs_T, before)


def test_a_model_that_is_not_known_is_left_as_it_is() -> None:
    assert not make_lean(Qwen3MoeForCausalLM.__new__(Qwen3MoeForCausalLM))


@pytest.mark.parametrize("beside", [{"shard": True}, {"compile": True}])
def test_it_goes_beside_nothing_that_takes_hold_of_blocks(beside: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="lean = false"):
        RunConfig(lean=True, **beside)
    assert RunConfig(lean=True).lean
