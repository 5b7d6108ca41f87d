"""One attention function for every way that longstep runs a transformers model.

All tokens of a call lie in one row, [1, N], without padding. What they may attend to is decided
by the `packing` object that the caller passes through the model: `Documents` in training,
`LaneCache` in sampling. It serves every Hugging Face model with plain causal attention.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from operator import add
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

ATTENTION = "longstep_packed"
_UNSUPPORTED = ("sliding_window", "softcap", "s_aux")


class Packing(Protocol):
    """How the tokens of one packed row attend to each other."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Attention of `query` [H, N, D] over `key`, `value` [K, N, D]: a tensor [H, N, D]."""
        ...


class Documents:
    """Independent documents one after the other, each causal within itself."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = list(lengths)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Causal attention within each document; `layer` does not matter."""
        shared = len(query) != len(key)
        outputs = [
            scaled_dot_product_attention(
                q[None], k[None], v[None], is_causal=True, scale=scale, enable_gqa=shared
            )[0]
            for q, k, v in zip(
                query.split(self.lengths, 1),
                key.split(self.lengths, 1),
                value.split(self.lengths, 1),
                strict=True,
            )
        ]
        return torch.cat(outputs, 1)


class LaneCache:
    """Keys and values of `lanes` growing sequences, of which each call extends some.

    Call `extend` with the lanes and the number of new tokens each gets, then run the model on
    those tokens. Memory: 2 * layers * lanes * heads * capacity * head_dim numbers; capacity
    doubles, up to `limit`, when a sequence outgrows it.
    """

    def __init__(
        self,
        layers: int,
        lanes: int,
        heads: int,
        head_dim: int,
        capacity: int,
        limit: int | None = None,
    ) -> None:
        shape = (lanes, capacity, heads, head_dim)
        self._limit = limit
        self._keys = [torch.zeros(shape) for _ in range(layers)]
        self._values = [torch.zeros(shape) for _ in range(layers)]

    def to(self, device: torch.device, dtype: torch.dtype) -> LaneCache:
        """The same cache on another device or in another precision."""
        self._keys = [cache.to(device, dtype) for cache in self._keys]
        self._values = [cache.to(device, dtype) for cache in self._values]
        return self

    def extend(self, lanes: Sequence[int], starts: Sequence[int], counts: Sequence[int]) -> Tensor:
        """Prepare a call in which lane i gets `counts[i]` tokens after its first `starts[i]`.

        Returns the position of every new token, [N].
        """
        ends = [start + count for start, count in zip(starts, counts, strict=True)]
        self._grow(max(ends))
        begin = [lane * self._keys[0].shape[1] for lane in lanes]
        self._place = self._indices(map(range, map(add, begin, starts), map(add, begin, ends)))
        used = max(lanes) + 1
        # Mostly busy lanes are read in place; a few among many idle ones are copied together.
        in_place = 2 * len(lanes) > used
        self._rows: slice | Tensor = slice(used) if in_place else self._indices([lanes])
        self._lay_out(lanes if in_place else range(len(lanes)), starts, counts)
        self._mask = self._visible(max(ends))
        return self._indices(map(range, starts, ends))

    def _lay_out(self, rows: Sequence[int], starts: Sequence[int], counts: Sequence[int]) -> None:
        """Where the new tokens stand in a table of rows, of which some may be nobody's."""
        self._first = [0] * (max(rows) + 1)
        for row, start in zip(rows, starts, strict=True):
            self._first[row] = start
        self._shape = (len(self._first), max(counts))
        in_order = list(rows) == list(range(len(self._first)))
        self._padded = not in_order or min(counts) < max(counts)
        if self._padded:
            self._row = self._indices(map(repeat, rows, counts))
            self._offset = self._indices(map(range, counts))

    def _visible(self, span: int) -> Tensor:
        """What is added to the scores of the first `span` positions, [rows, 1, new tokens, span].

        Additive, because the CPU kernel converts a boolean mask anew in every layer.
        """
        self._span = span
        limit = torch.tensor(self._first)[:, None] + torch.arange(self._shape[1])
        visible = torch.arange(span) <= limit[..., None]
        cache = self._keys[0]
        return torch.where(visible, 0.0, -torch.inf).to(cache.device, cache.dtype)[:, None]

    def _indices(self, parts: Iterable[Iterable[int]]) -> Tensor:
        """All parts, one after the other. Lists, for most are too short to be worth tensors."""
        return torch.tensor(list(chain.from_iterable(parts))).to(self._keys[0].device)

    def copy(self, source: int, target: int, start: int, stop: int) -> None:
        """Let lane `target` hold what `source` holds at the positions from `start` to `stop`."""
        for cache in (*self._keys, *self._values):
            cache[target, start:stop] = cache[source, start:stop]

    @property
    def token_bytes(self) -> int:
        """The bytes of one token's keys and values."""
        return sum(cache[0, 0].nbytes for cache in (*self._keys, *self._values))

    def read(self, lane: int, count: int) -> Tensor:
        """Keys and values of a lane's first tokens: [2 * layers, count, heads, head_dim]."""
        return torch.stack([cache[lane, :count] for cache in (*self._keys, *self._values)]).cpu()

    def write(self, lane: int, held: Tensor) -> None:
        """Let a lane begin with what `read` gave."""
        self._grow(held.shape[1])
        for cache, part in zip((*self._keys, *self._values), held, strict=True):
            cache[lane, : held.shape[1]] = part.to(cache.device)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Store the new keys and values, then attend to each lane's own past."""
        keys, values = self._keys[layer], self._values[layer]
        keys.flatten(0, 1).index_copy_(0, self._place, key.transpose(0, 1))
        values.flatten(0, 1).index_copy_(0, self._place, value.transpose(0, 1))
        heads, _, dim = query.shape
        output = scaled_dot_product_attention(
            self._grouped(self._by_lane(query), keys.shape[2]),
            keys[self._rows, : self._span].transpose(1, 2),
            values[self._rows, : self._span].transpose(1, 2),
            attn_mask=self._mask,
            scale=scale,
        )
        output = output.reshape(-1, heads, self._shape[1], dim).transpose(1, 2)
        if self._padded:
            return output[self._row, self._offset].transpose(0, 1)
        return output.reshape(-1, heads, dim).transpose(0, 1)

    def _by_lane(self, query: Tensor) -> Tensor:
        """Queries [H, N, D] as [lanes, H, most new tokens of a lane, D]."""
        heads, _, dim = query.shape
        if not self._padded:
            return query.transpose(0, 1).reshape(*self._shape, heads, dim).transpose(1, 2)
        padded = query.new_zeros(*self._shape, heads, dim)
        padded[self._row, self._offset] = query.transpose(0, 1)
        return padded.transpose(1, 2)

    def _grouped(self, query: Tensor, groups: int) -> Tensor:
        """Query heads that share keys, one after the other as queries of one head.

        So the kernel reads the keys and values of a lane once, and not once for each of them.
        """
        lanes, heads, count, dim = query.shape
        if heads == groups:
            return query
        rows = heads // groups * count
        if self._mask.shape[2] != rows:  # the first layer of a pass; the others find it done
            self._mask = self._mask.repeat(1, 1, heads // groups, 1)
        return query.reshape(lanes, groups, rows, dim)

    def _grow(self, needed: int) -> None:
        capacity = self._keys[0].shape[1]
        if needed <= capacity:
            return
        doubled = 2 * capacity if self._limit is None else min(2 * capacity, self._limit)
        extra = max(needed, doubled) - capacity
        for caches in (self._keys, self._values):
            for layer, cache in enumerate(caches):
                caches[layer] = torch.nn.functional.pad(cache, (0, 0, 0, 0, 0, extra))


def packed_attention(  # noqa: PLR0913 - the signature is that of transformers
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Packing,
    scaling: float,
    **options: Any,
) -> tuple[Tensor, None]:
    """The function registered with transformers; tensors are [1, heads, N, head_dim].

    Raises:
        NotImplementedError: the model's attention has a window, a soft cap or sinks.
    """
    asked = [name for name in _UNSUPPORTED if options.get(name) is not None]
    if asked:
        raise NotImplementedError(
            f"{type(module).__name__} wants {', '.join(asked)}, which longstep's attention does "
            "not have; use a model with plain causal attention"
        )
    output = packing.attend(int(module.layer_idx), query[0], key[0], value[0], scaling)  # type: ignore[arg-type]
    return output.transpose(0, 1)[None], None


AttentionInterface.register(ATTENTION, packed_attention)
