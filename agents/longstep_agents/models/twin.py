"""A copy of the policy that is made for sampling, and follows it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from longstep_agents.shares import whole


class Twin:
    """Holds the policy's weights in another precision, whole, and its adapters merged.

    The policy may be sharded after this is made. Then all processes have to refresh together: its
    weights are gathered one at a time.

    The policy itself is never touched: merging an adapter and taking it out again would not give
    the same weights.
    """

    def __init__(self, policy: PreTrainedModel, dtype: torch.dtype) -> None:
        """Copy `policy`, which may be wrapped by peft, or have its layers in it."""
        self._policy = policy
        copied: Any = copy.deepcopy(policy)
        copied.__dict__.pop("forward", None)  # one that was put there is bound to the policy itself
        self.model: PreTrainedModel = (
            copied.merge_and_unload() if _adapted(copied) else _without_adapters(copied)
        )
        self.model.eval().requires_grad_(False)
        for parameter in self.model.parameters():  # buffers, such as of positions, stay precise
            parameter.data = parameter.data.to(dtype)

    @property
    def size(self) -> int:
        """Bytes of the weights."""
        return sum(weight.nbytes for weight in self.model.parameters())

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the policy's weights as they are now; nobody may change them meanwhile."""
        source: Any = self._policy
        base: nn.Module = source.get_base_model() if _adapted(source) else source
        for name, weight in self.model.named_parameters():
            path, _, kind = name.rpartition(".")
            weight.copy_(whole(getattr(_merged(base.get_submodule(path)), kind)))


def _adapted(model: Any) -> bool:
    return hasattr(model, "merge_and_unload")


def _without_adapters(model: Any) -> Any:
    """The model with plain layers in place of those with adapters."""
    for path, module in list(model.named_modules()):
        if hasattr(module, "get_base_layer"):
            model.set_submodule(path, _merged(module))
    return model


def _merged(module: Any) -> nn.Module:
    """The layer that a layer with adapters amounts to."""
    if not hasattr(module, "get_base_layer"):
        return module  # type: ignore[no-any-return]
    if not (module.merged or module.disable_adapters):
        module = copy.deepcopy(module)
        module.merge()
    return module.get_base_layer()  # type: ignore[no-any-return]
