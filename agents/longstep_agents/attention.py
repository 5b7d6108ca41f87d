"""One attention function for every way that longstep runs a transformers model.

All tokens of a call lie in one row, [1, N], without padding. What they may attend to is decided
by the `packing` object that the caller passes through the model: `Documents` in training,
`LaneCache` in sampling. It serves every Hugging Face model with plain causal attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from inspect import signature
from itertools import accumulate, chain, repeat
from operator import add
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

ATTENTION = "longstep_packed"
_HALF = (torch.bfloat16, torch.float16)
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
        self._bounds: Tensor | None = None

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Causal attention within each document; `layer` does not matter.

        On a GPU, in 16 bits, one kernel does all documents; else each has a call of its own.
        """
        if value.is_cuda and value.dtype in _HALF and varlen_attention() is not None:
            return self.attend_at_once(query, key, value, scale)
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

    def attend_at_once(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """The same by the kernel for all documents, which there has to be."""
        varlen = varlen_attention()
        assert varlen is not None, "ask before"
        # Under autocast, norms of queries and keys give them more precision than the values have.
        given = (part.to(value.dtype).transpose(0, 1) for part in (query, key, value))
        bounds, longest = self._bounds_on(value.device), max(self.lengths)
        return varlen(*given, bounds, longest, scale).transpose(0, 1)

    def _bounds_on(self, device: torch.device) -> Tensor:
        """Where documents begin and the last one ends; the same in every layer."""
        if self._bounds is None or self._bounds.device != device:
            ends = accumulate(self.lengths, initial=0)
            self._bounds = torch.tensor(list(ends), dtype=torch.int32).to(device)
        return self._bounds


@lru_cache
def varlen_attention() -> Callable[..., Tensor] | None:
    """Causal attention of [N, H, D] between bounds; None where this torch has none that will do."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = signature(varlen_attn).parameters
    if not {"scale", "window_size"} <= known.keys():
        return None
    groups = {"enable_gqa": True} if "enable_gqa" in known else {}

    def attend(
        query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, scale: float
    ) -> Tensor:
        if not groups:
            times = query.shape[1] // key.shape[1]
            key, value = (part.repeat_interleave(times, 1) for part in (key, value))
        places = bounds, bounds, longest, longest
        causal: Any = {"window_size": (-1, 0), "scale": scale, **groups}
        output: Any = varlen_attn(query, key, value, *places, **causal)
        return output  # type: ignore[no-any-return]

    return attend


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
        shape = (lanes, 0, heads, head_dim)  # nothing yet, for it may be meant for another device
        self._first, self._limit = capacity, limit
        self._keys = [torch.zeros(shape) for _ in range(layers)]
        self._values = [torch.zeros(shape) for _ in range(layers)]

    def to(self, device: torch.device, dtype: torch.dtype) -> LaneCache:
        """The same cache on another device or in another precision, with its first memory taken."""
        self._keys = [cache.to(device, dtype) for cache in self._keys]
        self._values = [cache.to(device, dtype) for cache in self._values]
        self._grow(self._first)
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
        self._begun = [0] * (max(rows) + 1)
        for row, start in zip(rows, starts, strict=True):
            self._begun[row] = start
        self._shape = (len(self._begun), max(counts))
        in_order = list(rows) == list(range(len(self._begun)))
        self._padded = not in_order or min(counts) < max(counts)
        if self._padded:
            self._row = self._indices(map(repeat, rows, counts))
            self._offset = self._indices(map(range, counts))

    def _visible(self, span: int) -> Tensor:
        """What is added to the scores of the first `span` positions, [rows, 1, new tokens, span].

        Additive, because the CPU kernel converts a boolean mask anew in every layer.
        """
        self._span = span
        cache = self._keys[0]
        begun = torch.tensor(self._begun).to(cache.device)[:, None]
        limit = begun + torch.arange(self._shape[1], device=cache.device)
        visible = torch.arange(span, device=cache.device) <= limit[..., None]
        return torch.where(visible, 0.0, -torch.inf).to(cache.dtype)[:, None]

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
        wanted = 2 * capacity or self._first
        if self._limit is not None:
            wanted = min(wanted, self._limit)
        extra = max(needed, wanted) - capacity
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
