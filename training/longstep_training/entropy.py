"""Entropy control: a term that is added to the loss of every chosen token.

A method is one pure function and one line in `ENTROPY`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from torch import Tensor

from longstep_training.config import Config, key_of


class EntropyConfig(Config):
    """Which entropy control, and its options."""

    name: Annotated[str, key_of(lambda: ENTROPY)] = "bonus"
    """A key of `ENTROPY`."""
    coefficient: float = 0.0


EntropyFunction = Callable[[Tensor, EntropyConfig], Tensor]


def bonus(entropy_T: Tensor, config: EntropyConfig) -> Tensor:
    """The plain bonus, [T]: entropy lowers the loss (Williams & Peng 1991)."""
    return -config.coefficient * entropy_T


ENTROPY: dict[str, EntropyFunction] = {"bonus": bonus}
