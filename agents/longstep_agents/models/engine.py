"""How an engine that runs here computes, and the account of what it did."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from pydantic import PositiveInt

from longstep_agents.config import Config


class EngineConfig(Config):
    """How the policy is run for sampling. All but `context` trade rounding for speed."""

    dtype: Literal["policy", "bfloat16", "auto"] = "policy"
    """`policy` computes as its weights are stored; `auto` in bfloat16 where the machine multiplies
    it faster than float32."""
    lean: bool = True
    """Leave out what sampling does not need of the forward pass, where the model is a Llama, Qwen2
    or Qwen3; others are run as they are. In float32 both agree within 1e-5."""
    share_prefixes: bool = False
    """Copy the keys and values of what another session has read, in place of reading it again."""
    context: PositiveInt | None = None
    """Tokens of the longest row; without it, those of the policy."""
    keep_cache: bool = False
    """Where the weights change in the middle of episodes, go on with the keys and values that the
    old ones gave. Else what the policy has read is read again, and every token is sampled just as
    the weights of its version would have it."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What an engine has done so far. The difference of two tells of the time between."""

    sampled: int = 0
    """Tokens that were drawn."""
    useful: int = 0
    """Of these, tokens of completions that somebody got."""
    forced: int = 0
    """Tokens of such completions that a constraint left no choice about."""
    computed: int = 0
    """Tokens of prompts that were read by the model."""
    kept: int = 0
    """Tokens of prompts that their session's cache held from the turn before."""
    shared: int = 0
    """Tokens of prompts that were copied from another session's cache."""
    passes: int = 0
    """Runs of the model."""
    busy_seconds: float = 0.0
    """Time that these took, drawing included."""
    seconds: float = 0.0
    """Wall time, what the engine waited for included."""

    def __sub__(self, before: Statistics) -> Statistics:
        """What was done since `before`."""
        mine, its = ([getattr(s, f.name) for f in fields(s)] for s in (self, before))
        return Statistics(*(a - b for a, b in zip(mine, its, strict=True)))

    @property
    def tokens_per_second(self) -> float:
        """Useful tokens per second of wall time: what somebody waited for, and how long."""
        return self.useful / self.seconds if self.seconds else 0.0
