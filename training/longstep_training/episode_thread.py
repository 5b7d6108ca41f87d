"""The thread in which episodes go on while the policy is trained."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from queue import SimpleQueue
from typing import Any, Self

from longstep_agents.agent import Act, Agent
from longstep_agents.rollout import AgentFactory, EpisodeRequest, spread
from longstep_agents.suspension import Continuing, Flight, Suspended, fly_one
from longstep_agents.types import Completion, Group, Step, Trajectory
from longstep_envs import EnvPool
from longstep_envs.types import Info, LongstepError
from longstep_training.engines import Sampler
from longstep_training.interruption import Interruption
from longstep_training.staleness import Account, Usage
from longstep_training.tape import read, size, tell

_CLOSE_SECONDS = 30.0
_MOST_TOLD = 10_000_000
"""Tokens of the groups that a checkpoint tells whole: some 300 MB."""
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
    given_up: bool = False
    flights: list[Flight] = field(default_factory=list)
    """Its episodes."""
    group: Group | None = None

    def __post_init__(self) -> None:
        if not self.flights:
            requests = spread(self.request, self.siblings)
            self.flights = [Flight(Suspended(request)) for request in requests]

    def tell(self, *, whole: bool = True) -> dict[str, Any]:
        """How far it has come, as JSON can say it; or only what it takes to play it anew."""
        return {
            "request": asdict(self.request),
            "siblings": self.siblings,
            "turns": self.turns,
            "begun": self.begun if whole else None,
            "episodes": [tell(flight, whole=whole) for flight in self.flights],
        }

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """The group that was told so; what of it is not told is played from its beginning."""
        flights = [read(episode) for episode in told["episodes"]]
        request = EpisodeRequest(**told["request"])
        return cls(request, told["siblings"], told["turns"], told["begun"], flights=flights)


class EpisodeThread:
    """An event loop with all episodes and the sampler, in a thread of its own.

    The public methods are called by the trainer's thread; they and the fields of an `Order` are all
    that the two share.
    """

    def __init__(
        self, sampler: Sampler, stage: Stage, concurrency: int, interruption: Interruption
    ) -> None:
        self.version = 0
        self._interruption = interruption
        self._usage = Usage()
        self._sampler, self._stage = sampler, stage
        self._room = asyncio.Semaphore(concurrency)
        self._stages: dict[int | None, tuple[EnvPool, AgentFactory]] = {}
        self._pools = ExitStack()
        self._playing: set[asyncio.Task[None]] = set()
        self._told: SimpleQueue[Exception | None] = SimpleQueue()
        self._hooks = ExitStack()
        self._hooks.enter_context(interruption.calling(self._leave))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rollouts", daemon=True)
        self._thread.start()

    def begin(self, orders: Sequence[Order]) -> None:
        """Play these as well."""
        for order in orders:
            self._loop.call_soon_threadsafe(self._begin, order)

    def wait(self) -> None:
        """Until a group is whole, or the run is to end. Raises what has ended one."""
        error = self._told.get()
        if error is not None:
            raise error

    def tell(self, orders: Sequence[Order]) -> list[dict[str, Any]]:
        """How far these have come; all of them at the same time."""

        async def told() -> list[dict[str, Any]]:
            if self._interruption.asked and self._playing:
                spare = self._interruption.remaining() - self._interruption.grace / 2
                await asyncio.wait(self._playing, timeout=max(0.0, spare))
            return tell_orders(orders)

        return asyncio.run_coroutine_threadsafe(told(), self._loop).result()

    def change(self, version: int) -> Account:
        """Let the sampler take the policy's weights, which do not change until this returns.

        Returns what was under way since this was called last.
        """
        return asyncio.run_coroutine_threadsafe(self._change(version), self._loop).result()

    def close(self) -> None:
        """End the thread and what it plays; one that hangs is left behind."""
        self._hooks.close()
        if self._thread.is_alive():
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._give_up(), self._loop).result(_CLOSE_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_CLOSE_SECONDS)

    def _leave(self) -> None:
        """The run is to end: let episodes end where they are, and the trainer look."""
        self._sampler.pause()
        self._told.put(None)

    def _begin(self, order: Order) -> None:
        self._usage.change(1)
        task = self._loop.create_task(self._play(order))
        self._playing.add(task)
        task.add_done_callback(self._playing.discard)

    async def _play(self, order: Order) -> None:
        error = None
        try:
            pool, make_agent = self._staged(order.turns)
            episodes = [self._episode(order, pool, flight, make_agent) for flight in order.flights]
            await asyncio.gather(*episodes)
            played = [one.trajectory for one in order.flights if one.trajectory is not None]
            if len(played) == len(order.flights):
                order.group = Group(tuple(played))
        except Exception as raised:  # whatever it is, the trainer is to hear of it
            error = raised
        finally:
            self._usage.change(-1)
        self._told.put(error)

    async def _episode(
        self, order: Order, pool: EnvPool, flight: Flight, make_agent: AgentFactory
    ) -> None:
        async with self._room:
            if order.given_up:
                flight.trajectory = Trajectory()
            elif flight.trajectory is None:
                await fly_one(
                    pool,
                    flight,
                    lambda request: _watched(make_agent(request), order, self),
                    leaving=lambda: self._interruption.asked,
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


def tell_orders(orders: Sequence[Order]) -> list[dict[str, Any]]:
    """How far groups have come, as JSON can say it.

    Of the newest, only what it takes to play them anew, where all would make a file too large.
    """
    sizes = accumulate(sum(map(size, order.flights)) for order in orders)
    return [
        order.tell(whole=total <= _MOST_TOLD) for order, total in zip(orders, sizes, strict=True)
    ]


def _watched(agent: Agent, order: Order, thread: EpisodeThread) -> Agent:
    if isinstance(agent, Continuing):
        return _WatchedOnTheWay(agent, order, thread)
    return _Watched(agent, order, thread)


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


class _WatchedOnTheWay(_Watched):
    """One that can go on from the middle of an episode."""

    _agent: Continuing

    async def resume(
        self, steps: Sequence[Step], observation: str, *, anew: bool = False
    ) -> list[Act]:
        """Lead the agent there."""
        return await self._agent.resume(steps, observation, anew=anew)

    def take_up(self, begun: Completion, drawn: int, session: object = None) -> None:
        """Let the agent go on with what was sampled."""
        self._agent.take_up(begun, drawn, session)
