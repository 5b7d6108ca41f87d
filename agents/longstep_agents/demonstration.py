"""Demonstrations: a teacher's actions, recorded as the language model would have written them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from longstep_agents.actions import choices, enclose, write
from longstep_agents.agent import Act, Agent
from longstep_agents.conversation import TokenConversation
from longstep_agents.language_agent import AgentKit, LanguageAgent, LanguageAgentConfig
from longstep_agents.memory import Demand
from longstep_agents.messages import Message, ToolCall
from longstep_agents.model import SamplingParams
from longstep_agents.parsers.text import show
from longstep_agents.render import Renderer
from longstep_agents.types import Completion
from longstep_envs.types import BadValueError, Info


class DemonstratingAgent(LanguageAgent):
    """Plays a teacher's actions and records them as the language model would have written them.

    The record is that of sampled text: same prompts, same tokens, same constraint, and no more
    tokens than a sample may have. What is written for memory is cut there, as a sample would be; an
    action that is longer is refused, since no sample could say it. Imitation can therefore train on
    the record exactly as reinforcement learning trains on samples.
    """

    def __init__(
        self, teacher: Agent, renderer: Renderer, kit: AgentKit | LanguageAgentConfig
    ) -> None:
        self._voice = Voice(renderer)
        super().__init__(TokenConversation(self._voice, renderer), kit)
        self._teacher = teacher

    def close(self) -> None:
        """The teacher may hold something."""
        super().close()
        self._teacher.close()

    async def _remember(self, demand: Demand, observation: str) -> Act:
        """Write down what memory itself gives as an example."""
        self._voice.text = demand.example
        return await super()._remember(demand, observation)

    async def _choose(self, seen: Message, info: Info) -> Act:
        """The teacher's action, as the policy would write it.

        Raises:
            BadValueError: it is longer than the policy may write.
        """
        action = (await self._teacher.act(seen.text, info)).action
        if self._parser is not None:
            self._voice.say(self._parser.write(self._meant(action)), self._config.max_tokens)
            act = await super()._choose(seen, info)
            return act if act.aside is not None else replace(act, action=action)
        config = self._config.action
        written = choices(info.get("admissible_commands") or [], config)
        text = next((text for text, command in written.items() if command == action), None)
        whole = enclose(write(action, config) if text is None else text, config)
        self._voice.say(whole, self._config.max_tokens)
        # What is not listed could not have been sampled under the constraint.
        act = await super()._choose(seen, info if text is not None else Info())
        return replace(act, action=action, valid=True)

    def _meant(self, action: str) -> str | ToolCall:
        """A call of one of the environment's tools, or a command."""
        try:
            call = json.loads(action)
        except ValueError:
            return action
        if isinstance(call, dict) and call.get("name") in self._env_tools:
            return ToolCall(call["name"], call.get("arguments", {}))
        return action


class Voice:
    """An engine that says what it is told to."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self.text = ""

    def say(self, text: str, most: int) -> None:
        """Say this next, and all of it.

        Raises:
            BadValueError: it has more than `most` tokens.
        """
        tokens = len(self._renderer.completion(text))
        if tokens > most:
            raise BadValueError(
                f"a demonstration of {tokens} tokens is longer than the policy may write: set "
                f"agent.max_tokens = {tokens}, or more, in place of {most}; it is {show(text)}"
            )
        self.text = text

    async def sample(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """The text, as a sample under the constraint if that admits it."""
        whole = self._renderer.completion(self.text)
        ids = whole[: params.max_tokens]
        trie = params.constraint
        allowed = trie.admitted_along(ids) if trie is not None and ids in trie else None
        stop = "end" if ids == whole else "length"
        return Completion(ids, (0.0,) * len(ids), self.text, stop, allowed=allowed)

    def release(self, session: object) -> None:
        """Nothing is held."""
