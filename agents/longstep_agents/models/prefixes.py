"""Finding who has read the same tokens before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

BLOCK = 16
"""Prefixes are looked up by whole blocks of so many tokens."""

H = TypeVar("H")


class PrefixIndex(Generic[H]):
    """Who was the last to hold a row that begins with given blocks.

    The index only suggests: a holder may have gone on to other tokens, and blocks may share a
    hash, so whoever asks compares the tokens.
    """

    def __init__(self, largest: int) -> None:
        """Forget everything whenever there are more than `largest` entries."""
        self.holders: dict[int, H] = {}
        self._largest = largest

    def add(self, tokens: Sequence[int], holder: H) -> None:
        """Let `holder` stand for every whole block of `tokens`."""
        if len(self.holders) > self._largest:
            self.holders.clear()
        for key in _keys(tokens):
            self.holders[key] = holder

    def find(self, tokens: Sequence[int]) -> H | None:
        """The holder of most blocks that `tokens` begin with."""
        found = None
        for key in _keys(tokens):
            holder = self.holders.get(key)
            if holder is None:
                break
            found = holder
        return found

    def clear(self) -> None:
        """Forget everything."""
        self.holders.clear()


def _keys(tokens: Sequence[int]) -> Iterator[int]:
    """For each whole block, a hash of it and of all before it."""
    key = 0
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        key = hash((key, *tokens[start : start + BLOCK]))
        yield key


def common_prefix(held: Sequence[int], tokens: Sequence[int]) -> int:
    """How many tokens both begin with; at least the last of `tokens` is left to be read."""
    limit = min(len(held), len(tokens) - 1)
    if list(tokens[:limit]) == list(held[:limit]):
        return limit
    return next(i for i in range(limit) if tokens[i] != held[i])
