"""The embedded engine: any transformers causal LM, batched, with its cache kept over all turns."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from longstep_agents.attention import LaneCache
from longstep_agents.model import SamplingParams
from longstep_agents.types import Completion


@dataclass(slots=True)
class _Lane:
    """One session's place in the cache: `fed` are the tokens whose keys the cache holds."""

    index: int
    random: random.Random
    fed: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Request:
    """One completion under way; `pending` are the tokens that the model has not seen yet."""

    params: SamplingParams
    lane: _Lane
    pending: list[int]
    future: asyncio.Future[Completion]
    node: dict[int, dict] | None  # type: ignore[type-arg]
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    allowed: list[tuple[int, ...] | None] = field(default_factory=list)


class HFModel:
    """Samples from a transformers model, many sessions at a time.

    Each session owns a lane of one key-value cache. A prompt that extends what the lane holds
    costs only its new tokens; any other prompt is cut back to the common prefix. Whenever no
    caller can go on without a token, one forward pass over all waiting lanes runs; a session
    that ends frees its lane for the next, so no lane waits for the slowest.

    Sampling is by inverse transform with one uniform number a token from the session's own
    generator: the same weights, prompts and seeds give the same tokens, up to the rounding that
    another batch brings.
    """

    def __init__(self, model: PreTrainedModel, *, lanes: int = 256, capacity: int = 256) -> None:
        config = model.config
        heads = config.num_attention_heads
        self._model = model
        self._cache = LaneCache(
            layers=config.num_hidden_layers,
            lanes=lanes,
            heads=getattr(config, "num_key_value_heads", None) or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            capacity=capacity,
        ).to(model.device, model.dtype)
        self._free = list(range(lanes))  # a heap: low lanes first keep the busy ones together
        self._lanes: dict[Hashable, _Lane] = {}
        self._waiting: list[tuple[Sequence[int], SamplingParams, asyncio.Future[Completion]]] = []
        self._running: list[_Request] = []
        self._driver: asyncio.Task[None] | None = None
        self.policy_version = 0
        self.sampled_tokens = 0

    async def sample(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """One completion; see `longstep_agents.model.Model`.

        Raises:
            ValueError: the prompt is empty.
        """
        if not prompt_ids:
            raise ValueError("a prompt needs at least one token, got none")
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        if params.session is None:
            params = replace(params, session=future)
        self._waiting.append((prompt_ids, params, future))
        self._wake()
        try:
            return await future
        finally:
            if params.session is future:
                self.release(future)

    def release(self, session: Hashable) -> None:
        """Give the session's lane back."""
        lane = self._lanes.pop(session, None)
        if lane is not None:
            heapq.heappush(self._free, lane.index)
            if self._waiting:
                self._wake()

    def refresh(self, policy_version: int) -> None:
        """The weights have changed: forget every cached token."""
        self.policy_version = policy_version
        for lane in self._lanes.values():
            lane.fed.clear()

    def _wake(self) -> None:
        if self._driver is None or self._driver.done():
            self._driver = asyncio.get_running_loop().create_task(self._drive())

    async def _drive(self) -> None:
        """Run passes until nothing can go on; calls that wait for a lane are woken by `release`."""
        while True:
            await asyncio.sleep(0)  # every caller that can go on does so before the next pass
            try:
                # A caller that gave up may have given its lane back: it must not be written to.
                self._running = [r for r in self._running if not r.future.done()]
                self._admit()
                if not self._running:
                    return
                self._advance()
            except Exception as error:  # foreign code: the callers must hear of it, not hang
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        for request in self._running:
            request.lane.fed.clear()  # what a broken pass left in the cache is unknown
        futures = [r.future for r in self._running] + [future for _, _, future in self._waiting]
        self._running, self._waiting = [], []
        for future in futures:
            if not future.done():
                future.set_exception(error)

    def _admit(self) -> None:
        """Give waiting calls their lanes, as far as lanes are free."""
        still_waiting = []
        for prompt_ids, params, future in self._waiting:
            if future.done():
                continue
            lane = self._lanes.get(params.session)
            if lane is None and self._free:
                lane = _Lane(heapq.heappop(self._free), random.Random(params.seed))
                self._lanes[params.session] = lane
            if lane is None:
                still_waiting.append((prompt_ids, params, future))
                continue
            kept = _common_prefix(lane.fed, prompt_ids)
            del lane.fed[kept:]
            node = params.constraint.root if params.constraint is not None else None
            request = _Request(params, lane, list(prompt_ids[kept:]), future, node)
            if not self._follow_forced(request):
                self._running.append(request)
        self._waiting = still_waiting

    @torch.inference_mode()
    def _advance(self) -> None:
        """One forward pass: every running request gets its next token."""
        logits = self._forward(self._running)
        chosen = _sample(logits, self._running)
        running = []
        for request, (token, logprob, allowed) in zip(self._running, chosen, strict=True):
            _append(request, token, logprob, allowed)
            if not (self._is_whole(request, token) or self._follow_forced(request)):
                running.append(request)
        self.sampled_tokens += len(chosen)
        self._running = running

    def _forward(self, requests: list[_Request]) -> Tensor:
        """Logits [len(requests), V] after each request's pending tokens."""
        counts = [len(request.pending) for request in requests]
        positions = self._cache.extend(
            [request.lane.index for request in requests],
            [len(request.lane.fed) for request in requests],
            counts,
        )
        ids = [token for request in requests for token in request.pending]
        last = torch.tensor(counts).cumsum(0) - 1
        for request in requests:
            request.lane.fed += request.pending
            request.pending = []
        output = self._model(
            input_ids=torch.tensor([ids], device=positions.device),
            position_ids=positions[None],
            packing=self._cache,
            use_cache=False,
            logits_to_keep=last.to(positions.device),
        )
        logits: Tensor = output.logits[0].float()
        return logits

    def _follow_forced(self, request: _Request) -> bool:
        """Append tokens that the constraint leaves no choice about; True when it is whole."""
        while request.node is not None and len(request.node) == 1:
            (token,) = request.node
            _append(request, token, 0.0, (token,))
            if self._is_whole(request, token):
                return True
        return False

    def _is_whole(self, request: _Request, token: int) -> bool:
        ended = token in request.params.stop_ids or (request.node is not None and not request.node)
        if not ended and len(request.ids) < request.params.max_tokens:
            return False
        completion = Completion(
            ids=tuple(request.ids),
            logprobs=tuple(request.logprobs),
            stop="end" if ended else "length",
            policy_version=self.policy_version,
            allowed=None if request.node is None else tuple(request.allowed),
        )
        if not request.future.done():
            request.future.set_result(completion)
        return True


def _append(request: _Request, token: int, logprob: float, allowed: tuple[int, ...] | None) -> None:
    request.ids.append(token)
    request.logprobs.append(logprob)
    request.allowed.append(allowed)
    request.pending.append(token)
    if request.node is not None:
        request.node = request.node[token]


def _common_prefix(fed: list[int], prompt_ids: Sequence[int]) -> int:
    """How many cached tokens the prompt shares; at least its last token is left to feed."""
    limit = min(len(fed), len(prompt_ids) - 1)
    if list(prompt_ids[:limit]) == fed[:limit]:
        return limit
    return next(i for i in range(limit) if prompt_ids[i] != fed[i])


def _sample(
    logits: Tensor, requests: list[_Request]
) -> list[tuple[int, float, tuple[int, ...] | None]]:
    """Token, log-probability and admitted ids for each row of `logits` [n, V]."""
    admitted = [None if r.node is None else tuple(r.node) for r in requests]
    chosen: dict[int, tuple[int, float]] = {}
    free = [i for i, ids in enumerate(admitted) if ids is None]
    bound = [i for i, ids in enumerate(admitted) if ids is not None]
    if free:
        columns, logprobs = _draw(logits[free], [requests[i] for i in free])
        chosen |= dict(zip(free, zip(columns, logprobs, strict=True), strict=True))
    if bound:
        lists = [admitted[i] or () for i in bound]
        masked = gather_admitted(logits[bound], lists)
        columns, logprobs = _draw(masked, [requests[i] for i in bound])
        tokens = [ids[column] for ids, column in zip(lists, columns, strict=True)]
        chosen |= dict(zip(bound, zip(tokens, logprobs, strict=True), strict=True))
    return [(*chosen[i], admitted[i]) for i in range(len(requests))]


def gather_admitted(logits: Tensor, admitted: Sequence[Sequence[int]]) -> Tensor:
    """The admitted columns of each row: [n, longest list], minus infinity past a list's end."""
    width = max(len(ids) for ids in admitted)
    padded = torch.tensor([[*ids, *[-1] * (width - len(ids))] for ids in admitted])
    padded = padded.to(logits.device)
    return logits.gather(1, padded.clamp(min=0)).masked_fill(padded < 0, float("-inf"))


def _draw(logits: Tensor, requests: list[_Request]) -> tuple[list[int], list[float]]:
    """A column of each row, drawn at the request's temperature, and its log-probability."""
    temperatures = torch.tensor([r.params.temperature for r in requests], device=logits.device)
    greedy = temperatures == 0
    logprobs = (logits / torch.where(greedy, 1.0, temperatures)[:, None]).log_softmax(-1)
    uniform = torch.tensor([r.lane.random.random() for r in requests], device=logits.device)
    cumulative = logprobs.exp().cumsum(-1)
    threshold = uniform[:, None] * cumulative[:, -1:]
    sampled = torch.searchsorted(cumulative, threshold, right=True)[:, 0]
    best = logprobs.argmax(-1)
    last = (logprobs > float("-inf")).sum(-1) - 1
    column = torch.where(greedy, best, sampled.minimum(last))
    return column.tolist(), logprobs.gather(1, column[:, None])[:, 0].tolist()
