"""Engines that are asked once a completion and keep nothing of a session but its randomness."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from longstep_agents.constraint import TokenTrie
from longstep_agents.model import EngineError, SamplingParams
from longstep_agents.models.engine import Statistics
from longstep_agents.types import Completion

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request of an engine."""

    prompt_ids: Sequence[int]
    temperature: float
    max_tokens: int
    stop_ids: tuple[int, ...]
    seed: int
    allowed_ids: tuple[int, ...] | None = None
    """The ids that every token is one of."""


class RequestModel(ABC):
    """A `longstep_agents.model.Model` over an engine whose prefix cache finds sessions by itself.

    No such engine follows a trie. A constrained completion is asked for token by token, each among
    the ids that the trie admits there; a token without alternative costs no request.
    """

    def __init__(self) -> None:
        self.policy_version = 0
        self.sampled_tokens = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        """Of all prompts, those that the engine had cached."""
        self._sessions: dict[Hashable, random.Random] = {}
        self._under_way = 0
        self._changing = False

    @property
    def statistics(self) -> Statistics:
        """What is known here of what the engine has done."""
        return Statistics(
            sampled=self.sampled_tokens,
            useful=self.sampled_tokens,
            computed=self.prompt_tokens - self.cached_tokens,
            kept=self.cached_tokens,
        )

    async def sample(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """One completion; see `longstep_agents.model.Model`.

        Raises:
            ValueError: the prompt is empty.
            EngineError: the engine failed, or its weights are being changed.
        """
        if not prompt_ids:
            raise ValueError("a prompt needs at least one token, got none")
        if self._changing:
            raise EngineError("the engine's weights are being changed; sample after that")
        # What was drawn before a pause cannot be drawn again to come to the same place.
        seed = f"{params.seed}/{params.drawn}" if params.drawn else params.seed
        chance = random.Random(seed)
        if params.session is not None:
            chance = self._sessions.setdefault(params.session, chance)
        self._under_way += 1
        try:
            if params.constraint is not None:
                return await self._follow(params.constraint, prompt_ids, params, chance)
            completion = await self._request(_request_of(prompt_ids, params, chance))
            return replace(completion, policy_version=self.policy_version)
        finally:
            self._under_way -= 1

    def release(self, session: Hashable) -> None:
        """Forget a session. What the engine has cached of it goes when others need the place."""
        self._sessions.pop(session, None)

    async def load(self, weights: Mapping[str, Tensor], policy_version: int) -> None:
        """Sample with these weights from now on; cached tokens of the old ones are forgotten.

        Raises:
            EngineError: completions are under way, or the engine cannot take the weights.
        """
        with self._nothing_under_way():
            await self._load(weights)
            self.policy_version = policy_version

    @abstractmethod
    async def _complete(self, request: TokenRequest) -> Completion:
        """The engine's answer to one request."""

    @abstractmethod
    async def _load(self, weights: Mapping[str, Tensor]) -> None:
        """Bring weights into the engine and empty its prefix cache."""

    @contextmanager
    def _nothing_under_way(self) -> Iterator[None]:
        """So that every completion is one policy's."""
        if self._under_way or self._changing:
            raise EngineError(
                f"{self._under_way} completions are under way; await them before the engine's "
                "weights are changed or it is put to sleep"
            )
        self._changing = True
        try:
            yield
        finally:
            self._changing = False

    async def _request(self, request: TokenRequest) -> Completion:
        completion = await self._complete(request)
        self.sampled_tokens += len(completion.ids)
        self.prompt_tokens += len(request.prompt_ids)
        return completion

    async def _follow(
        self,
        trie: TokenTrie,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        chance: random.Random,
    ) -> Completion:
        node, ids = trie.root, list[int]()
        logprobs, allowed = list[float](), list[tuple[int, ...] | None]()
        while node and len(ids) < params.max_tokens and not (ids and ids[-1] in params.stop_ids):
            admitted = tuple(node)
            token, logprob = admitted[0], 0.0
            if len(admitted) > 1:
                request = _request_of([*prompt_ids, *ids], params, chance)
                one = await self._request(replace(request, max_tokens=1, allowed_ids=admitted))
                (token,), (logprob,) = one.ids, one.logprobs
            ids.append(token)
            logprobs.append(logprob)
            allowed.append(admitted)
            node = node[token]
        ended = not node or ids[-1] in params.stop_ids
        return Completion(
            ids=tuple(ids),
            logprobs=tuple(logprobs),
            stop="end" if ended else "length",
            policy_version=self.policy_version,
            allowed=tuple(allowed),
        )


def _request_of(
    prompt_ids: Sequence[int], params: SamplingParams, chance: random.Random
) -> TokenRequest:
    return TokenRequest(
        prompt_ids=prompt_ids,
        temperature=params.temperature,
        max_tokens=params.max_tokens,
        stop_ids=params.stop_ids,
        seed=chance.getrandbits(31),
    )
