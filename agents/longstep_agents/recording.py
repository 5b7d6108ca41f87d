"""Recordings: what any agent has said, told again as this language model would have said it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from longstep_agents.actions import enclose, read, write
from longstep_agents.agent import Act
from longstep_agents.conversation import TokenConversation
from longstep_agents.demonstration import Voice
from longstep_agents.language_agent import AgentKit, LanguageAgent, written
from longstep_agents.memory import Demand
from longstep_agents.messages import Message, Reply, ToolCall
from longstep_agents.model import ContextError
from longstep_agents.parsers import Parsed
from longstep_agents.render import Renderer
from longstep_agents.types import Step, Target, Trajectory
from longstep_envs.types import BadValueError, Info


@dataclass(frozen=True, slots=True)
class Turn:
    """What was seen, and what was said and done then."""

    observation: str
    message: str
    calls: tuple[ToolCall, ...] = ()
    command: str | None = None
    """What was meant, where that is known and was no call."""
    reward: float = 0.0
    target: Target = "environment"
    admissible: tuple[str, ...] = ()
    """The commands that the environment listed then, where that is known."""

    @property
    def action(self) -> str:
        """What the environment was given."""
        called = "\n".join(map(written, self.calls))
        return called or (self.message if self.command is None else self.command)


@dataclass(frozen=True, slots=True)
class Recording:
    """An episode that somebody else has played, in whatever environment."""

    turns: tuple[Turn, ...]
    name: str = ""
    """For people."""
    env_id: str = ""
    task_id: str = ""
    task_type: str = ""
    seed: int = 0
    success: bool | None = None
    """None where nobody has told."""
    final_observation: str = ""


def as_played(recording: Recording) -> Trajectory:
    """What a `ReplayAgent` needs to play it again."""
    steps = (Step(turn.observation, turn.action, target=turn.target) for turn in recording.turns)
    return Trajectory(tuple(steps), recording.task_id)


def with_commands(recording: Recording, played: Trajectory) -> Recording:
    """The recording, and the commands that were listed when it was played again."""
    listed = iter([step.admissible for step in played.steps])
    turns = tuple(
        replace(turn, admissible=next(listed)) if turn.target == "environment" else turn
        for turn in recording.turns
    )
    return replace(recording, turns=turns)


def recite(
    recording: Recording, renderer: Renderer, kit: AgentKit, context: int | None = None
) -> Trajectory:
    """The episode as if the language model had played it: its prompts, and its tokens.

    Nothing is carried out: no environment and no tool is asked for anything. What was said stands
    word for word if the agent reads in it what was meant; else the agent's own way of writing that
    stands in its place.

    Raises:
        BadValueError: the agent cannot say a turn, or it would be longer than a sample may be.
        ContextError: the policy's context, of so many tokens, does not hold the episode.
    """
    agent = _RecitingAgent(renderer, kit, context)
    steps = asyncio.run(agent.recite(recording.turns))
    return Trajectory(
        steps=tuple(steps),
        task_id=recording.task_id or recording.name,
        env_id=recording.env_id,
        seed=recording.seed,
        task_type=recording.task_type,
        success=recording.success is not False,
        score=float(recording.success is not False),
        final_observation=recording.final_observation,
    )


class _RecitingAgent(LanguageAgent):
    """Is told what to say; memory works as ever, and writes its own example of what it asks for."""

    def __init__(self, renderer: Renderer, kit: AgentKit, context: int | None) -> None:
        self._voice = Voice(renderer)
        super().__init__(TokenConversation(self._voice, renderer, context=context), kit)
        self._turn = Turn("", "")

    async def recite(self, turns: Sequence[Turn]) -> list[Step]:
        """The steps of an episode."""
        steps = []
        for self._turn in turns:
            act = await self._act()
            while act.aside is not None:
                steps.append(_step(self._turn, act))
                act = await self._act()
            steps.append(_step(self._turn, act))
        return steps

    async def _act(self) -> Act:
        info = Info(admissible_commands=list(self._turn.admissible))
        act = await self.act(self._turn.observation, info)
        if act.completion.stop == "length" and act.aside is None:
            raise ContextError("the policy's context ends within a reply")
        return act

    async def _remember(self, demand: Demand, observation: str) -> Act:
        self._voice.text = demand.example
        return await super()._remember(demand, observation)

    async def _choose(self, seen: Message, info: Info) -> Act:
        self._voice.say(self._worded(), self._config.max_tokens)
        return await super()._choose(seen, info)

    def _read(self, reply: Reply, admissible: Sequence[str]) -> Parsed:
        """What was meant is known."""
        if self._turn.calls:
            return Parsed(calls=self._turn.calls)
        command = self._turn.command
        return Parsed(command=reply.text if command is None else command)

    async def _carried_out(self, parsed: Parsed, reply: Reply, seen: str) -> Act:
        """Nothing is: tools of the agent's own stay unasked."""
        action = "\n".join(map(written, parsed.calls)) or parsed.command
        bridge, completion = reply.bridge_ids, reply.completion
        return Act(action, True, bridge, completion, reply.begins_row, shown=reply.shown)

    def _worded(self) -> str:
        """What the policy is to say.

        Raises:
            BadValueError: it has no words for that.
        """
        turn = self._turn
        if self._says(turn.message):
            return turn.message
        if len(turn.calls) > 1:
            raise BadValueError(f"{len(turn.calls)} calls in one turn, told beside the text")
        said = turn.calls[0] if turn.calls else turn.command
        if self._parser is not None and said is not None:
            return self._parser.write(said, turn.message if turn.calls else "")
        if said is None or isinstance(said, ToolCall):
            raise BadValueError("a turn that cannot be told in the agent's format")
        return enclose(write(said, self._config.action), self._config.action)

    def _says(self, message: str) -> bool:
        """Whether the agent reads in a message what was meant by it."""
        turn = self._turn
        if self._parser is not None:
            parsed = self._parser.read(message)
            if turn.calls:
                meant = [(call.name, dict(call.arguments)) for call in turn.calls]
                return [(call.name, dict(call.arguments)) for call in parsed.calls] == meant
        else:
            found = read(message, [turn.command or ""], self._config.action)
            parsed = Parsed(command=found.command)
        if turn.calls:
            return False
        return bool(message) and turn.command in (None, parsed.command)


def _step(turn: Turn, act: Act) -> Step:
    aside = act.aside
    return Step(
        observation=turn.observation,
        action=act.action,
        reward=turn.reward if aside is None else 0.0,
        bridge_ids=act.bridge_ids,
        begins_row=act.begins_row,
        completion=act.completion,
        target="environment" if aside is None else aside.target,
    )
