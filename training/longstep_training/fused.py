"""What stands between a decoder's products, in few passes over memory, with gradients by hand.

Each function goes through its rows in blocks that stay in a processor's cache, keeps no more than
its inputs for the way back, and rounds once, at its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

_BLOCK = 2**16
"""Numbers of a block: 256 KiB, of which a handful fit in the cache of a core."""

_Grads = tuple[Tensor | None, ...]


def add_norm(
    hidden: Tensor, added: Tensor | None, weight: Tensor, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """`hidden + added` [N, H], and its RMS norm in `dtype`."""
    total, normed = _AddNorm.apply(hidden, added, weight, eps, dtype)  # type: ignore[no-untyped-call]
    return total, normed


def turn(heads: Tensor, weight: Tensor | None, eps: float, angles: tuple[Tensor, Tensor]) -> Tensor:
    """`heads` [N, H, D], after an RMS norm where there is a `weight`, in their rotary positions.

    `angles` are the cosines and sines [N, D / 2].
    """
    turned: Tensor = _Turn.apply(heads, weight, eps, *angles)  # type: ignore[no-untyped-call]
    return turned


def gate(gates: Tensor, values: Tensor) -> Tensor:
    """`silu(gates) * values`."""
    gated: Tensor = _Gate.apply(gates, values)  # type: ignore[no-untyped-call]
    return gated


class _AddNorm(torch.autograd.Function):
    """y = w * x * r with r = 1 / sqrt(mean(x²) + eps).

    dx = r * (w * dy - x * r² * mean(w * dy * x)), dw = sum over rows of dy * x * r.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        added: Tensor | None,
        weight: Tensor,
        eps: float,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        total = hidden if added is None else torch.empty_like(hidden)
        normed = torch.empty_like(hidden, dtype=dtype)
        rate = hidden.new_empty(len(hidden), 1)
        for rows in _blocks(hidden):
            if added is not None:
                torch.add(hidden[rows], added[rows], out=total[rows])
            rate[rows] = _rate(total[rows], eps)
            normed[rows] = (total[rows] * rate[rows]).mul_(weight)
        ctx.save_for_backward(total, weight, rate)
        ctx.set_materialize_grads(False)
        ctx.dtype = None if added is None else added.dtype
        return total, normed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> _Grads:
        total, weight, rate = ctx.saved_tensors
        on_total, on_normed = grads
        if on_normed is None:
            return on_total, None if ctx.dtype is None else on_total, None, None, None
        slope, slope_weight = torch.empty_like(total), torch.zeros_like(weight)
        for rows in _blocks(total):
            found, of_weight = _norm_slope(on_normed[rows], total[rows], weight, rate[rows])
            slope_weight += of_weight
            if on_total is not None:
                found += on_total[rows]
            slope[rows] = found
        on_added = None if ctx.dtype is None else slope.to(ctx.dtype)
        return slope, on_added, slope_weight, None, None


class _Turn(torch.autograd.Function):
    """Turning back is turning by the angles' negatives."""

    @staticmethod
    def forward(
        ctx: Any, heads: Tensor, weight: Tensor | None, eps: float, cos: Tensor, sin: Tensor
    ) -> Tensor:
        turned = torch.empty_like(heads)
        for rows in _blocks(heads):
            part = heads[rows].float()
            if weight is not None:
                part = (part * _rate(part, eps)).mul_(weight)
            turned[rows] = _turned(part, cos[rows], sin[rows])
        ctx.save_for_backward(heads, weight, cos, sin)
        ctx.eps = eps
        return turned

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> _Grads:
        heads, weight, cos, sin = ctx.saved_tensors
        slope = torch.empty_like(heads)
        slope_weight: Tensor | None = None
        for rows in _blocks(heads):
            found = _turned(grads[0][rows].float(), cos[rows], -sin[rows])
            if weight is not None:
                part = heads[rows].float()
                found, of_weight = _norm_slope(found, part, weight, _rate(part, ctx.eps))
                slope_weight = of_weight if slope_weight is None else slope_weight + of_weight
            slope[rows] = found
        return slope, slope_weight, None, None, None


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, values: Tensor) -> Tensor:
        gated = torch.empty_like(gates)
        for rows in _blocks(gates):
            torch.mul(silu(gates[rows]), values[rows], out=gated[rows])
        ctx.save_for_backward(gates, values)
        return gated

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> _Grads:
        gates, values = ctx.saved_tensors
        on_gates, on_values = torch.empty_like(gates), torch.empty_like(values)
        for rows in _blocks(gates):
            slope = grads[0][rows]
            torch.mul(slope, silu(gates[rows]), out=on_values[rows])
            on_gates[rows] = torch.ops.aten.silu_backward(slope * values[rows], gates[rows])
        return on_gates, on_values


def _blocks(rows: Tensor) -> Iterator[slice]:
    """Parts of the rows; all at once where there is no cache to keep to."""
    count = len(rows)
    size = max(1, _BLOCK // rows[0].numel()) if count and rows.device.type == "cpu" else count
    return (slice(i, i + size) for i in range(0, count, size or 1))


def _rate(part: Tensor, eps: float) -> Tensor:
    """One over the root of the mean square of each row, and of each head."""
    norm = torch.linalg.vector_norm(part, dim=-1, keepdim=True)
    rate: Tensor = norm.square_().div_(part.shape[-1]).add_(eps).rsqrt_()
    return rate


def _norm_slope(slope: Tensor, part: Tensor, weight: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """What a slope on a norm's output is on its input and on its weight."""
    product = (slope * part).reshape(-1, part.shape[-1])
    flat = rate.reshape(-1)
    of_weight = product.t() @ flat
    shrink = (product @ weight).mul_(flat**3).div_(part.shape[-1]).view(rate.shape)
    found = (slope * weight).mul_(rate)
    return found.addcmul_(part, shrink, value=-1), of_weight


def _turned(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = heads.chunk(2, -1)
    cos, sin = cos[:, None], sin[:, None]
    turned = torch.empty_like(heads, memory_format=torch.contiguous_format)
    half = first.shape[-1]
    torch.mul(first, cos, out=turned[..., :half]).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=turned[..., half:]).addcmul_(first, sin)
    return turned
