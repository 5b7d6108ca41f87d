"""Several engines, each in a Ray actor, wherever the cluster has room, asked as if they were one.

A session stays with its engine, whose cache holds what it has read. An engine that is lost is made
anew with the present weights, and only what it was asked is asked again: the random numbers that
the session had drawn are passed over, so the embedded engine gives the tokens that the lost one
would have given.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from longstep_agents.model import EngineError, SamplingParams
from longstep_agents.models.engine import Statistics
from longstep_agents.models.replica import Engine, Replica, pack
from longstep_agents.types import Completion
from longstep_envs.packages import package

_UNEVEN = 4
"""Sessions by which an engine may be ahead of the idlest, for the sake of a prompt it has read."""
_MOST_LOST = 3
"""Engines that may be lost over one completion."""
_SHOWN = 400
"""Characters of what Ray says that an error repeats."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What each engine takes of the cluster."""

    cpus: float = 1.0
    gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    start_seconds: float = 300.0
    """How long engines may take to find a place and to start."""
    silent_seconds: float = 120.0
    """How long an engine may neither answer nor say that it lives, before it counts as lost."""


@dataclass(slots=True, eq=False)
class _Seat:
    """One engine's place, whichever actor has it."""

    actor: Any
    statistics: Statistics = field(default_factory=Statistics)
    started: bool = False


@dataclass(slots=True)
class _Session:
    """Where a session is asked, and how many random numbers it has drawn."""

    number: int
    prompt: int
    seat: _Seat
    drawn: int


class _SilentError(Exception):
    """An actor neither answers nor says that it lives."""


class Replicas:
    """Samples with several engines; see `longstep_agents.model.Model`."""

    def __init__(
        self,
        make: Callable[[], Engine],
        count: int,
        weights: Mapping[str, Tensor],
        demand: Demand = Demand(),
    ) -> None:
        """Start `count` engines, each as `make` makes it; returns when all can sample.

        Raises:
            MissingPackageError: Ray is not installed.
            EngineError: there is no cluster, or no room on it, or an engine does not start.
        """
        self._ray = package("ray", "cluster")
        self._losses = (self._ray.exceptions.RayError, _SilentError)
        if not self._ray.is_initialized():
            raise EngineError("engines on Ray need a cluster: set cluster.address")
        self._make, self._demand = make, demand
        self._version, self._weights = 0, self._ray.put(pack(weights))
        self._numbers = itertools.count()
        self._sessions: dict[Hashable, _Session] = {}
        self._lost = Statistics()
        self._began = time.perf_counter()
        self._seats = [_Seat(self._start()) for _ in range(count)]
        self.context = self._wait()
        """Tokens of the longest row."""
        self.replaced = 0
        """Engines that were lost."""

    @property
    def statistics(self) -> Statistics:
        """What all of them have done, those that were lost included."""
        done = _sum([self._lost, *(seat.statistics for seat in self._seats)])
        busy = done.busy_seconds / len(self._seats)
        return replace(done, busy_seconds=busy, seconds=time.perf_counter() - self._began)

    async def sample(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """One completion, of the session's engine.

        Raises:
            EngineError: what the engine raised, or several engines were lost.
        """
        if params.session is None:
            params = replace(params, session=object())
            try:
                return await self.sample(prompt_ids, params)
            finally:
                self.release(params.session)
        session = self._session(prompt_ids, params)
        ids = np.asarray(prompt_ids)
        for _ in range(_MOST_LOST):
            seat, actor = session.seat, session.seat.actor
            asked = replace(params, session=session.number, drawn=session.drawn)
            try:
                completion, statistics = await self._answer(seat, actor.sample.remote(ids, asked))
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._losses:
                self._replace(seat, actor)
                continue
            if seat.actor is actor:  # else its count went into that of lost ones
                seat.statistics = statistics
            session.drawn += len(completion.choices)
            return completion  # type: ignore[no-any-return]  # it came through Ray
        raise EngineError(f"{_MOST_LOST} engines were lost over one completion; see Ray's logs")

    def release(self, session: Hashable) -> None:
        """Forget a session and free what it holds."""
        known = self._sessions.pop(session, None)
        if known is not None:
            known.seat.actor.release.remote(known.number)

    async def load(self, weights: Mapping[str, Tensor], policy_version: int) -> None:
        """Put the weights into the object store, once, and let all engines take them.

        Nothing may be under way.
        """
        self._version, self._weights = policy_version, self._ray.put(pack(weights))
        await asyncio.gather(*(self._load(seat) for seat in self._seats))

    async def close(self) -> None:
        """End all engines."""
        for seat in self._seats:
            self._ray.kill(seat.actor)

    async def _load(self, seat: _Seat) -> None:
        actor = seat.actor
        try:
            await self._answer(seat, actor.take.remote(self._weights, self._version))
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._losses:
            self._replace(seat, actor)  # which starts with the present weights

    async def _answer(self, seat: _Seat, call: Awaitable[Any]) -> Any:
        """What a call gives, however long it takes, as long as its actor lives."""
        actor, answer = seat.actor, asyncio.ensure_future(call)
        demand = self._demand
        try:
            while not (await asyncio.wait([answer], timeout=demand.silent_seconds))[0]:
                patience = demand.silent_seconds if seat.started else demand.start_seconds
                async with asyncio.timeout(patience):
                    await actor.pid.remote()
                seat.started = seat.started or seat.actor is actor
        except TimeoutError:
            raise _SilentError from None
        finally:
            answer.cancel()
        return answer.result()

    def _session(self, prompt_ids: Sequence[int], params: SamplingParams) -> _Session:
        session = self._sessions.get(params.session)
        if session is None:
            prompt = hash(tuple(prompt_ids))
            seat = self._choose(prompt)
            session = _Session(next(self._numbers), prompt, seat, params.drawn)
            self._sessions[params.session] = session
        return session

    def _choose(self, prompt: int) -> _Seat:
        """The engine that has read the same prompt, unless it has more to do; else the idlest."""
        load = Counter(id(session.seat) for session in self._sessions.values())
        idlest = min(self._seats, key=lambda seat: load[id(seat)])
        for session in self._sessions.values():
            if session.prompt == prompt and load[id(session.seat)] < load[id(idlest)] + _UNEVEN:
                return session.seat
        return idlest

    def _replace(self, seat: _Seat, lost: Any) -> None:
        """Another actor in place of the one that was lost, unless there is one already."""
        if seat.actor is not lost:
            return
        self.replaced += 1
        self._ray.kill(lost)
        self._lost = _sum([self._lost, seat.statistics])
        seat.actor, seat.statistics, seat.started = self._start(), Statistics(), False

    def _start(self) -> Any:
        demand = self._demand
        options = {"num_cpus": demand.cpus, "num_gpus": demand.gpus}
        actor = self._ray.remote(**options, resources=dict(demand.resources))(Replica)
        threads = max(1, int(demand.cpus))
        return actor.remote(self._make, self._weights, self._version, threads)

    def _wait(self) -> int:
        """Until all can sample; the context of the least of them."""
        try:
            asked = [seat.actor.context.remote() for seat in self._seats]
            context = min(self._ray.get(asked, timeout=self._demand.start_seconds))
        except self._ray.exceptions.GetTimeoutError:
            raise EngineError(
                f"{len(self._seats)} engines did not start within {self._demand.start_seconds:g} "
                f"s; each wants {self._demand}, the cluster has {self._ray.cluster_resources()}"
            ) from None
        except self._ray.exceptions.RayError as error:
            raise EngineError(
                f"an engine does not start: {' '.join(str(error).split())[-400:]}"
            ) from error
        for seat in self._seats:
            seat.started = True
        return int(context)


def _sum(parts: Sequence[Statistics]) -> Statistics:
    return Statistics(*(sum(column) for column in zip(*map(astuple, parts), strict=True)))
