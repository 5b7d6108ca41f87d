"""The decoder of the commonest models, computed for training in fewer passes over memory.

It calls the model's own layers, so it follows their weights, adapters and precision. What comes
after the last layer's attention is computed only for the tokens whose states are wanted.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from longstep_agents.attention import Packing
from longstep_agents.models.lean import LeanDecoder
from longstep_training.fused import add_norm, gate, turn


def make_lean(model: PreTrainedModel) -> bool:
    """Let the model compute its decoder as here from now on; False where it is not known.

    States and gradients are those of transformers, up to rounding.
    """
    if not LeanDecoder.knows(model):
        return False
    whole: Any = model
    decoder = (whole.get_base_model() if hasattr(whole, "get_base_model") else whole).model
    decoder.forward = partial(_decode, decoder)
    return True


def _decode(
    decoder: Any,
    input_ids: Tensor,
    position_ids: Tensor,
    packing: Packing,
    wanted: Tensor | None = None,
    **_options: Any,
) -> BaseModelOutputWithPast:
    """States [1, N, H]; where only some are `wanted` (their places), the others are 0."""
    hidden = decoder.embed_tokens(input_ids[0])
    dtype = _computing(hidden)
    half = decoder.layers[0].self_attn.head_dim // 2
    cos, sin = decoder.rotary_emb(hidden[None], position_ids)
    angles = cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous()
    added: Tensor | None = None
    last = decoder.layers[-1]
    for layer in decoder.layers:
        norm = layer.input_layernorm
        hidden, normed = add_norm(hidden, added, norm.weight, norm.variance_epsilon, dtype)
        mixed = _attend(layer, normed, angles, packing)
        if layer is last and wanted is not None:
            hidden, mixed = hidden.index_select(0, wanted), mixed.index_select(0, wanted)
        hidden, added = _feed(layer, hidden, mixed, dtype)
    norm = decoder.norm
    states = add_norm(hidden, added, norm.weight, norm.variance_epsilon, hidden.dtype)[1]
    if wanted is not None:
        states = states.new_zeros(input_ids.shape[1], states.shape[1]).index_copy(0, wanted, states)
    return BaseModelOutputWithPast(last_hidden_state=states[None])  # type: ignore[arg-type]


def _attend(layer: Any, normed: Tensor, angles: tuple[Tensor, Tensor], packing: Packing) -> Tensor:
    """What the attention of a layer gives, before its output projection: [N, H * D]."""
    attention, count = layer.self_attn, len(normed)
    query, key, value = (
        project(normed).view(count, -1, attention.head_dim)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    query = _turn(query, getattr(attention, "q_norm", None), angles)
    key = _turn(key, getattr(attention, "k_norm", None), angles)
    output = packing.attend(
        attention.layer_idx,
        query.transpose(0, 1),
        key.transpose(0, 1),
        value.transpose(0, 1),
        attention.scaling,
    )
    return output.transpose(0, 1).reshape(count, -1)


def _turn(heads: Tensor, norm: Any, angles: tuple[Tensor, Tensor]) -> Tensor:
    if norm is None:
        return turn(heads, None, 0.0, angles)
    return turn(heads, norm.weight, norm.variance_epsilon, angles)


def _feed(layer: Any, hidden: Tensor, mixed: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The rest of a layer, token by token: what its two summands are."""
    norm, mlp = layer.post_attention_layernorm, layer.mlp
    added = layer.self_attn.o_proj(mixed)
    hidden, normed = add_norm(hidden, added, norm.weight, norm.variance_epsilon, dtype)
    return hidden, mlp.down_proj(gate(mlp.gate_proj(normed), mlp.up_proj(normed)))


def _computing(hidden: Tensor) -> torch.dtype:
    """What products are computed in."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
