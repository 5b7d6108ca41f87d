"""Plays many episodes at once, here or in worker processes, and loses none.

Every dispatched episode is reported exactly once. A fault of an environment costs the episodes
that stand on it: they are played again, from their reset, in another environment.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Generic, Literal, Self, TypeVar, get_args

import gymnasium

from longstep_envs.accounts import Accounts
from longstep_envs.backends import ClusterBackend, LocalBackend, PoolError, WorkerBackend
from longstep_envs.budget import Budget
from longstep_envs.callers import Here, OwnThread
from longstep_envs.cluster import Cluster, connect
from longstep_envs.line import ProcessLine
from longstep_envs.link import hello
from longstep_envs.nursery import Nursery
from longstep_envs.process import CAN_WATCH
from longstep_envs.ray_line import RayLine
from longstep_envs.registry import ENVS, load
from longstep_envs.slots import Lease, Slot, close_quietly
from longstep_envs.types import BadValueError, ContractError, ErrorInfo, Limits
from longstep_envs.worker import Recipe, describe_error

R = TypeVar("R")
T = TypeVar("T")
Mode = Literal["inline", "threads", "process", "ray"]
_INNOCENT_RESTARTS = 20
"""Restarts of an episode through faults of its neighbours, before it is given up as well."""


class Fault(StrEnum):
    """Whose failure ended an episode; the values are those of the runtime's `Outcome`."""

    ENV = "env_error"
    """The environment or its worker failed, after all retries."""
    AGENT = "agent_error"
    """`play` raised; it is never retried."""


@dataclass(frozen=True)
class EpisodeReport(Generic[T]):
    """What became of one request: a result, or an error and whose it is."""

    index: int
    result: T | None
    error: ErrorInfo | None
    attempts: int
    fault: Fault | None = None


class EnvPool:
    """Environments of one id for many episodes at once.

    `inline` plays in this process, one call after another; it cannot stop a call that hangs.
    `threads` plays in this process, each environment in a thread of its own. `process` plays in
    worker processes, each with several environments, which take turns; `ray` does so wherever a
    `cluster` has room, which must be given. `auto` takes the cluster where there is one, and else
    follows the environment's metadata: `thread` inline, `process` in workers, `pinned` in workers
    with one environment each. Environments whose metadata say that each `waits` (for a network,
    say) get a thread or a worker each, so that they wait at the same time.
    """

    def __init__(  # noqa: PLR0913 - all but the first are settings with vetted defaults
        self,
        env_id: str,
        env_kwargs: dict[str, Any] | None = None,
        *,
        limits: Limits | None = None,
        workers: int | None = None,
        envs_per_worker: int = 8,
        retries: int = 2,
        mode: Mode | Literal["auto"] = "auto",
        cluster: Cluster | None = None,
    ) -> None:
        if mode not in ("auto", *get_args(Mode)):
            raise BadValueError(
                f"pool mode {mode!r}; wanted 'auto', 'inline', 'threads', 'process' or 'ray'"
            )
        if (mode == "ray" and cluster is None) or (mode not in ("auto", "ray") and cluster):
            raise BadValueError(f"mode={mode!r} with cluster={cluster}; they come together")
        if workers is None:
            workers = _processors() if cluster is None else cluster.count_workers()
        if workers < 1 or envs_per_worker < 1 or retries < 0:
            raise BadValueError(
                f"workers={workers}, envs_per_worker={envs_per_worker}, retries={retries}; "
                "wanted at least 1, 1 and 0"
            )
        load(env_id)
        kwargs = {**gymnasium.spec(env_id).kwargs, **(env_kwargs or {})}
        self.limits = limits or Limits()
        recipe = Recipe(env_id, ENVS[env_id], kwargs, self.limits)
        metadata = _metadata(recipe)
        self.mode: Mode = "ray" if cluster else _chosen_mode(env_id, metadata, mode)
        self.retries = retries
        self.env_id = env_id
        self.snapshots: str = metadata["snapshot"]
        """The level of the environment's snapshots, as its metadata tells it."""
        self._backend: LocalBackend | WorkerBackend
        if self.mode in ("inline", "threads"):
            self._backend = LocalBackend(recipe, OwnThread if self.mode == "threads" else Here)
        else:
            self._backend = _worker_backend(recipe, metadata, workers, envs_per_worker, cluster)
        self.accounts = Accounts()
        """What became of all episodes so far."""
        self._running = False
        self._closed = False
        self._places = asyncio.Semaphore()

    async def run(
        self,
        requests: Sequence[R],
        play: Callable[[Slot, R], Awaitable[T]],
        *,
        concurrency: int,
        on_report: Callable[[EpisodeReport[T]], object] = lambda _: None,
    ) -> list[EpisodeReport[T]]:
        """Play every request, at most `concurrency` at a time; reports in request order.

        `play` may be called again for a request whose environment failed. What it raises itself
        is reported and not retried. `on_report` gets each report as soon as there is one; what it
        raises ends the run.

        Raises:
            PoolError: the pool is closed or already running.
            BadValueError: `concurrency` is below 1.
        """
        if concurrency < 1:
            raise BadValueError(f"concurrency={concurrency}; wanted at least 1")
        waiting = iter(enumerate(requests))
        reports: dict[int, EpisodeReport[T]] = {}

        async def player() -> None:
            for index, request in waiting:
                reports[index] = await self._episode(index, request, play)
                on_report(reports[index])

        with self.open():
            async with asyncio.TaskGroup() as players:
                for _ in range(min(concurrency, self._backend.capacity, len(requests))):
                    players.create_task(player())
        if len(reports) != len(requests):
            raise PoolError(f"{len(requests)} episodes dispatched, {len(reports)} reported")
        return [reports[index] for index in range(len(requests))]

    @contextmanager
    def open(self) -> Iterator[None]:
        """While this is open, in one event loop, `play` may be called at any time.

        Raises:
            PoolError: the pool is closed or already running.
        """
        if self._closed or self._running:
            state = "is closed" if self._closed else "plays one run at a time"
            raise PoolError(f"the pool {state}; make another EnvPool")
        self._running = True
        self._places = asyncio.Semaphore(self._backend.capacity)
        try:
            self._backend.begin()
            yield
            self.accounts.check()
        finally:
            self._backend.end()
            self._running = False

    async def play(
        self, request: R, play: Callable[[Slot, R], Awaitable[T]], *, index: int = 0
    ) -> EpisodeReport[T]:
        """One episode, as soon as there is an environment for it, beside whatever else is played.

        Raises:
            PoolError: the pool is not open.
        """
        if not self._running:
            raise PoolError("the pool is not open; play in `with pool.open():`, or use `run`")
        async with self._places:
            return await self._episode(index, request, play)

    def close(self) -> None:
        """Close every environment and end every worker. Harmless when done twice."""
        self._closed = True
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def _episode(
        self, index: int, request: R, play: Callable[[Slot, R], Awaitable[T]]
    ) -> EpisodeReport[T]:
        with self.accounts.episode() as account:
            report = await self._tries(index, request, play)
            account.close("played" if report.fault is None else report.fault, report.attempts)
            return report

    async def _tries(
        self, index: int, request: R, play: Callable[[Slot, R], Awaitable[T]]
    ) -> EpisodeReport[T]:
        attempts, own_faults = 0, 0
        budget = Budget(self.limits.episode_seconds)
        slot: Lease | None = None
        while True:
            attempts += 1
            budget.begin()
            slot = self._backend.lease(budget, slot)
            result, error = await _attempt(slot, request, play)
            self._backend.tidy()
            if slot.fault is None:
                fault = None if error is None else Fault.AGENT
                return EpisodeReport(index, result, error, attempts, fault)
            told = self._named(slot.fault)
            own_faults += slot.own
            if not slot.own:
                budget.forgive()
            if told["retryable"] and budget.spent:
                told = budget.fault(attempts, told)
            innocent = attempts - own_faults
            if own_faults > self.retries or innocent > _INNOCENT_RESTARTS or not told["retryable"]:
                return EpisodeReport(index, None, told, attempts, Fault.ENV)

    def _named(self, fault: ErrorInfo) -> ErrorInfo:
        """The same, with the environment where its own code is what has to be mended."""
        if fault["type"] != ContractError.__name__:
            return fault
        return ErrorInfo(**{**fault, "message": f"{self.env_id}: {fault['message']}"})


async def _attempt(
    slot: Lease, request: R, play: Callable[[Slot, R], Awaitable[T]]
) -> tuple[T | None, ErrorInfo | None]:
    """One try. A fault of the environment stands in `slot.fault`, whatever `play` made of it."""
    try:
        return await play(slot, request), None
    except (Exception, asyncio.CancelledError) as error:  # `play` is the caller's code
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # the run is given up; else `play` raised it, and that is a report as well
        return None, ErrorInfo(**{**describe_error(error), "retryable": False})
    finally:
        slot.release()


def _worker_backend(
    recipe: Recipe,
    metadata: Mapping[str, Any],
    workers: int,
    places: int,
    cluster: Cluster | None,
) -> WorkerBackend:
    """Workers of so many places; of one each, where environments wait or bear no others."""
    share = 1.0
    if metadata["concurrency"] == "pinned":
        places = 1
    elif metadata.get("waits"):
        workers, places, share = workers * places, 1, 1 / places
    first = hello(recipe)
    if recipe.limits.worker_mb is not None and not CAN_WATCH:
        raise BadValueError("Limits.worker_mb needs /proc, as Linux has it; set it to None")
    if cluster is None:
        nursery = Nursery(recipe.limits.worker_mb)
        start = partial(ProcessLine, first, nursery.make)
        return WorkerBackend(recipe.limits, start, workers=workers, places=places, nursery=nursery)
    connect(cluster)
    on_ray = partial(RayLine, cluster, first, share)
    return ClusterBackend(recipe.limits, on_ray, workers=workers, places=places)


def _chosen_mode(env_id: str, metadata: Mapping[str, Any], mode: Mode | Literal["auto"]) -> Mode:
    level = metadata["concurrency"]
    if mode == "threads" and level != "thread":
        raise BadValueError(
            f"{env_id} cannot be played in mode='threads': its metadata say concurrency "
            f"{level!r}, wanted 'thread'; use mode='process' or 'auto'"
        )
    if mode != "auto":
        return mode
    if level != "thread":
        return "process"
    return "threads" if metadata.get("waits") else "inline"


def _metadata(recipe: Recipe) -> Mapping[str, Any]:
    """Of the class, or of an instance, which may be stricter than its class, by its options."""
    declared: Mapping[str, Any] = load(recipe.env_id).metadata
    if declared["concurrency"] != "thread":
        return declared
    env = recipe.make()
    declared = env.metadata
    close_quietly(env)
    return declared


def _processors() -> int:
    """Processors that this process may use, which a container can make fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
