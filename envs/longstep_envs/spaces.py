"""A space that contains every string: what text environments observe and accept."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

_ALPHABET = "abcdefghijklmnopqrstuvwxyz 0123456789"


class Unicode(gymnasium.Space[str]):
    """Any `str`, of any length and any characters.

    Gymnasium's `Text` fixes an alphabet and a maximum length, which no real text keeps to.
    """

    def __init__(self, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Text has no fixed-size array form."""
        return False

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A short random text; `mask` and `probability` do not apply."""
        length = int(self.np_random.integers(1, 33))
        return "".join(self.np_random.choice(list(_ALPHABET), size=length))

    def contains(self, x: Any) -> bool:
        """Whether `x` is a `str`."""
        return isinstance(x, str)

    def to_jsonable(self, sample_n: Any) -> list[Any]:
        """Strings are JSON already."""
        return list(sample_n)

    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        """Strings are JSON already."""
        return [str(sample) for sample in sample_n]

    def __repr__(self) -> str:
        return "Unicode()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unicode)

    __hash__ = None  # type: ignore[assignment]
