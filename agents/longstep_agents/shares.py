"""Tensors of which each process may hold a share only, as sharded models have them."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def whole(tensor: Any) -> Tensor:
    """All of it. Where it is shared (a DTensor), every process that holds a share must ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # type: ignore[no-any-return]
