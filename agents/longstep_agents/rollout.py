"""Episodes: the only place that loops over an environment."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from longstep_agents.agent import Act, Agent, Aside
from longstep_agents.model import ContextError, EngineError, OverBudgetError
from longstep_agents.types import Group, Outcome, Step, Trajectory
from longstep_envs.pool import EnvPool, EpisodeReport
from longstep_envs.slots import Slot
from longstep_envs.types import Info, Limits, StopReason


@dataclass(frozen=True, slots=True)
class EpisodeRequest:
    """One episode to play."""

    task_id: str
    seed: int = 0
    """Seeds the environment; the same for all siblings of a group."""
    agent_seed: int = 0
    """Seeds the agent's choices; different for every episode."""
    expert: bool | str = False
    """Ask the environment for its expert plan, of this kind."""


AgentFactory = Callable[[EpisodeRequest], Agent]


@dataclass(slots=True)
class Way:
    """How far an episode has come."""

    observation: str
    info: Info
    about: Info
    """What the environment told first."""
    steps: list[Step] = field(default_factory=list)
    tokens: int = 0
    over: bool = False
    truncated: bool = False
    stop_reason: str = ""
    said: str | None = None
    """What the environment said last; None where the agent sees just that."""
    invalid: int = 0
    """Actions in a row that the environment told to be invalid."""

    def end(self, reason: str, *, truncated: bool) -> None:
        """The episode is over."""
        self.over, self.truncated, self.stop_reason = True, truncated, reason

    def trajectory(self, request: EpisodeRequest, seconds: float) -> Trajectory:
        """What is recorded of it; one that is not over was left where it is."""
        about = self.about.get("extra", {})
        return Trajectory(
            steps=tuple(self.steps),
            task_id=request.task_id,
            seed=request.seed,
            split=self.about.get("split", ""),
            task_type=str(about.get("task_type", "")),
            provenance=str(about.get("provenance", "")),
            outcome=Outcome.OK if self.over and not self.truncated else Outcome.TRUNCATED,
            stop_reason=self.stop_reason if self.over else StopReason.CANCELLED,
            success=bool(self.info.get("success", False)),
            score=float(self.info.get("score", 0.0)),
            seconds=seconds,
            final_observation=self.observation,
        )


async def play_episode(
    slot: Slot, request: EpisodeRequest, agent: Agent, limits: Limits
) -> Trajectory:
    """Let `agent` act until the environment, or a limit, ends the episode.

    What the agent does for itself, with its own tools or its memory, costs a turn as well. Of
    `limits`, `turns` and `tokens` are enforced here; the pool enforces the others.
    """
    started = time.perf_counter()
    observation, info = await slot.reset(request.task_id, request.seed, expert=request.expert)
    way = Way(observation, info, info)
    await go_on(slot, agent, limits, way)
    return way.trajectory(request, time.perf_counter() - started)


async def go_on(slot: Slot, agent: Agent, limits: Limits, way: Way) -> None:
    """Let `agent` act from where the episode is to its end."""
    while not way.over:
        act = await choose(agent, way)
        if act is not None:
            await carry_out(slot, act, limits, way)


async def choose(agent: Agent, way: Way) -> Act | None:
    """What the agent does next; None where it cannot go on, which ends the episode."""
    try:
        return await agent.act(way.observation, way.info)
    except ContextError:
        if not way.steps:
            raise  # not one prompt fits: that is no episode
        way.end(StopReason.CONTEXT_LIMIT, truncated=True)
    except OverBudgetError as error:
        way.end(error.reason, truncated=True)
    return None


async def carry_out(slot: Slot, act: Act, limits: Limits, way: Way) -> None:
    """Give an act to the environment, unless it was the agent's own matter, and record it."""
    if act.aside is None:
        after, reward, terminated, truncated, info = await slot.step(act.action)
        way.steps.append(_acted_step(way.observation, way.info, act, reward, info))
        way.observation, way.info, way.said = after, info, None
        way.invalid = 0 if info.get("action_valid", True) else way.invalid + 1
        if terminated or truncated:
            way.end(info.get("stop_reason", ""), truncated=truncated)
    else:
        way.steps.append(_aside_step(act, act.aside))
        way.said = way.observation if way.said is None else way.said
        way.observation = act.aside.answer
        if act.aside.ends:
            way.end(act.aside.ends, truncated=True)
    way.tokens += len(act.bridge_ids) + len(act.completion.ids)
    reached = _limit_reached(limits, len(way.steps), way.tokens)
    if reached and not way.over:
        way.end(reached, truncated=True)


async def collect(
    pool: EnvPool,
    requests: Sequence[EpisodeRequest],
    make_agent: AgentFactory,
    *,
    concurrency: int = 256,
    on_end: Callable[[EpisodeRequest, Trajectory], object] = lambda _, __: None,
) -> list[Trajectory]:
    """Play all requests; the result has one trajectory for each, in order, failed ones too.

    `on_end` is told of each as soon as it has ended.
    """

    def tell(report: EpisodeReport[Trajectory]) -> None:
        request = requests[report.index]
        on_end(request, reported(pool, request, report))

    play = _player(pool, make_agent)
    reports = await pool.run(requests, play, concurrency=concurrency, on_report=tell)
    return [reported(pool, *pair) for pair in zip(requests, reports, strict=True)]


async def collect_one(
    pool: EnvPool, request: EpisodeRequest, make_agent: AgentFactory
) -> Trajectory:
    """Play one request in an open pool; the trajectory may be a failed one."""
    return reported(pool, request, await pool.play(request, _player(pool, make_agent)))


def spread(request: EpisodeRequest, siblings: int) -> list[EpisodeRequest]:
    """The requests of a group: they differ in `agent_seed` only."""
    return [replace(request, agent_seed=request.agent_seed + i) for i in range(siblings)]


async def collect_groups(
    pool: EnvPool,
    requests: Sequence[EpisodeRequest],
    make_agent: AgentFactory,
    *,
    siblings: int,
    concurrency: int = 256,
) -> list[Group]:
    """For each request, a group of `siblings` episodes that differ in `agent_seed` only."""
    everyone = [sibling for request in requests for sibling in spread(request, siblings)]
    played = await collect(pool, everyone, make_agent, concurrency=concurrency)
    return [Group(tuple(played[i : i + siblings])) for i in range(0, len(played), siblings)]


def _player(
    pool: EnvPool, make_agent: AgentFactory
) -> Callable[[Slot, EpisodeRequest], Awaitable[Trajectory]]:
    """How an episode is played on a slot of the pool."""

    async def play(slot: Slot, request: EpisodeRequest) -> Trajectory:
        agent = make_agent(request)
        try:
            return await play_episode(slot, request, agent, pool.limits)
        except EngineError as error:
            return failed(request, Outcome.INFRA_ERROR, error)
        finally:
            agent.close()

    return play


def _acted_step(observation: str, info: Info, act: Act, reward: float, after: Info) -> Step:
    """What is recorded of an act that was given to the environment."""
    return Step(
        observation=observation,
        action=act.action,
        reward=reward,
        state_key=info.get("state_key", ""),
        bridge_ids=act.bridge_ids,
        begins_row=act.begins_row,
        completion=act.completion,
        action_valid=act.valid and bool(after.get("action_valid", True)),
        reward_parts=after.get("reward_parts", {}),
        record=after.get("extra", {}).get("record", {}),
        admissible=tuple(info.get("admissible_commands", ())),
        reasoning=act.reasoning,
        unsayable=act.unsayable,
        shown=act.shown,
    )


def _aside_step(act: Act, aside: Aside) -> Step:
    """A step that the environment knows nothing of: no reward, and no state to be compared."""
    return Step(
        observation=aside.observation,
        action=act.action,
        bridge_ids=act.bridge_ids,
        begins_row=act.begins_row,
        completion=act.completion,
        action_valid=act.valid,
        admissible=aside.admissible,
        target=aside.target,
        fault=aside.fault,
        reasoning=act.reasoning,
        unsayable=act.unsayable,
        shown=act.shown,
    )


def _limit_reached(limits: Limits, turns: int, tokens: int) -> StopReason | None:
    """The limit that an episode of so many turns and tokens has reached."""
    if limits.turns is not None and turns >= limits.turns:
        return StopReason.TURN_LIMIT
    if limits.tokens is not None and tokens >= limits.tokens:
        return StopReason.TOKEN_LIMIT
    return None


def reported(
    pool: EnvPool,
    request: EpisodeRequest,
    report: EpisodeReport[Trajectory] | EpisodeReport[Trajectory | None],
) -> Trajectory:
    """The played trajectory, or an empty one that carries the fault and no reward."""
    played = report.result if report.result is not None else unplayed(request, report)
    return replace(played, env_id=pool.env_id, attempts=report.attempts)


def unplayed(request: EpisodeRequest, report: EpisodeReport[Any]) -> Trajectory:
    """What is reported of an episode that brought no result: its fault, and no reward."""
    error = report.error
    cause = f"{error['type']}: {error['message']}" if error is not None else "no result"
    return failed(request, Outcome(report.fault or Outcome.INFRA_ERROR), cause)


def failed(request: EpisodeRequest, outcome: Outcome, cause: str | Exception) -> Trajectory:
    """What is reported of an episode that did not come to its end."""
    if isinstance(cause, Exception):
        cause = f"{type(cause).__name__}: {cause}"
    return Trajectory(
        task_id=request.task_id,
        seed=request.seed,
        outcome=outcome,
        stop_reason=StopReason.ERROR,
        error=cause,
    )
