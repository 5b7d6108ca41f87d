"""What an embedded engine computes in."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from longstep_agents.models.engine import EngineConfig

_BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16")
"""What processors call it."""


def chosen_dtype(model: PreTrainedModel, config: EngineConfig) -> torch.dtype:
    """The precision that `config.dtype` means for this model, on its device."""
    wanted = config.dtype == "bfloat16" or (config.dtype == "auto" and _has_bfloat16(model.device))
    policy: torch.dtype = model.dtype
    return torch.bfloat16 if wanted else policy


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return device.type == "cpu" and any(able.get(name) for name in _BFLOAT16)
