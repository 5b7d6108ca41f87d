"""Texts that begin alike, laid out as trees, so that what they share is computed once.

A tree lies in the packed row in pre-order: a node's tokens, then everything that continues it. So
what a token may see is told by two numbers of each node: the tokens from `start` to `end` see
themselves causally, and those from `end` to `stop`, which continue it, see all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longstep_agents.attention import Documents

LEAST_SHARED = 16
"""Shorter common beginnings are computed again: a node costs a call of the attention kernel."""

_attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_attend_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class Node(NamedTuple):
    """Tokens that the same texts have; places in the packed row."""

    start: int
    end: int
    stop: int


@dataclass(frozen=True, slots=True)
class Packed:
    """Texts as one row of tokens."""

    packing: Documents | Forest
    ids: list[int]
    positions: list[int]
    """Of each token within its text."""
    places: list[NDArray[np.int64]]
    """Where each token of each text lies."""


class Forest:
    """Attention along the branches; a `Packing`."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = list(nodes)
        self._made_mask: Any = None

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Each token sees its own past and no other branch; `layer` does not matter."""
        # Under autocast, norms of queries and keys give them more precision than the values have.
        query, key = query.to(value.dtype), key.to(value.dtype)
        if query.is_cuda:
            return self._attend_by_mask(query, key, value, scale)
        output: Tensor = _cascade(query, key, value, self.nodes, scale)
        return output

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether the token at place `query` sees the one at `key`."""
        return (key <= query) & (query < self._stops_N[key])

    @cached_property
    def _stops_N(self) -> Tensor:
        stops = torch.zeros(max(node.stop for node in self.nodes), dtype=torch.long)
        for node in self.nodes:
            stops[node.start : node.end] = node.stop
        return stops

    def _attend_by_mask(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        output: Tensor = _flex()(
            query[None],
            key[None],
            value[None],
            block_mask=self.mask_on(query.device),
            scale=scale,
            enable_gqa=len(query) != len(key),
        )[0]
        return output

    def mask_on(self, device: torch.device) -> Any:
        """The mask that flex attention takes. Made in the first layer, and used in all."""
        if self._made_mask is None:
            from torch.nn.attention.flex_attention import create_block_mask

            stops_N = self._stops_N.to(device)

            # The compiler knows this form: a function of places, and a tensor that it closes over.
            def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
                return (key <= query) & (query < stops_N[key])

            count = len(stops_N)
            self._made_mask = create_block_mask(sees, None, None, count, count, device=str(device))
        return self._made_mask


@cache
def _flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


class _Cascade(torch.autograd.Function):
    """For each node one call for itself, and one for all that continues it.

    What a token finds in the nodes above it is merged by the log-sum-exp of its scores. Given the
    merged output and log-sum-exp, the kernel's backward pass is right for each part by itself.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, nodes: list[Node], scale: float
    ) -> Tensor:
        merged = _like(query)
        sums = torch.empty(query.shape[:2], dtype=torch.float32)
        for start, end, _ in nodes:
            own = slice(start, end)
            found, logs = _attend(*_cut(query, key, value, own, own), 0.0, True, scale=scale)
            merged[:, own], sums[:, own] = found[0], logs[0]
        for start, end, stop in nodes:
            if stop > end:
                own, later = slice(start, end), slice(end, stop)
                found, logs = _attend(*_cut(query, key, value, later, own), 0.0, False, scale=scale)
                total = torch.logaddexp(sums[:, later], logs[0])
                merged[:, later] *= (sums[:, later] - total).exp()[..., None]
                merged[:, later] += found[0] * (logs[0] - total).exp()[..., None]
                sums[:, later] = total
        output = merged.to(query.dtype)
        ctx.save_for_backward(query, key, value, output, sums)
        ctx.nodes, ctx.scale, ctx.dtype = nodes, scale, query.dtype
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        # In float32, for the kernel's way back is slower in bfloat16.
        *saved, sums = ctx.saved_tensors  # asked for once, as checkpointing wants it
        slope, query, key, value, output = (t.float() for t in (*grads, *saved))
        slopes = [_like(tensor) for tensor in (query, key, value)]

        def find(later: slice, own: slice, causal: bool) -> Iterator[tuple[Tensor, Tensor]]:
            found = _attend_backward(
                slope[None, :, later],
                *_cut(query, key, value, later, own),
                output[None, :, later],
                sums[None, :, later],
                0.0,
                causal,
                scale=ctx.scale,
            )
            places = (later, own, own)
            return ((s[:, at], f[0]) for s, f, at in zip(slopes, found, places, strict=True))

        for start, end, _ in ctx.nodes:
            for part, found in find(slice(start, end), slice(start, end), True):
                part.copy_(found)
        for start, end, stop in ctx.nodes:
            if stop > end:
                for part, found in find(slice(end, stop), slice(start, end), False):
                    part.add_(found)
        return (*(part.to(ctx.dtype) for part in slopes), None, None)


_cascade: Any = _Cascade.apply  # which torch does not type


def _like(heads: Tensor) -> Tensor:
    """Room for as many heads [H, N, D], which lie token by token, as projections want them."""
    count, tokens, dim = heads.shape
    return torch.empty(tokens, count, dim).transpose(0, 1)


def _cut(
    query: Tensor, key: Tensor, value: Tensor, later: slice, own: slice
) -> tuple[Tensor, Tensor, Tensor]:
    return query[None, :, later], key[None, :, own], value[None, :, own]


def plant(texts: Sequence[list[int]], least: int = LEAST_SHARED) -> Packed:
    """Lay texts out so that common beginnings of at least `least` tokens are there once."""
    order = sorted(range(len(texts)), key=texts.__getitem__)
    places: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(texts)
    ids: list[int] = []
    positions: list[int] = []
    nodes: list[Node] = []
    open_nodes: list[_Open] = []
    last = -1
    for i in order:
        text = texts[i]
        shared = common_beginning(texts[last], text) if last >= 0 else 0
        shared = _prune(open_nodes, nodes, shared, least, len(ids))
        if shared < len(text):
            open_nodes.append(_Open(len(ids), shared, len(text)))
        own = np.arange(len(ids), len(ids) + len(text) - shared)
        places[i] = np.concatenate([places[last][:shared], own]) if shared else own
        ids.extend(text[shared:])
        positions.extend(range(shared, len(text)))
        last = i
    _prune(open_nodes, nodes, 0, 1, len(ids))
    return Packed(Forest(nodes), ids, positions, places)


@dataclass(slots=True)
class _Open:
    """A node that may still be continued."""

    start: int
    begin: int
    """The depth of its first token."""
    end: int
    """The depth after its last token."""

    def closed(self, stop: int) -> Node:
        return Node(self.start, self.start + self.end - self.begin, stop)


def _prune(open_nodes: list[_Open], nodes: list[Node], shared: int, least: int, stop: int) -> int:
    """Close what the next text does not continue; returns how many tokens it does share."""
    while open_nodes and open_nodes[-1].begin >= shared:
        nodes.append(open_nodes.pop().closed(stop))
    if not open_nodes:
        return 0
    node = open_nodes[-1]
    if shared - node.begin < least:
        nodes.append(open_nodes.pop().closed(stop))
        return node.begin
    if shared < node.end:
        split = node.start + shared - node.begin
        nodes.append(_Open(split, shared, node.end).closed(stop))
        node.end = shared
    return shared


def common_beginning(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens two texts share."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    differ = np.asarray(one[:length]) != np.asarray(other[:length])
    return int(differ.argmax())
