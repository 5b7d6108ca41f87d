"""Plays episodes for a run: demonstrations, groups of siblings, evaluations."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longstep_agents.agent import Agent
from longstep_agents.conversation import TokenConversation
from longstep_agents.demonstration import DemonstratingAgent, Voice
from longstep_agents.language_agent import AgentKit, LanguageAgent, LanguageAgentConfig
from longstep_agents.messages import Ask, Conversation, Message, Reply
from longstep_agents.model import Model
from longstep_agents.render import Renderer
from longstep_agents.rollout import (
    AgentFactory,
    EpisodeRequest,
    collect,
    collect_groups,
    spread,
)
from longstep_agents.strategies import Cast, Spent, StrategyConfig, search
from longstep_agents.suspension import fly
from longstep_agents.types import Group, Trajectory
from longstep_envs import EnvPool
from longstep_envs.accounts import Accounts
from longstep_envs.registry import make
from longstep_envs.types import LongstepError
from longstep_training.demonstrations import Demonstrations
from longstep_training.distributed import World
from longstep_training.engines import Use, make_sampler
from longstep_training.imitation import draw_requests, make_teacher
from longstep_training.interruption import Interruption
from longstep_training.recipe import EvaluationConfig, TaskSource, TrainConfig
from longstep_training.sampling import Plan
from longstep_training.tape import Tape

T = TypeVar("T")


class RolloutError(LongstepError, RuntimeError):
    """Episodes were asked for and not one could be played."""


def require_some(trajectories: Sequence[Trajectory], world: World = World()) -> None:  # noqa: B008
    """Refuse to go on when every single episode failed: that is no chance, and teaches nothing.

    Raises:
        RolloutError: on every rank, when none of all ranks' trajectories counts.
    """
    counted = sum(t.counts for t in trajectories)
    if not world.sum_values({"counted": counted})["counted"] and trajectories:
        first = trajectories[0]
        raise RolloutError(
            f"none of {len(trajectories)} episodes could be played; task {first.task_id} ended in "
            f"{first.outcome}: {first.error}"
        )


class Patience:
    """Lets batches pass in which every single episode failed, but not many in a row."""

    def __init__(self, most: int, world: World) -> None:
        self._most, self._world = most, world
        self._times = 0

    def check(self, trajectories: Sequence[Trajectory]) -> None:
        """Count the batch.

        Raises:
            RolloutError: on every rank, when so many batches in a row had nothing that counts.
        """
        try:
            require_some(trajectories, self._world)
        except RolloutError:
            self._times += 1
            if self._times > self._most:
                raise
        else:
            self._times = 0


def check_agent(config: TrainConfig) -> None:
    """See, before there is a policy, whether the agent can be had and writes its first prompt.

    Raises:
        LongstepError: the agent's tools cannot be had, or its prompt cannot be written.
    """
    _first_act(config, _Mute())


class Player:
    """The sampler, the agents and the environments of one process.

    Every rank draws the same requests and plays its share of them. All randomness comes from the
    stream that the caller passes in.
    """

    def __init__(
        self,
        world: World,
        config: TrainConfig,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        folder: Path,
        interruption: Interruption | None = None,
    ) -> None:
        self._world, self._config = world, config
        self._interruption = interruption or Interruption(world)
        self.tape = Tape()
        """What was played of the present iteration."""
        self._renderer = Renderer(tokenizer, config.agent.template)
        self._pools: dict[str, EnvPool] = {}
        self._accounts: list[Accounts] = []
        self._played = config.train
        self._spent = Counter(asdict(Spent()))
        self.sampler = make_sampler(
            config.engine,
            model,
            folder,
            Use(
                config.run.concurrency,
                own_weights=config.rl.staleness > 0 or config.run.shard,
                world=world,
            ),
        )

    def check(self) -> None:
        """See whether the agent's first prompt of the first task fits the policy.

        Raises:
            ContextError: it fills the policy's context.
            LongstepError: whatever `check_agent` raises.
        """
        _first_act(self._config, self._conversation(Voice(self._renderer)))

    @cached_property
    def recorded(self) -> Demonstrations | None:
        """What was recorded to be imitated.

        Raises:
            DataError: nothing of it can be.
        """
        settings = self._config.imitation
        if settings.recorded is None or not settings.iterations:
            return None
        source = self._config.train.model_copy(update={"turns": settings.turns})
        kit = _kit(self._config.agent, source)
        context = self.sampler.context
        return Demonstrations(settings.recorded, source, self._renderer, kit, context)

    def demonstrate(self, rng: random.Random) -> list[Group]:
        """Fresh expert demonstrations on training tasks, or recorded ones, one a group.

        What fails is dropped.
        """
        settings, kit = self._config.imitation, _kit(self._config.agent, self._config.train)
        if self.recorded is not None:
            return self._world.share(self.recorded.draw(settings.demonstrations, rng))
        requests = draw_requests(self._draw(rng, settings.demonstrations), rng, settings)

        def make_agent(request: EpisodeRequest) -> Agent:
            teacher = make_teacher(request, settings)
            return DemonstratingAgent(teacher, self._renderer, kit)

        source = self._config.train.model_copy(update={"turns": settings.turns})
        groups = self._collect(source, requests, make_agent, siblings=1)
        require_some([t for group in groups for t in group.trajectories], self._world)
        return [group for group in groups if group.trajectories[0].success]

    def plan(self, count: int, rng: random.Random) -> Plan:
        """So many training tasks, drawn at random."""
        pool = self._config.train.task_ids()
        return Plan(tuple(self._draw(rng, count)), self._config.rl.siblings, pool=pool)

    def sample_groups(self, plan: Plan, rng: random.Random) -> list[Group]:
        """This process's groups of siblings, played by the present policy as `plan` says."""
        requests = draw_seeds(plan, rng)
        source, agent = self._config.train, self._config.agent
        if plan.turns is not None:
            source = source.model_copy(update={"turns": plan.turns})
        if source != self._played and (left := self._pools.pop(_key(self._played), None)):
            left.close()  # of the turn limit before, which does not come again
        self._played = source
        make_agent = self._agents(agent, source)
        if self._config.rl.strategy is None:
            return self._fly(source, requests, make_agent, plan.siblings)
        return self._search(self._config.rl.strategy, source, requests, make_agent, plan.siblings)

    def stage(self, turns: int | None) -> tuple[EnvPool, AgentFactory]:
        """The environments of training, with this limit in place of their own, and its agents."""
        source = self._config.train
        if turns is not None:
            source = source.model_copy(update={"turns": turns})
        return self._pool(source), self._agents(self._config.agent, source)

    def evaluate(self, evaluation: EvaluationConfig) -> list[Trajectory]:
        """Play an evaluation set once; every rank gets all trajectories, in task order."""
        ids = evaluation.task_ids()
        requests = [EpisodeRequest(task, seed=i, agent_seed=i) for i, task in enumerate(ids)]
        agent = self._config.agent.model_copy(update={"temperature": evaluation.temperature})
        mine = self._run(
            collect(
                self._pool(evaluation.tasks),
                self._world.share(requests),
                self._agents(agent, evaluation.tasks),
                concurrency=self._config.run.concurrency,
            )
        )
        require_some(mine, self._world)
        shares = self._world.gather(mine)
        return [shares[i % len(shares)][i // len(shares)] for i in range(len(requests))]

    def take_spent(self) -> dict[str, float]:
        """What the strategy has spent since this was asked last."""
        spent, self._spent = self._spent, Counter(asdict(Spent()))
        return dict(spent)

    @property
    def accounts(self) -> Accounts:
        """What became of all episodes of this process so far."""
        found = Accounts()
        for accounts in self._accounts:
            found.add(accounts)
        return found

    def close(self) -> None:
        """Close every environment, and end the engine."""
        self.sampler.close()
        for pool in self._pools.values():
            pool.close()

    def _agents(
        self, agent: LanguageAgentConfig, source: TaskSource
    ) -> Callable[[EpisodeRequest], LanguageAgent]:
        kit = _kit(agent, source)
        return lambda request: LanguageAgent(self._voice(request.agent_seed), kit)

    def _voice(self, seed: int) -> TokenConversation:
        return self._conversation(self.sampler.engine, seed)

    def _conversation(self, model: Model, seed: int = 0) -> TokenConversation:
        context = self.sampler.context
        return TokenConversation(model, self._renderer, seed=seed, context=context)

    def _search(
        self,
        strategy: StrategyConfig,
        source: TaskSource,
        requests: Sequence[EpisodeRequest],
        make_agent: Callable[[EpisodeRequest], LanguageAgent],
        siblings: int,
    ) -> list[Group]:
        """The groups that a strategy makes of these requests; a task may come to several."""
        agent = self._config.agent
        searched = self._run(
            search(
                self._pool(source),
                self._world.share(requests),
                strategy,
                Cast(make_agent, agent.most_tokens, self._voice, agent.temperature),
                siblings=siblings,
                concurrency=self._config.run.concurrency,
            )
        )
        for one in searched:
            self._spent.update(asdict(one.spent))
        return [group for one in searched for group in one.groups]

    def _collect(
        self,
        source: TaskSource,
        requests: Sequence[EpisodeRequest],
        make_agent: AgentFactory,
        siblings: int,
    ) -> list[Group]:
        return self._run(
            collect_groups(
                self._pool(source),
                self._world.share(requests),
                make_agent,
                siblings=siblings,
                concurrency=self._config.run.concurrency,
            )
        )

    def _fly(
        self,
        source: TaskSource,
        requests: Sequence[EpisodeRequest],
        make_agent: AgentFactory,
        siblings: int,
    ) -> list[Group]:
        """Groups of siblings that can be left in the middle."""
        mine = self._world.share(requests)
        flights = self.tape.flights([one for r in mine for one in spread(r, siblings)])
        leaving = self._interruption
        with leaving.calling(self.sampler.pause):
            leaving.run(
                fly(
                    self._pool(source),
                    flights,
                    make_agent,
                    concurrency=self._config.run.concurrency,
                    leaving=lambda: leaving.asked,
                ),
                patience=leaving.grace / 2,
            )
        leaving.leave()
        played = [flight.trajectory for flight in flights if flight.trajectory is not None]
        return [Group(tuple(played[i : i + siblings])) for i in range(0, len(played), siblings)]

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine gives; it is given up where the run is to end."""
        result = self._interruption.run(coroutine)
        self._interruption.leave()
        assert result is not None
        return result

    def _pool(self, source: TaskSource) -> EnvPool:
        key = _key(source)
        if key not in self._pools:
            kwargs = dict(source.env_kwargs)
            cluster = self._config.cluster.pool_settings()
            self._pools[key] = EnvPool(source.env_id, kwargs, limits=source.limits, **cluster)
            self._accounts.append(self._pools[key].accounts)
        return self._pools[key]

    def _draw(self, rng: random.Random, count: int) -> list[str]:
        ids = self._config.train.task_ids()
        return [ids[rng.randrange(len(ids))] for _ in range(count)]


def draw_seeds(plan: Plan, rng: random.Random) -> list[EpisodeRequest]:
    """A request for each task of the plan."""
    return [
        EpisodeRequest(task, seed=rng.randrange(2**31), agent_seed=rng.randrange(2**31))
        for task in plan.tasks
    ]


class _Mute:
    """Stands for a policy that is not there yet: it takes every prompt, and says nothing."""

    formats: frozenset[str] = frozenset()

    def count(self, text: str) -> int:
        """One token a character."""
        return len(text)

    def tokens(self, text: str) -> tuple[int, ...]:
        """One token a character."""
        return tuple(map(ord, text))

    async def reply(self, messages: Sequence[Message], ask: Ask) -> Reply:
        """Nothing."""
        return Reply("")

    def close(self) -> None:
        """Nothing is held."""


def _first_act(config: TrainConfig, conversation: Conversation) -> None:
    """Let the agent see the first task and reply to it."""
    source = config.train
    with closing(make(source.env_id, **source.env_kwargs)) as env:
        observation, info = env.reset(seed=0, options={"task": source.task_ids()[0]})
        agent = LanguageAgent(conversation, AgentKit(config.agent, env.tools))
        asyncio.run(agent.act(observation, info))


def _kit(agent: LanguageAgentConfig, source: TaskSource) -> AgentKit:
    """What the agents of all episodes share; the environment tells its tools."""
    with closing(make(source.env_id, **source.env_kwargs)) as env:
        return AgentKit(agent, env.tools)


def _key(source: TaskSource) -> str:
    return json.dumps(source.model_dump(mode="json"), sort_keys=True)
