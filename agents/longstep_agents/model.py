"""What every engine offers: token ids in, sampled token ids and their log-probabilities out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from longstep_agents.constraint import TokenTrie
from longstep_agents.types import Completion
from longstep_envs.types import LongstepError, StopReason


class EngineError(LongstepError, RuntimeError):
    """An engine, an endpoint or the machine failed: nothing that the policy did."""


class ContextError(EngineError):
    """A prompt and its completion do not fit what the engine can hold."""


class OverBudgetError(LongstepError, RuntimeError):
    """An episode has used what it may use; `reason` says of what, and it ends as it is."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(f"the episode's budget is spent: {reason}")
        self.reason = reason


class PausedError(LongstepError):
    """An engine was asked to sample nothing any more: the episode is to be gone on with later."""

    def __init__(self, begun: Completion, place: int) -> None:
        super().__init__("the engine is paused")
        self.begun = begun
        """What was sampled of the completion."""
        self.place = place
        """The order in which the engine would have gone on."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How one completion is sampled."""

    temperature: float = 1.0
    """0 takes the most probable token."""
    max_tokens: int = 64
    stop_ids: tuple[int, ...] = ()
    """A completion ends with the first of these; it stays part of the completion."""
    constraint: TokenTrie | None = None
    """Only token sequences of this trie can be sampled, end token included."""
    session: Hashable = None
    """Calls of one session keep their key-value cache as long as prompts extend exactly."""
    seed: int = 0
    """Seeds a session's randomness at its first call; a call without session is a session."""
    drawn: int = 0
    """Tokens that were drawn in the session before its first call, by an engine that was paused."""


class Model(Protocol):
    """An engine. Calls may be awaited concurrently; the engine batches them."""

    async def sample(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """One completion of `prompt_ids`."""
        ...

    def release(self, session: Hashable) -> None:
        """Forget a session and free what it holds. Unknown sessions are ignored."""
        ...
