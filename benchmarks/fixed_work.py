"""The work of the rollout and update benchmarks, told from its shapes, and TRL doing it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import torch
from comparison import copy_rate, gemm_rate  # type: ignore[import-not-found]  # beside this file
from fixed_talk import (  # type: ignore[import-not-found]
    OBSERVATION_TOKENS,
    PROMPT_TOKENS,
    TASKS,
    VOCABULARY,
)

SIBLINGS, TURNS, ACTION_TOKENS = 8, 8, 16
EPISODES = TASKS * SIBLINGS
SAMPLED = EPISODES * TURNS * ACTION_TOKENS
WIDTH, INNER, LAYERS, HEADS, GROUPS, HEAD = 256, 768, 4, 4, 2, 64
MODEL = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": GROUPS,
    "head_dim": HEAD,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
LIMIT, PRODUCTS = "products and cache", "products"
"""What `least_rollout` and `least_update` count."""

_ROW = PROMPT_TOKENS + TURNS * (ACTION_TOKENS + OBSERVATION_TOKENS) - OBSERVATION_TOKENS
"""Tokens of an episode, up to the last that is sampled."""
_TOKENS = EPISODES * _ROW - (EPISODES - TASKS) * PROMPT_TOKENS
"""Tokens that are computed where a prompt is computed once for all siblings."""
_KEYS = 2 * WIDTH * GROUPS * HEAD
"""Weights that make keys and values of a token, in one layer."""
_REST = 2 * WIDTH * HEADS * HEAD + 3 * WIDTH * INNER
"""All other weights of a layer: in the last, only what decides a sampled token needs them."""


def least_update(dtype: torch.dtype) -> float:
    """CPU seconds of an update's matrix products alone, at the rate of a large one."""
    return 3 * _passed() / float(gemm_rate(dtype))


def least_rollout(dtype: torch.dtype) -> float:
    """CPU seconds of a rollout's products, and of reading weights and cache at each pass."""
    layers = LAYERS * (_KEYS + _REST) + WIDTH * VOCABULARY
    spans = [
        PROMPT_TOKENS + turn * (ACTION_TOKENS + OBSERVATION_TOKENS) + said
        for turn in range(TURNS)
        for said in range(ACTION_TOKENS)
    ]
    cache = EPISODES * sum(spans) * LAYERS * 2 * GROUPS * HEAD
    read = (cache + len(spans) * layers) * dtype.itemsize
    seconds: float = _passed() / gemm_rate(dtype) + read / copy_rate()
    return seconds


def _passed() -> float:
    """Floating point operations of one pass over all episodes; attention's are a tenth of it."""
    seen: float = EPISODES * _ROW**2 / 2
    weights: int = _TOKENS * (LAYERS * _KEYS + (LAYERS - 1) * _REST)
    weights += SAMPLED * (_REST + WIDTH * VOCABULARY)
    return 2.0 * weights + 4.0 * LAYERS * seen * HEADS * HEAD


class Trl:
    """TRL's trainer in a process of its own, which does a step when it is told to."""

    def __init__(self, python: Path, steps: int) -> None:
        self._python, self._steps = python, steps

    def __enter__(self) -> Self:
        self._folder = TemporaryDirectory()
        sizes = {
            "model": MODEL,
            "groups": TASKS,
            "siblings": SIBLINGS,
            "turns": TURNS,
            "action_tokens": ACTION_TOKENS,
            "observation_tokens": OBSERVATION_TOKENS,
            "prompt_tokens": PROMPT_TOKENS,
            "steps": self._steps,
            "folder": self._folder.name,
        }
        self._process = subprocess.Popen(
            [self._python, Path(__file__).with_name("peer_trl.py"), json.dumps(sizes)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def step(self) -> tuple[float, float]:
        """CPU seconds of one rollout and of one update."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                told = json.loads(line)
                return told["rollout"], told["update"]
        raise RuntimeError(f"TRL ended early; run peer_trl.py by {self._python} to see why")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()
        self._folder.cleanup()
