"""How training runs a model's transformer blocks: what it holds of them, and whether compiled.

The blocks themselves stay as they are, so that what samples from the model, copies or saves it sees
nothing of this: they run otherwise in `running` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)
from transformers import AttentionInterface, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from longstep_agents.attention import ATTENTION, packed_attention
from longstep_envs.types import BadValueError

ActivationCheckpointing = Literal["none", "selective", "full"]
ModelT = TypeVar("ModelT", bound=PreTrainedModel)
_Forward = Callable[..., Any]

_FORWARDS: WeakKeyDictionary[PreTrainedModel, dict[nn.Module, _Forward]] = WeakKeyDictionary()
_HELD = (
    "aten.mm",
    "aten.addmm",
    "aten.bmm",
    "aten._scaled_dot_product_flash_attention_for_cpu",
    "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_cudnn_attention",
    "torch_attn._varlen_attn",
)
"""What `selective` holds: products of matrices, and attention, by the names of torch's operations,
of which not every build has all."""


def run_blocks(
    model: ModelT, checkpointing: ActivationCheckpointing = "none", *, compiled: bool = False
) -> ModelT:
    """Let training run the model's blocks in this way; returns the model.

    Raises:
        BadValueError: transformers does not tell what the model's blocks are.
    """
    _FORWARDS.pop(model, None)
    if checkpointing == "none" and not compiled:
        return model
    blocks = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not blocks:
        raise BadValueError(
            f"transformers does not tell the blocks of a {model.config.model_type} model: leave "
            "run.activation_checkpointing and run.compile as they are by default"
        )
    if compiled:
        # Attention is left as it is: it depends on the layer's number and on Python's objects.
        AttentionInterface.register(ATTENTION, torch.compiler.disable(packed_attention))
    _FORWARDS[model] = {block: _forward(block, checkpointing, compiled) for block in blocks}
    return model


@contextmanager
def running(model: PreTrainedModel) -> Iterator[None]:
    """The context in which training runs the model forward."""
    forwards = _FORWARDS.get(model, {})
    for block, forward in forwards.items():
        block.forward = forward
    try:
        yield
    finally:
        for block in forwards:
            del block.forward


def _forward(block: Any, checkpointing: ActivationCheckpointing, compiled: bool) -> _Forward:
    forward: _Forward = torch.compile(block.forward, dynamic=True) if compiled else block.forward
    if checkpointing == "none":
        return forward
    options: dict[str, Any] = {"context_fn": _hold_products} if checkpointing == "selective" else {}

    def checkpointed(*args: Any, **given: Any) -> Any:
        return checkpoint(
            partial(forward, **given),
            *args,
            use_reentrant=False,
            preserve_rng_state=block.training,  # else there is no dropout
            **options,
        )

    return checkpointed


def _hold_products() -> Any:
    return create_selective_checkpoint_contexts(_policy)


def _policy(_context: Any, operation: Any, *_args: Any, **_given: Any) -> CheckpointPolicy:
    held = str(operation).rpartition(".")[0] in _HELD
    return CheckpointPolicy.MUST_SAVE if held else CheckpointPolicy.PREFER_RECOMPUTE
