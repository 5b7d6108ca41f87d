"""Who is evaluated: a language model with its agent's settings, or one of the built-in agents."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from longstep_agents.agent import Act, Agent
from longstep_agents.baselines import ExpertAgent, RandomAgent, ScriptedAgent
from longstep_agents.language_agent import AgentKit, LanguageAgent, LanguageAgentConfig
from longstep_agents.messages import Conversation
from longstep_agents.model import OverBudgetError
from longstep_agents.models.endpoint import Prices, Usage
from longstep_agents.rollout import AgentFactory, EpisodeRequest
from longstep_envs.types import BadValueError, Info, StopReason, ToolSpec

if TYPE_CHECKING:  # it brings transformers
    from longstep_agents.encoding import TextDecoder


@dataclass(frozen=True, slots=True)
class Budget:
    """What an episode may use beyond turns and tokens; None means unlimited."""

    working_seconds: float | None = None
    """Its time, without waiting for endpoints: for a turn, for failed attempts and between them."""
    cost: float | None = None
    """In the currency of `Prices`."""


BudgetedFactory = Callable[[EpisodeRequest], "Budgeted"]


class Contestant(Protocol):
    """Who plays."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def expert(self) -> bool:
        """Whether it is given the environment's own plan."""
        ...

    @property
    def decoder(self) -> TextDecoder | None:
        """Reads its tokens; None where they are not known."""
        ...

    def about(self) -> dict[str, Any]:
        """What has to be the same for two evaluations to be of the same contestant."""
        ...

    async def begin(self) -> None:
        """Fail now, before anything is played, if episodes would fail later.

        Raises:
            LongstepError: the model cannot be asked.
        """
        ...

    async def end(self) -> None:
        """Nothing more is played."""
        ...

    def agents(self, tools: Sequence[ToolSpec], budget: Budget) -> BudgetedFactory:
        """Makes the agent of each episode, in an environment that offers these tools.

        Raises:
            LongstepError: this contestant cannot play there, or not within such a budget.
        """
        ...


@dataclass(frozen=True)
class BuiltIn:
    """An agent without a model."""

    name: str
    make: AgentFactory
    expert: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    decoder = None

    def about(self) -> dict[str, Any]:
        """Its name and options."""
        return {"agent": self.name, **self.options}

    async def begin(self) -> None:
        """It is always there."""

    async def end(self) -> None:
        """Nothing is held."""

    def agents(self, tools: Sequence[ToolSpec], budget: Budget) -> BudgetedFactory:
        """It calls no tools, and costs nothing."""
        return lambda request: Budgeted(self.make(request), budget)


BUILT_IN: dict[str, BuiltIn] = {
    "expert": BuiltIn("expert", lambda _: ExpertAgent(), expert=True),
    "random": BuiltIn("random", lambda request: RandomAgent(request.agent_seed)),
    "noop": BuiltIn("noop", lambda _: ScriptedAgent([""])),
}
"""Agents that need no settings."""


def scripted(actions: Sequence[str]) -> BuiltIn:
    """Plays the same actions in every episode, and then repeats the last."""
    return BuiltIn("scripted", lambda _: ScriptedAgent(actions), options={"actions": list(actions)})


class Voices(Protocol):
    """A language model that can be spoken with."""

    def about(self) -> dict[str, Any]:
        """What it is: its name, hashes, engine."""
        ...

    @property
    def prices(self) -> Prices | None:
        """What its tokens cost, where they do."""
        ...

    @property
    def decoder(self) -> TextDecoder | None:
        """As of a contestant."""
        ...

    def speak(self, seed: int) -> Conversation:
        """Begin the conversation of an episode."""
        ...

    async def begin(self) -> None:
        """Fail now if it cannot be spoken with."""
        ...

    async def end(self) -> None:
        """It is not needed any more."""
        ...


class LanguageModel:
    """A language model, as an agent with these settings plays it."""

    expert = False

    def __init__(self, name: str, voices: Voices, config: LanguageAgentConfig) -> None:
        self.name = name
        self._voices, self._config = voices, config
        self.begin, self.end = voices.begin, voices.end
        self.decoder = voices.decoder

    def about(self) -> dict[str, Any]:
        """The model, and how the agent acts."""
        return {**self._voices.about(), "agent": self._config.model_dump(mode="json")}

    def agents(self, tools: Sequence[ToolSpec], budget: Budget) -> BudgetedFactory:
        """The agent, with its tools found and its servers started once for all episodes.

        Raises:
            LongstepError: the tools cannot be had, or the agent cannot call the environment's.
            BadValueError: the budget names a cost, and nobody told what tokens cost.
        """
        prices = self._voices.prices
        if budget.cost is not None and prices is None:
            raise BadValueError(
                "a limit of cost needs to know what tokens cost: give the engine's prices, "
                "prices.prompt and prices.completion, per million tokens"
            )
        kit = AgentKit(self._config, tools)

        def make(request: EpisodeRequest) -> Budgeted:
            conversation = self._voices.speak(request.agent_seed)
            used: Callable[[], Usage] = lambda: getattr(conversation, "usage", Usage())  # noqa: E731
            return Budgeted(LanguageAgent(conversation, kit), budget, used, prices)

        return make


class Budgeted:
    """An agent whose episode ends when its budget is spent; it is seen to before each act."""

    def __init__(
        self,
        agent: Agent,
        budget: Budget,
        used: Callable[[], Usage] = Usage,
        prices: Prices | None = None,
    ) -> None:
        self._agent, self._budget, self._used, self._prices = agent, budget, used, prices
        self._began = time.perf_counter()

    @property
    def usage(self) -> Usage:
        """What the policy's endpoint has told that it took; nothing where it is not told."""
        return self._used()

    @property
    def cost(self) -> float | None:
        """What that costs; None where nobody told the prices."""
        return None if self._prices is None else self._used().cost(self._prices)

    @property
    def working_seconds(self) -> float:
        """How long the episode has gone on, without waiting for the endpoint."""
        return time.perf_counter() - self._began - self._used().waiting_seconds

    async def act(self, observation: str, info: Info) -> Act:
        """What the agent does next.

        Raises:
            OverBudgetError: it may do no more.
        """
        budget, cost = self._budget, self.cost
        if budget.cost is not None and cost is not None and cost >= budget.cost:
            raise OverBudgetError(StopReason.COST)
        if budget.working_seconds is not None and self.working_seconds >= budget.working_seconds:
            raise OverBudgetError(StopReason.WORKING_TIME)
        return await self._agent.act(observation, info)

    def close(self) -> None:
        """The episode is over."""
        self._agent.close()
