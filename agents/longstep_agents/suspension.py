"""Episodes that are left in the middle, and gone on with here or in another process.

What an episode has come to is its steps, token by token; what was sampled of the next reply; and
where its environment is, which is told by its actions, as between the processes of a pool: an
environment that arrives elsewhere when they are replayed says so. What cannot be gone on with is
played again from its beginning, with its own seeds.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from longstep_agents.agent import Agent
from longstep_agents.model import EngineError, PausedError
from longstep_agents.rollout import (
    AgentFactory,
    EpisodeRequest,
    Way,
    failed,
    go_on,
    reported,
)
from longstep_agents.strategies.types import Resumable
from longstep_agents.types import Completion, Outcome, Step, Trajectory
from longstep_envs.pool import EnvPool, EpisodeReport
from longstep_envs.slots import Slot
from longstep_envs.types import Info, Snapshot, text_hash


@dataclass(frozen=True, slots=True)
class Suspended:
    """How far an episode has come; at first, nowhere."""

    request: EpisodeRequest
    steps: tuple[Step, ...] = ()
    observation: str = ""
    """What the agent sees next."""
    said: str = ""
    """What the environment said last."""
    split: str = ""
    task_type: str = ""
    provenance: str = ""
    invalid: int = 0
    """Actions in a row that the environment told to be invalid."""
    seconds: float = 0.0
    begun: Completion = field(default_factory=Completion)
    """What was sampled of the next reply."""
    place: int | None = None
    """The order in which the engine would have gone on; None where it was not asked to."""

    @property
    def fresh(self) -> bool:
        """Whether there is nothing to go on with."""
        return not (self.steps or self.begun.ids)

    @property
    def drawn(self) -> int:
        """The tokens that the policy chose."""
        said = (*(step.completion for step in self.steps), self.begun)
        return sum(len(completion.choices) for completion in said)

    def snapshot(self, env_id: str) -> Snapshot:
        """Where its environment is."""
        return Snapshot(
            env_id=env_id,
            task_id=self.request.task_id,
            seed=self.request.seed,
            actions=tuple(s.action for s in self.steps if s.target == "environment"),
            observation_hash=text_hash(self.said),
            provenance=self.provenance,
            outer=(self.seconds, self.invalid, None),
        )


@runtime_checkable
class Continuing(Resumable, Protocol):
    """An agent that can go on with half a reply, too."""

    def take_up(self, begun: Completion, drawn: int, session: object = None) -> None:
        """Go on with what was sampled. See `LanguageAgent.take_up`."""
        ...


@dataclass(slots=True, eq=False)
class Flight:
    """An episode that can be left at any time."""

    start: Suspended
    """Where it is gone on from."""
    attempts: int = 0
    again: bool = False
    """Whether it had to be played again from its beginning."""
    trajectory: Trajectory | None = None
    """Once it is over."""
    _way: Way | None = None
    _began: float = 0.0
    _begun: Completion = field(default_factory=Completion)
    _place: int | None = None

    def left(self) -> Suspended:
        """How far it has come."""
        way, start = self._way, self.start
        if way is None:
            return start if not self.again else Suspended(start.request)
        about = way.about.get("extra", {})
        return Suspended(
            start.request,
            tuple(way.steps),
            way.observation,
            way.observation if way.said is None else way.said,
            way.about.get("split", ""),
            str(about.get("task_type", "")),
            str(about.get("provenance", "")),
            way.invalid,
            time.perf_counter() - self._began,
            self._begun,
            self._place,
        )

    @property
    def stranded(self) -> bool:
        """Whether it was to be gone on with, and its environment did not arrive there."""
        return (
            self.trajectory is not None
            and self.trajectory.outcome == Outcome.ENV_ERROR
            and not self.start.fresh
            and self.attempts == 1
            and self._way is None
        )

    async def play(self, slot: Slot, agent: Agent, pool: EnvPool) -> Trajectory | None:
        """Play on to the end; None where the engine was paused on the way."""
        self._way, self.attempts = None, self.attempts + 1
        resumes = not (self.start.fresh or self.attempts > 1)
        self.again = self.again or (not self.start.fresh and self.attempts > 1)
        if resumes and (pool.snapshots == "none" or not isinstance(agent, Continuing)):
            resumes, self.again = False, True
        used = self.start.seconds if resumes else 0.0
        self._began = time.perf_counter() - used
        self._way = way = await (
            self._return(slot, agent, pool.env_id) if resumes else self._begin(slot)
        )
        if isinstance(agent, Continuing) and self.attempts == 1 and self.start.place is not None:
            begun = self.start if resumes else Suspended(self.start.request)
            agent.take_up(begun.begun, begun.drawn, session_of(self.start.place))
        try:
            await go_on(slot, agent, pool.limits, way)
        except PausedError as paused:
            self._begun, self._place = paused.begun, paused.place
            return None
        return way.trajectory(self.start.request, time.perf_counter() - self._began)

    async def _begin(self, slot: Slot) -> Way:
        request = self.start.request
        observation, info = await slot.reset(request.task_id, request.seed, expert=request.expert)
        return Way(observation, info, info)

    async def _return(self, slot: Slot, agent: Agent, env_id: str) -> Way:
        """Bring environment and agent to where the episode was left."""
        start = self.start
        assert isinstance(agent, Continuing)
        _, info = await slot.restore(start.snapshot(env_id))
        await agent.resume(start.steps, start.observation)
        about = {"task_type": start.task_type, "provenance": start.provenance}
        return Way(
            start.observation,
            info,
            Info(split=start.split, extra={k: v for k, v in about.items() if v}),
            list(start.steps),
            sum(len(step.bridge_ids) + len(step.completion.ids) for step in start.steps),
            said=None if start.said == start.observation else start.said,
            invalid=start.invalid,
        )


def session_of(place: int) -> str:
    """What an engine that goes on knows the conversation by that was broken off there."""
    return f"resumed {place}"


async def fly(
    pool: EnvPool,
    flights: Sequence[Flight],
    make_agent: AgentFactory,
    *,
    concurrency: int,
    leaving: Callable[[], bool],
) -> None:
    """Play all flights that are not over; those that an engine had begun come first, in its order.

    As soon as `leaving` says so, nothing more is begun; what was begun goes on until the engine is
    paused.
    """
    begun = [flight for flight in flights if flight.start.place is not None]
    begun.sort(key=lambda flight: flight.start.place or 0)
    waiting = [*begun, *(flight for flight in flights if flight.start.place is None)]
    waiting = [flight for flight in waiting if flight.trajectory is None]
    play = _player(pool, make_agent, leaving)
    while waiting:
        reports = await pool.run(waiting, play, concurrency=concurrency)
        for flight, report in zip(waiting, reports, strict=True):
            _settle(pool, flight, report)
        waiting = [flight for flight in waiting if flight.stranded]


async def fly_one(
    pool: EnvPool, flight: Flight, make_agent: AgentFactory, leaving: Callable[[], bool]
) -> None:
    """Play one flight in an open pool."""
    play = _player(pool, make_agent, leaving)
    while flight.trajectory is None or flight.stranded:
        _settle(pool, flight, await pool.play(flight, play))
        if flight.trajectory is None:
            return


def _player(
    pool: EnvPool, make_agent: AgentFactory, leaving: Callable[[], bool]
) -> Callable[[Slot, Flight], Awaitable[Trajectory | None]]:
    async def play(slot: Slot, flight: Flight) -> Trajectory | None:
        if leaving():
            return None
        request = flight.start.request
        agent = make_agent(request)
        try:
            return await flight.play(slot, agent, pool)
        except EngineError as error:
            return failed(request, Outcome.INFRA_ERROR, error)
        finally:
            agent.close()

    return play


def _settle(pool: EnvPool, flight: Flight, report: EpisodeReport[Trajectory | None]) -> None:
    """Note what came of it."""
    left = report.result is None and report.error is None and report.fault is None
    flight.trajectory = None if left else reported(pool, flight.start.request, report)
