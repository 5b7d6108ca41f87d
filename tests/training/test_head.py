"""Logits in parts: the same scores and gradients, whatever the family, in less memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
)

from longstep_agents.attention import ATTENTION
from longstep_training.batch import Batch, Row, pack_rows
from longstep_training.head import has_head
from longstep_training.policy import compute_in
from longstep_training.scores import MOST_LOGITS, Scores, score

ModelFactory = Callable[..., Qwen3ForCausalLM]
RowSampler = Callable[..., list[Row]]

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}
FAMILIES: dict[str, PreTrainedConfig] = {
    "qwen3": Qwen3Config(**SIZES, tie_word_embeddings=True),
    "qwen2": Qwen2Config(**SIZES),
    "llama": LlamaConfig(**SIZES, tie_word_embeddings=False),
    "gemma": GemmaConfig(**SIZES),
    "soft cap": Gemma2Config(
        **SIZES,
        final_logit_softcapping=0.5,
        attn_logit_softcapping=None,
        layer_types=["full_attention"] * 2,
    ),
    "scaled": CohereConfig(**SIZES, logit_scale=3.0),
    "experts": Qwen3MoeConfig(
        **SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16
    ),
    "gpt2": GPT2Config(
        vocab_size=50, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=1
    ),
}


def of_family(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(
        FAMILIES[name], attn_implementation=ATTENTION
    )
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(10)
    model.eval()
    return model


def collisions(distribution: Tensor) -> Tensor:
    return (2.0 * distribution).exp().sum(-1)


def summed(scores: Scores) -> Tensor:
    """Something that every score has its part in."""
    weights = torch.linspace(-1, 1, len(scores.logprobs_T))
    parts = (scores.logprobs_T, scores.entropy_T, 3.0 * scores.measured_T)
    return torch.stack([(weights * part).sum() for part in parts]).sum() + scores.context_loss


def gradient(model: PreTrainedModel, scores: Scores) -> Tensor:
    model.zero_grad()
    summed(scores).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def compare(
    model: PreTrainedModel, batch: Batch, rows: int, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> float:
    """See that logits of so many rows at a time say what all at once say.

    Returns how far the gradients are apart.
    """
    whole = score(model, batch, **options)
    expected = gradient(model, whole)
    monkeypatch.setitem(MOST_LOGITS, "cpu", rows * model.config.vocab_size)
    parted = score(model, batch, **options)
    for name in ("logprobs_T", "entropy_T", "measured_T", "context_loss"):
        ours, theirs = (getattr(scores, name).detach() for scores in (parted, whole))
        assert torch.allclose(ours, theirs, atol=1e-6, rtol=1e-6), name
    assert parted.context_tokens == whole.context_tokens
    return float((gradient(model, parted) - expected).norm() / expected.norm())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_its_own_head(
    family: str, sample_rows: RowSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = of_family(family)
    assert has_head(model)
    assert compare(model, pack_rows(sample_rows(model)), 7, monkeypatch) < 1e-6


@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.6},
        {"context": True},
        {"measure": collisions},
        {"context": True, "temperature": 1.5, "measure": collisions},
    ],
)
def test_parts_say_what_the_whole_says(
    make_model: ModelFactory,
    sample_rows: RowSampler,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    options: dict[str, Any],
) -> None:
    model = make_model()
    batch = pack_rows(sample_rows(model))
    assert 0 < int(batch.free_T.sum()) < len(batch.free_T)
    assert compare(model, batch, rows, monkeypatch, **options) < 1e-6


def test_rows_that_share_beginnings_come_in_parts_too(
    make_model: ModelFactory, sample_rows: RowSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    rows = [row for row in sample_rows(model) for _ in range(2)]
    assert compare(model, pack_rows(rows, share=True), 5, monkeypatch) < 1e-6


def test_parts_are_computed_in_bfloat16_where_training_is(
    make_model: ModelFactory, sample_rows: RowSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    batch = pack_rows(sample_rows(model))
    apart = compare(compute_in("bfloat16", model), batch, 7, monkeypatch)
    assert apart < 2e-3  # the head's gradient is rounded once in each part


class _Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that is computed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        found = output if isinstance(output, tuple | list) else (output,)
        sizes = [one.numel() for one in found if isinstance(one, Tensor)]
        self.numbers = max(self.numbers, *sizes, 0)
        return output


def test_never_more_logits_are_held_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Qwen3Config(**{**SIZES, "vocab_size": 5_000, "hidden_size": 8})
    model = AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION)
    ids = torch.randint(0, 5_000, (400,)).tolist()
    positions = list(range(1, 400))
    n = len(positions)
    row = Row(ids, [400], positions, [0.0] * n, [None] * n, [1.0] * n, [0] * n, [1.0] * n, 1.0)
    sizes = []
    for most in (MOST_LOGITS["cpu"], 50 * 5_000):
        monkeypatch.setitem(MOST_LOGITS, "cpu", most)
        with _Largest() as largest:
            score(model, pack_rows([row]), context=True).logprobs_T.sum().backward()
        sizes.append(largest.numbers)
    assert sizes == [400 * 5_000, 50 * 5_000]
