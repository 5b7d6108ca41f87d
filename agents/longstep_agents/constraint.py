"""Constrained sampling: a trie over the token sequences that may be sampled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class TokenTrie:
    """The set of token sequences that a completion must be one of.

    A node is a dict from token id to node; the ids admitted next are its keys, in the order in
    which the sequences were given. A leaf is an empty dict: the completion is whole.
    """

    __slots__ = ("root",)

    def __init__(self, sequences: Iterable[Sequence[int]]) -> None:
        self.root: dict[int, dict] = {}  # type: ignore[type-arg]
        for sequence in sequences:
            node = self.root
            for token in sequence:
                node = node.setdefault(token, {})
        if not self.root:
            raise ValueError("a TokenTrie needs at least one non-empty sequence, got none")

    def __contains__(self, sequence: Sequence[int]) -> bool:
        node = self.root
        for token in sequence:
            if token not in node:
                return False
            node = node[token]
        return not node

    def after(self, begun: Sequence[int]) -> TokenTrie:
        """What may follow the beginning of a sequence."""
        rest = TokenTrie([(0,)])
        rest.root = self.root
        for token in begun:
            rest.root = rest.root[token]
        return rest

    def admitted_along(self, sequence: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """For each token of a sequence of the trie, the ids that were admitted in its place."""
        node, admitted = self.root, []
        for token in sequence:
            admitted.append(tuple(node))
            node = node[token]
        return tuple(admitted)
