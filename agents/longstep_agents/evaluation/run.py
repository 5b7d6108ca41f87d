"""Plays an evaluation: every attempt once, faults again, each on disk as soon as it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from longstep_agents.config import Config
from longstep_agents.evaluation.contestants import Budget, Budgeted, Contestant
from longstep_agents.evaluation.header import make_header
from longstep_agents.evaluation.log import EvaluationLog, Row, is_fault, key_of
from longstep_agents.evaluation.plan import Key, Planned, plan
from longstep_agents.rollout import EpisodeRequest, collect
from longstep_agents.trace import trace_row
from longstep_agents.types import Trajectory
from longstep_envs.accounts import Accounts
from longstep_envs.pool import EnvPool
from longstep_envs.registry import make
from longstep_envs.types import Limits
from longstep_tasks.suites import Part
from longstep_tasks.types import Task


class EvaluationSettings(Config):
    """How the parts of a suite are played."""

    attempts: PositiveInt = 1
    """Episodes a task."""
    seed: int = 0
    turns: PositiveInt | None = None
    """The turn limit; without it, each part's own."""
    tokens: PositiveInt | None = None
    """The token limit of an episode, environment text included."""
    episode_seconds: PositiveFloat | None = None
    """Wall time of an episode."""
    step_seconds: PositiveFloat | None = 300.0
    """Wall time of one reset or step of an environment, after which its worker is replaced."""
    working_seconds: PositiveFloat | None = None
    """An episode's time without waiting for endpoints."""
    cost: PositiveFloat | None = None
    """What an episode may cost, by the engine's prices."""
    tasks: PositiveInt | None = None
    """So many tasks of each part, drawn equally from every type; without it, all."""


class Running(Config):
    """How the machine is used; the results do not depend on it."""

    concurrency: PositiveInt = 32
    """Episodes at a time."""
    workers: PositiveInt | None = None
    """Worker processes of environments that need some; without it, one for each processor."""
    worker_mb: PositiveInt | None = None
    """Memory of a worker process and what it started, in MB; beyond it, it is replaced."""
    worker_episodes: PositiveInt | None = None
    """Episodes after which a worker process is replaced."""
    retries: NonNegativeInt = 2
    """How often an episode is played again that ended in a fault of the environment or machine."""
    tokens: bool = False
    """Keep replies token by token, with log-probabilities, where the model tells them."""


Progress = Callable[[Row, int, int], object]
"""Told of each episode that ended, of how many have, and of how many there are."""


@dataclass(frozen=True)
class Evaluation:
    """What is played, by whom, and how."""

    parts: Sequence[Part]
    contestant: Contestant
    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    running: Running = field(default_factory=Running)
    accounts: Accounts = field(default_factory=Accounts, compare=False)
    """What became of the episodes that were played here; a try is one."""

    def play(
        self, out: Path, *, resume: bool = False, progress: Progress = lambda _, __, ___: None
    ) -> list[Row]:
        """Play what is missing in the folder `out`: a row for every try, also of those before.

        Raises:
            LongstepError: the tasks or the folder cannot be used, or the contestant cannot play.
        """
        tasks = {part.name: self._tasks(part) for part in self.parts}
        attempts, seed = self.settings.attempts, self.settings.seed
        planned = [
            one for part in self.parts for one in plan(part, tasks[part.name], attempts, seed)
        ]
        header = make_header(self.parts, tasks, self.contestant, self.settings)
        with EvaluationLog(out, header, resume=resume) as log:
            ended = log.ended()

            def keep(row: Row) -> None:
                log.add(row)
                if not is_fault(row):
                    ended.add(key_of(row))
                progress(row, len(ended), len(planned))

            if len(ended) < len(planned):
                asyncio.run(self._play_all(planned, ended, keep))
            return log.rows

    async def _play_all(
        self, planned: Sequence[Planned], ended: Collection[Key], keep: Callable[[Row], None]
    ) -> None:
        """Play what has not ended, and what ends in a fault again."""
        await self.contestant.begin()
        try:
            for _ in range(self.running.retries + 1):
                missing = [one for one in planned if one.key not in ended]
                for part, chosen in _together(self.parts, missing):
                    await self._play(part, chosen, keep)
        finally:
            await self.contestant.end()

    def _tasks(self, part: Part) -> Sequence[Task]:
        found = part.load()
        if self.settings.tasks is None or self.settings.tasks >= len(found):
            return found
        return found.sample(self.settings.tasks, self.settings.seed, balanced=True)

    async def _play(
        self, part: Part, planned: Sequence[Planned], keep: Callable[[Row], None]
    ) -> None:
        """Play what one pool can."""
        env_id, kwargs = planned[0].task.env_id, dict(planned[0].task.env_kwargs)
        with closing(make(env_id, **kwargs)) as env:
            make_agent = self.contestant.agents(env.tools, self._budget())
        decoder = self.contestant.decoder
        requests = {one.request(expert=self.contestant.expert): one for one in planned}
        playing: dict[EpisodeRequest, Budgeted] = {}

        def begin(request: EpisodeRequest) -> Budgeted:
            playing[request] = make_agent(request)
            return playing[request]

        def end(request: EpisodeRequest, trajectory: Trajectory) -> None:
            told = trace_row(trajectory, decoder=decoder, tokens=self.running.tokens)
            used = _used(trajectory, playing.pop(request, None))
            keep(_place(requests[request]) | used | told)

        # Faults are not retried in the pool: each try is a row of its own.
        limits, workers = self._limits(part), self.running.workers
        concurrency = self.running.concurrency
        with EnvPool(env_id, kwargs, limits=limits, workers=workers, retries=0) as pool:
            await collect(pool, list(requests), begin, concurrency=concurrency, on_end=end)
            self.accounts.add(pool.accounts)

    def _limits(self, part: Part) -> Limits:
        settings = self.settings
        return Limits(
            turns=settings.turns or part.turns,
            tokens=settings.tokens,
            step_seconds=settings.step_seconds,
            episode_seconds=settings.episode_seconds,
            worker_mb=self.running.worker_mb,
            worker_episodes=self.running.worker_episodes,
        )

    def _budget(self) -> Budget:
        return Budget(self.settings.working_seconds, self.settings.cost)


def _together(
    parts: Sequence[Part], planned: Sequence[Planned]
) -> Iterator[tuple[Part, list[Planned]]]:
    """What one pool can play: of one part, and of one environment with the same options."""
    by_name = {part.name: part for part in parts}

    def pool(one: Planned) -> tuple[str, str, str]:
        return one.part, one.task.env_id, repr(sorted(one.task.env_kwargs.items()))

    for (name, _, _), chosen in groupby(planned, pool):
        yield by_name[name], list(chosen)


def _place(one: Planned) -> Row:
    return {
        "phase": "eval",
        "part": one.part,
        "attempt": one.attempt,
        "agent_seed": one.agent_seed,
    }


def _used(trajectory: Trajectory, agent: Budgeted | None) -> Row:
    turns, steps = len(trajectory.steps), trajectory.steps
    if agent is None or not agent.usage.requests:
        fed = sum(len(step.bridge_ids) for step in steps)
        sampled = sum(len(step.completion.ids) for step in steps)
        return {"turns": turns, "tokens": {"prompt": fed, "sampled": sampled}}
    used = agent.usage
    return {
        "turns": turns,
        "tokens": {"prompt": used.prompt_tokens, "sampled": used.completion_tokens},
        "waiting_seconds": round(used.waiting_seconds, 3),
        "cost": agent.cost,
    }
