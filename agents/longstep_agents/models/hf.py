"""The embedded engine: any transformers causal LM, batched, with its cache kept over all turns."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random

import torch
from torch import Tensor
from transformers import PreTrainedModel

from longstep_agents.attention import LaneCache
from longstep_agents.model import ContextError, EngineError, PausedError, SamplingParams
from longstep_agents.models.cache_plan import CachePlan, free_memory
from longstep_agents.models.drawing import Draw, draw
from longstep_agents.models.engine import EngineConfig, Statistics
from longstep_agents.models.lanes import CacheState, Lane, LaneRequest
from longstep_agents.models.lean import LeanDecoder
from longstep_agents.models.precision import chosen_dtype
from longstep_agents.models.prefixes import BLOCK, PrefixIndex, common_prefix
from longstep_agents.models.twin import Twin
from longstep_agents.types import Completion

_FIRST_CAPACITY = 256


class HFModel:
    """Samples from a transformers model, many sessions at a time.

    Each session owns a lane of one key-value cache. A prompt that extends what the lane holds
    costs only its new tokens; any other prompt is cut back to the common prefix. Whenever no
    caller can go on without a token, one forward pass over all waiting lanes runs; a session
    that ends frees its lane for the next, so no lane waits for the slowest. With
    `share_prefixes`, what another lane has read, or is about to read, is copied from there: of the
    siblings of a group, one reads their prompt.

    Sampling is by inverse transform with one uniform number a token from the session's own
    generator: the same weights, prompts and seeds give the same tokens, up to the rounding that
    another batch brings.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        config: EngineConfig | None = None,
        *,
        lanes: int = 256,
        own_weights: bool = False,
    ) -> None:
        """Plan the cache for `lanes` sessions at a time.

        With `own_weights` the engine samples from a copy, which only `refresh` changes, so that the
        model may be trained at the same time.

        Raises:
            BadValueError: the machine has no room for it.
        """
        config = config or EngineConfig()
        dtype = chosen_dtype(model, config)
        plan = CachePlan.of(model.config, dtype, lanes, config.context)
        plan.require(free_memory(model.device))
        context, on_cpu = plan.context, model.device.type == "cpu"
        self.context = context
        """Tokens of the longest row that can be held."""
        self._twin = Twin(model, dtype) if own_weights or dtype != model.dtype else None
        self._model = self._twin.model if self._twin else model
        lean = config.lean and LeanDecoder.knows(self._model)
        self._lean = LeanDecoder(self._model) if lean else None
        self._cache = LaneCache(
            layers=plan.layers,
            lanes=lanes,
            heads=plan.heads,
            head_dim=plan.head_dim,
            # An accelerator's memory is taken at once, a machine's as it is needed.
            capacity=min(_FIRST_CAPACITY, context) if on_cpu else context,
            limit=context,
        ).to(model.device, dtype)
        self._all = [Lane(index) for index in range(lanes)]
        self._free = list(range(lanes))  # a heap: low lanes first keep the busy ones together
        self._lanes: dict[Hashable, Lane] = {}
        self._asked: dict[Hashable, asyncio.Future[Completion]] = {}
        self._waiting: list[tuple[Sequence[int], SamplingParams, asyncio.Future[Completion]]] = []
        self._running: list[LaneRequest] = []
        self._driver: asyncio.Task[None] | None = None
        self._paused = False
        self._places: list[int] = []  # the lane of each completion that was broken off, or -1
        self._left: dict[Hashable, int] = {}  # the lanes of sessions that are to go on
        self._shares, self._keeps = config.share_prefixes, config.keep_cache
        self._prefixes = PrefixIndex[Lane](2 * lanes * (context // BLOCK + 1))
        self._counts: Counter[str] = Counter()
        self._busy, self._began = 0.0, time.perf_counter()
        self.policy_version = 0

    @property
    def statistics(self) -> Statistics:
        """What was done so far."""
        seconds = time.perf_counter() - self._began
        return Statistics(**self._counts, busy_seconds=self._busy, seconds=seconds)

    async def sample(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """One completion; see `longstep_agents.model.Model`.

        Raises:
            ValueError: the prompt is empty.
            ContextError: the prompt and the completion are longer than the context.
            EngineError: a completion of this session is under way.
            PausedError: the engine is paused, by now or from the beginning.
        """
        if self._paused:
            raise self._broken_off(params.session)
        if not prompt_ids:
            raise ValueError("a prompt needs at least one token, got none")
        if len(prompt_ids) + params.max_tokens > self.context:
            raise ContextError(
                f"a prompt of {len(prompt_ids)} tokens and a completion of up to "
                f"{params.max_tokens} do not fit the engine's context of {self.context}"
            )
        before = self._asked.get(params.session)
        if before is not None and not before.done():
            raise EngineError(
                f"one completion of a session at a time, and session {params.session!r:.100} waits "
                "for one; await it, or give the other a session of its own"
            )
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        if params.session is None:
            params = replace(params, session=future)
        self._asked[params.session] = future
        self._waiting.append((prompt_ids, params, future))
        self._wake()
        try:
            return await future
        finally:
            if self._asked.get(params.session) is future:
                del self._asked[params.session]
            if params.session is future:
                self.release(future)

    def release(self, session: Hashable) -> None:
        """Give the session's lane back."""
        lane = self._lanes.pop(session, None)
        if lane is not None:
            heapq.heappush(self._free, lane.index)
            if self._waiting:
                self._wake()

    @property
    def copied_bytes(self) -> int:
        """What a `refresh` copies."""
        return self._twin.size if self._twin is not None else 0

    def refresh(self, policy_version: int) -> None:
        """The weights have changed: go on with the new ones.

        What the old ones have read is forgotten; sessions read it again as they go on. With
        `keep_cache` they go on from it, but nobody else does. To be called in the event loop that
        is sampled in, where there is one: between two passes, that is.
        """
        self.policy_version = policy_version
        if self._twin is not None:
            self._twin.refresh()
        self._prefixes.clear()
        kept = {lane.index for lane in self._lanes.values()} if self._keeps else set[int]()
        for request in self._running:
            lane = request.lane
            if lane.index not in kept:
                lane.pending = [*lane.fed, *lane.pending]
                self._counts.update(computed=len(lane.fed))
        for lane in self._all:
            if lane.index not in kept:
                lane.fed.clear()

    def pause(self) -> None:
        """Sample nothing any more: after this pass, callers get what there is of completions."""
        self._paused = True

    def state(self, most_bytes: int) -> CacheState | None:
        """What a paused engine needs to go on elsewhere bit for bit; None where it is too much."""
        if sum(len(lane.fed) for lane in self._all) * self._cache.token_bytes > most_bytes:
            return None
        return CacheState.of(self._all, self._places, self._cache, self._prefixes, self._counts)

    def load(self, state: CacheState, sessions: Callable[[int], Hashable]) -> None:
        """Go on from a state; `sessions` names the session of each completion broken off."""
        state.put(self._all, self._cache, self._prefixes)
        self._counts.update(state.counts)
        self._left = {sessions(n): i for n, i in enumerate(state.places) if i >= 0}
        self._free = [i for i in range(len(self._all)) if i not in state.places]

    def _break_off(self) -> None:
        """Give every caller what there is of its completion."""
        for request in self._running:
            if not request.future.done():
                self._counts.update(request.account())
                error = self._broken_off(request.params.session, request.completion("length"))
                request.future.set_exception(error)
        for _, params, future in self._waiting:
            if not future.done():
                future.set_exception(self._broken_off(params.session))
        self._running, self._waiting = [], []

    def _broken_off(self, session: Hashable, begun: Completion = Completion()) -> PausedError:  # noqa: B008
        lane = self._lanes.get(session)
        self._places.append(-1 if lane is None else lane.index)
        return PausedError(begun, len(self._places) - 1)

    def _wake(self) -> None:
        if self._driver is None or self._driver.done():
            self._driver = asyncio.get_running_loop().create_task(self._drive())

    async def _drive(self) -> None:
        """Run passes until nothing can go on; calls that wait for a lane are woken by `release`."""
        while True:
            await asyncio.sleep(0)  # every caller that can go on does so before the next pass
            try:
                if self._paused:
                    self._break_off()
                    return
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
            lane = self._lanes.get(params.session) or self._take_lane(params)
            if lane is None:
                still_waiting.append((prompt_ids, params, future))
                continue
            kept = common_prefix(lane.fed, prompt_ids)
            del lane.fed[kept:]
            lane.pending = list(prompt_ids[kept:])
            self._counts.update(kept=kept, computed=len(lane.pending))
            node = params.constraint.root if params.constraint is not None else None
            request = LaneRequest(params, lane, future, node)
            if not self._follow_forced(request):
                self._running.append(request)
        self._waiting = still_waiting

    def _take_lane(self, params: SamplingParams) -> Lane | None:
        """A lane for a new session; what the one before has read is of use if it may be shared."""
        left = self._left.pop(params.session, None)
        if left is None and not self._free:
            if not self._left:
                return None
            left = self._left.popitem()[1]  # nobody may come for it: not all can be gone on with
        lane = self._all[heapq.heappop(self._free) if left is None else left]
        lane.random = Random(params.seed)
        for _ in range(params.drawn):
            lane.random.random()
        if not self._shares and left is None:
            lane.fed.clear()
        self._lanes[params.session] = lane
        return lane

    @torch.inference_mode()
    def _advance(self) -> None:
        """One forward pass: every running request gets its next token, or waits for a prefix."""
        began = time.perf_counter()
        held = self._share() if self._shares else []
        ready = [request for request in self._running if request not in held]
        logits = self._forward([request.lane for request in ready])
        drawn = draw(logits, [_what_to_draw(request) for request in ready])
        going = []
        for request, (token, logprob) in zip(ready, drawn, strict=True):
            self._append(request, token, logprob)
            if not (self._is_whole(request, token) or self._follow_forced(request)):
                going.append(request)
        self._running = going + held
        self._counts.update(sampled=len(ready), passes=1)
        self._busy += time.perf_counter() - began

    def _share(self) -> list[LaneRequest]:
        """Copy what other lanes hold; returns the requests whose prompt is being read by others."""
        held: list[LaneRequest] = []
        reading: set[int] = set()
        for request in self._running:
            lane = request.lane
            if len(lane.pending) > BLOCK and self._find_prefix(lane, reading):
                held.append(request)
            else:
                reading.add(lane.index)
        return held

    def _find_prefix(self, lane: Lane, reading: set[int]) -> bool:
        """Copy the best prefix there is; True where a lane of `reading` will soon have a better."""
        row = [*lane.fed, *lane.pending]
        source = self._prefixes.find(row)
        if source is not None and source is not lane:
            there = common_prefix(source.fed, row)
            if source.index in reading:
                coming = common_prefix([*source.fed, *source.pending], row)
                if coming > max(there, len(lane.fed)):
                    return True
            if there > len(lane.fed):
                self._cache.copy(source.index, lane.index, len(lane.fed), there)
                gained = there - len(lane.fed)
                self._counts.update(shared=gained, computed=-gained)
                lane.fed, lane.pending = row[:there], row[there:]
        self._prefixes.add(row, lane)
        return False

    def _forward(self, lanes: list[Lane]) -> Tensor:
        """Logits [len(lanes), V] after each lane's pending tokens."""
        counts = [len(lane.pending) for lane in lanes]
        positions = self._cache.extend(
            [lane.index for lane in lanes], [len(lane.fed) for lane in lanes], counts
        )
        ids = [token for lane in lanes for token in lane.pending]
        last = torch.tensor(counts).cumsum(0) - 1
        for lane in lanes:
            lane.fed += lane.pending
            lane.pending = []
        with _settled(self._model):
            return self._logits(
                torch.tensor(ids, device=positions.device), positions, last.to(positions.device)
            )

    def _logits(self, ids: Tensor, positions: Tensor, kept: Tensor) -> Tensor:
        if self._lean is not None:
            return self._lean(ids, positions, kept, self._cache).float()
        output = self._model(
            input_ids=ids[None],
            position_ids=positions[None],
            packing=self._cache,
            use_cache=False,
            logits_to_keep=kept,
        )
        logits: Tensor = output.logits[0].float()
        return logits

    def _follow_forced(self, request: LaneRequest) -> bool:
        """Append tokens that the constraint leaves no choice about; True when it is whole."""
        while request.node is not None and len(request.node) == 1:
            (token,) = request.node
            self._append(request, token, 0.0)
            request.forced += 1
            if self._is_whole(request, token):
                return True
        return False

    def _is_whole(self, request: LaneRequest, token: int) -> bool:
        ended = token in request.params.stop_ids or (request.node is not None and not request.node)
        if not ended and len(request.ids) < request.params.max_tokens:
            return False
        completion = request.completion("end" if ended else "length")
        if not request.future.done():
            request.future.set_result(completion)
            drawn = len(completion.ids) - request.forced
            self._counts.update(useful=drawn, forced=request.forced)
        return True

    def _append(self, request: LaneRequest, token: int, logprob: float) -> None:
        request.ids.append(token)
        request.logprobs.append(logprob)
        request.versions.append(self.policy_version)
        request.allowed.append(None if request.node is None else tuple(request.node))
        request.lane.pending.append(token)
        if request.node is not None:
            request.node = request.node[token]


def _what_to_draw(request: LaneRequest) -> Draw:
    admitted = None if request.node is None else tuple(request.node)
    return Draw(request.params.temperature, request.lane.random.random(), admitted)


@contextmanager
def _settled(model: PreTrainedModel) -> Iterator[None]:
    """The model without dropout, whatever the trainer has set."""
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()
