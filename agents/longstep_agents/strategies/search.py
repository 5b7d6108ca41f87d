"""Plays a strategy on many tasks at once: what all of them wish for is played in common rounds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from longstep_agents.messages import Ask, Conversation
from longstep_agents.model import EngineError
from longstep_agents.rollout import EpisodeRequest, failed, unplayed
from longstep_agents.strategies.budget import Allowance, Purse, Spent
from longstep_agents.strategies.play import play_branch
from longstep_agents.strategies.registry import STRATEGIES
from longstep_agents.strategies.types import (
    Branch,
    Leaf,
    Question,
    Resumable,
    Strategy,
    StrategyConfig,
    StrategyError,
)
from longstep_agents.types import Group, Outcome
from longstep_envs.pool import EnvPool, EpisodeReport
from longstep_envs.slots import Slot
from longstep_envs.types import Limits


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays and who answers."""

    make_agent: Callable[[EpisodeRequest], Resumable]
    most_tokens: int = 0
    """Tokens that one step samples at most, as `LanguageAgentConfig.most_tokens` tells."""
    make_voice: Callable[[int], Conversation] | None = None
    """A conversation with the policy, from a seed, for judgements, reflections and hints."""
    temperature: float = 1.0
    """Of answers."""


@dataclass(frozen=True, slots=True)
class Searched:
    """What a strategy made of one task."""

    groups: tuple[Group, ...]
    spent: Spent


def check_forks(config: StrategyConfig, env_id: str, level: str) -> None:
    """Refuse a strategy that an environment's level of snapshots has no way to play.

    Raises:
        StrategyError: it forks, and the environment declares `snapshot: none`.
    """
    if config.forks and level == "none":
        raise StrategyError(
            f"strategy {config.name!r} begins episodes at points within others, and {env_id} "
            "declares `snapshot: none`, so it cannot return to one; choose best_of_n or hint, or "
            "another environment"
        )


async def search(
    pool: EnvPool,
    requests: Sequence[EpisodeRequest],
    config: StrategyConfig,
    cast: Cast,
    *,
    siblings: int,
    concurrency: int = 256,
) -> list[Searched]:
    """Play a strategy on every request's task; the results are in order.

    Every branch is an episode of the pool: a worker that fails costs a new attempt from the
    branch's point. What failed attempts used counts as spent.

    Raises:
        StrategyError: the environment cannot be forked, or nobody answers questions.
    """
    check_forks(config, pool.env_id, pool.snapshots)
    begin = STRATEGIES[config.name]
    hunts = [
        _Hunt(begin(request, siblings, config), Purse(config.budget, cast.most_tokens))
        for request in requests
    ]
    while at_work := [hunt for hunt in hunts if hunt.go_on()]:
        await asyncio.gather(*(hunt.be_answered(cast) for hunt in at_work))
        await _play_round(pool, at_work, cast, concurrency)
    return [Searched(tuple(hunt.groups), hunt.purse.spent) for hunt in hunts]


async def _play_round(pool: EnvPool, hunts: Sequence[_Hunt], cast: Cast, concurrency: int) -> None:
    """Play what the budgets grant of all that is wished for."""
    granted = [(hunt, *pair) for hunt in hunts for pair in hunt.grants(pool.limits)]

    async def one(slot: Slot, entry: tuple[_Hunt, Branch, Allowance]) -> Leaf:
        _, branch, allowance = entry
        try:
            return await play_branch(
                slot, branch, lambda: cast.make_agent(branch.request), pool.limits, allowance
            )
        except EngineError as error:
            return Leaf(branch, failed(branch.request, Outcome.INFRA_ERROR, error))

    reports = await pool.run(granted, one, concurrency=concurrency) if granted else []
    for (hunt, branch, allowance), report in zip(granted, reports, strict=True):
        hunt.take(_leaf(pool, branch, report), allowance)


class _Hunt:
    """A strategy at work on one task."""

    def __init__(self, strategy: Strategy, purse: Purse) -> None:
        self.purse = purse
        self.groups: list[Group] = []
        self._strategy = strategy
        self._begun, self._over = False, False
        self._wished: deque[Branch] = deque()
        self._questions: Sequence[Question] = ()
        self._leaves: list[Leaf] = []
        self._answers: list[str] = []

    def go_on(self) -> bool:
        """Send what was wished for, once all of it has come; whether there is more to come."""
        if self._over or self._wished:
            return not self._over
        got, self._leaves, self._answers = self._leaves or self._answers, [], []
        try:
            wishes = self._strategy.send(got) if self._begun else next(self._strategy)
        except StopIteration as stop:
            self.groups, self._over = stop.value, True
            return False
        self._begun = True
        self._wished.extend(wish for wish in wishes if isinstance(wish, Branch))
        self._questions = [wish for wish in wishes if isinstance(wish, Question)]
        return True

    async def be_answered(self, cast: Cast) -> None:
        """Have the questions answered, as many at a time as the budget bears."""
        questions, self._questions = deque(self._questions), ()
        while questions:
            number = self.purse.affordable(max(q.max_tokens for q in questions), len(questions))
            together = [questions.popleft() for _ in range(number)]
            self._answers += await asyncio.gather(*(self._answer(q, cast) for q in together))
            if not together:  # nothing is left to spend
                self._answers += [""] * len(questions)
                questions.clear()

    async def _answer(self, question: Question, cast: Cast) -> str:
        if cast.make_voice is None:
            raise StrategyError(
                "the strategy has a question for the policy, and nobody answers: give "
                "Cast.make_voice, or choose a value, a pivot or a hint that asks nothing"
            )
        voice = cast.make_voice(question.seed)
        try:
            reply = await voice.reply(
                question.messages,
                Ask(temperature=cast.temperature, max_tokens=question.max_tokens),
            )
        except EngineError:
            return ""  # too long a question, or nobody there: as good as no answer
        finally:
            voice.close()
        self.purse.pay(len(reply.completion.ids))
        return reply.text

    def grants(self, limits: Limits) -> list[tuple[Branch, Allowance]]:
        """The branches to play now; what no budget is left for is given up."""
        granted = []
        while self._wished:
            branch = self._wished[0]
            allowance = self.purse.grant(_turns(branch, limits))
            if allowance is None:
                break
            granted.append((self._wished.popleft(), allowance))
        if not granted:
            self._wished.clear()
        return granted

    def take(self, leaf: Leaf, allowance: Allowance) -> None:
        """A branch came to its leaf."""
        self.purse.settle(leaf.branch, allowance)
        self._leaves.append(leaf)


def _turns(branch: Branch, limits: Limits) -> int | None:
    """The most steps that a branch can come to have."""
    before = len(branch.start.steps) if branch.start else 0
    left = None if limits.turns is None else max(0, limits.turns - before)
    if branch.turns is None or left is None:
        return left if branch.turns is None else branch.turns
    return min(branch.turns, left)


def _leaf(pool: EnvPool, branch: Branch, report: EpisodeReport[Leaf]) -> Leaf:
    """The leaf that was played, or one that carries the fault and no reward."""
    leaf = report.result or Leaf(branch, unplayed(branch.request, report))
    told = replace(leaf.trajectory, env_id=pool.env_id, attempts=report.attempts)
    return replace(leaf, trajectory=told)
