"""The thread in which episodes go on while the policy is trained."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from queue import SimpleQueue
from typing import Any

from longstep_agents.agent import Act, Agent
from longstep_agents.rollout import AgentFactory, EpisodeRequest, collect_one, spread
from longstep_agents.types import Group, Trajectory
from longstep_envs import EnvPool
from longstep_envs.types import Info, LongstepError
from longstep_training.engines import Sampler
from longstep_training.staleness import Account, Usage

_CLOSE_SECONDS = 30.0
Stage = Callable[[int | None], tuple[EnvPool, AgentFactory]]
"""The environments and the agents of training, by turn limit."""


class GivenUpError(LongstepError, RuntimeError):
    """The episode is of a group that nobody waits for any more."""


@dataclass(slots=True, eq=False)
class Order:
    """A group that was drawn: what to play, and how far it has come."""

    request: EpisodeRequest
    siblings: int
    turns: int | None = None
    """The turn limit, in place of `train.turns`."""
    begun: int | None = None
    """The version of the policy when it first acted; no token is older."""
    group: Group | None = None
    given_up: bool = False

    @property
    def drawn(self) -> dict[str, Any]:
        """What it takes to play it again, as JSON can say it."""
        return {"request": asdict(self.request), "siblings": self.siblings, "turns": self.turns}


class EpisodeThread:
    """An event loop with all episodes and the sampler, in a thread of its own.

    The public methods are called by the trainer's thread; they and the fields of an `Order` are all
    that the two share.
    """

    def __init__(self, sampler: Sampler, stage: Stage, concurrency: int) -> None:
        self.version = 0
        self._usage = Usage()
        self._sampler, self._stage = sampler, stage
        self._room = asyncio.Semaphore(concurrency)
        self._stages: dict[int | None, tuple[EnvPool, AgentFactory]] = {}
        self._pools = ExitStack()
        self._playing: set[asyncio.Task[None]] = set()
        self._told: SimpleQueue[Exception | None] = SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rollouts", daemon=True)
        self._thread.start()

    def begin(self, orders: Sequence[Order]) -> None:
        """Play these as well."""
        for order in orders:
            self._loop.call_soon_threadsafe(self._begin, order)

    def wait(self) -> None:
        """Until a group is whole. Raises what has ended one."""
        error = self._told.get()
        if error is not None:
            raise error

    def change(self, version: int) -> Account:
        """Let the sampler take the policy's weights, which do not change until this returns.

        Returns what was under way since this was called last.
        """
        return asyncio.run_coroutine_threadsafe(self._change(version), self._loop).result()

    def close(self) -> None:
        """End the thread and what it plays; one that hangs is left behind."""
        if self._thread.is_alive():
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._give_up(), self._loop).result(_CLOSE_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_CLOSE_SECONDS)

    def _begin(self, order: Order) -> None:
        self._usage.change(1)
        task = self._loop.create_task(self._play(order))
        self._playing.add(task)
        task.add_done_callback(self._playing.discard)

    async def _play(self, order: Order) -> None:
        error = None
        try:
            pool, make_agent = self._staged(order.turns)
            episodes = [
                self._episode(order, pool, request, make_agent)
                for request in spread(order.request, order.siblings)
            ]
            order.group = Group(tuple(await asyncio.gather(*episodes)))
        except Exception as raised:  # whatever it is, the trainer is to hear of it
            error = raised
        finally:
            self._usage.change(-1)
        self._told.put(error)

    async def _episode(
        self, order: Order, pool: EnvPool, request: EpisodeRequest, make_agent: AgentFactory
    ) -> Trajectory:
        async with self._room:
            if order.given_up:
                return Trajectory()
            return await collect_one(
                pool, request, lambda asked: _Watched(make_agent(asked), order, self)
            )

    def _staged(self, turns: int | None) -> tuple[EnvPool, AgentFactory]:
        if turns not in self._stages:
            self._stages[turns] = self._stage(turns)
            self._pools.enter_context(self._stages[turns][0].open())
        return self._stages[turns]

    async def _change(self, version: int) -> Account:
        await self._sampler.change(version)
        self.version = version
        return self._usage.take()

    async def _give_up(self) -> None:
        everything = asyncio.all_tasks() - {asyncio.current_task()}
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)
        self._pools.close()


class _Watched:
    """An agent that tells which policy its group began with, and stops when nobody waits for it."""

    def __init__(self, agent: Agent, order: Order, thread: EpisodeThread) -> None:
        self._agent, self._order, self._thread = agent, order, thread

    async def act(self, observation: str, info: Info) -> Act:
        """What the agent does, if anybody still wants it."""
        if self._order.given_up:
            raise GivenUpError("the group is too far behind the policy to be learnt from")
        if self._order.begun is None:
            self._order.begun = self._thread.version
        return await self._agent.act(observation, info)

    def close(self) -> None:
        """Free what the agent holds."""
        self._agent.close()
