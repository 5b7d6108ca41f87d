"""The forward pass of the commonest decoders, with nothing around it that sampling does not need.

It calls the model's own layers, so it follows their weights, adapters and precision. In the last
layer, and after it, only what decides the next tokens is computed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from longstep_agents.attention import Packing

_KNOWN = ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")


class LeanDecoder:
    """Computes what a `model` of a known class would, of one packed row."""

    def __init__(self, model: Any) -> None:
        """Work with `model`, which may be wrapped by peft; see `knows`."""
        self._model = _bare(model)

    @staticmethod
    def knows(model: Any) -> bool:
        """Whether the model's forward pass is the one written here."""
        bare = _bare(model)
        return type(bare).__name__ in _KNOWN and all(
            getattr(layer.self_attn, "sliding_window", None) is None for layer in bare.model.layers
        )

    def __call__(self, ids: Tensor, positions: Tensor, kept: Tensor, packing: Packing) -> Tensor:
        """Logits [len(kept), V] after the tokens at the places `kept` of `ids` [N]."""
        decoder = self._model.model
        hidden = decoder.embed_tokens(ids)
        cos, sin = decoder.rotary_emb(hidden[None], positions[None])
        turn = cos[0, :, None], sin[0, :, None]
        *others, last = decoder.layers
        for layer in others:
            mixed = _attend(layer, hidden, turn, packing)
            hidden = _feed(layer, hidden, mixed)
        mixed = _attend(last, hidden, turn, packing)
        hidden = _feed(last, hidden[kept], mixed[kept])
        logits: Tensor = self._model.lm_head(_norm(hidden, decoder.norm))
        return logits


def _attend(layer: Any, hidden: Tensor, turn: tuple[Tensor, Tensor], packing: Packing) -> Tensor:
    """What the attention of a layer gives, before its output projection: [N, H * D]."""
    attention, count = layer.self_attn, len(hidden)
    normed = _norm(hidden, layer.input_layernorm)
    query, key, value = (
        project(normed).view(count, -1, attention.head_dim)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    if hasattr(attention, "q_norm"):
        query, key = _norm(query, attention.q_norm), _norm(key, attention.k_norm)
    query, key, value = (
        part.transpose(0, 1) for part in (_rotate(query, turn), _rotate(key, turn), value)
    )
    output = packing.attend(attention.layer_idx, query, key, value, attention.scaling)
    return output.transpose(0, 1).reshape(count, -1)


def _feed(layer: Any, hidden: Tensor, mixed: Tensor) -> Tensor:
    """The rest of a layer, token by token; in place, for what a projection gives is its own."""
    hidden = layer.self_attn.o_proj(mixed).add_(hidden)
    normed = _norm(hidden, layer.post_attention_layernorm)
    mlp = layer.mlp
    gated = mlp.act_fn(mlp.gate_proj(normed)).mul_(mlp.up_proj(normed))
    output: Tensor = mlp.down_proj(gated).add_(hidden)
    return output


def _norm(hidden: Tensor, module: Any) -> Tensor:
    """The RMS norm, in half the passes of torch's own on a processor."""
    rate = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True, dtype=torch.float32)
    rate.square_().div_(hidden.shape[-1]).add_(module.variance_epsilon).rsqrt_()
    normed: Tensor = (hidden * rate).mul_(module.weight).to(hidden.dtype)
    return normed


def _rotate(heads: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = turn
    first, second = heads.chunk(2, -1)
    turned = heads * cos
    half = first.shape[-1]
    turned[..., :half].addcmul_(second, sin[..., :half], value=-1)
    turned[..., half:].addcmul_(first, sin[..., half:])
    return turned


def _bare(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
