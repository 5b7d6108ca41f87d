"""Text on a terminal: what environments and models wrote is shown, and never obeyed."""

from __future__ import annotations

import unicodedata

_KEPT = frozenset("\n\t\u200d")  # the joiner holds emoji together
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co"})
_LIMIT = 20_000


def clean(text: str, limit: int = _LIMIT) -> str:
    """`text` without control characters (escape sequences, bidirectional marks), and capped."""
    shown = "".join(
        character
        for character in text[:limit]
        if character in _KEPT or unicodedata.category(character) not in _HIDDEN_CATEGORIES
    )
    hidden = len(text) - limit
    return f"{shown} … ({hidden:,} more characters)" if hidden > 0 else shown
