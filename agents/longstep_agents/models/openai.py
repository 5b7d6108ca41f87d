"""The engine behind an address: any OpenAI-compatible endpoint, for evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import openai

from longstep_agents.messages import Ask, Message, Reply
from longstep_agents.models.chat_wire import (
    ChatAnswer,
    read_answer,
    tell_messages,
    write_messages,
)
from longstep_agents.models.endpoint import EndpointConfig, Usage
from longstep_agents.models.endpoint_faults import EndpointError, EndpointFault
from longstep_agents.models.endpoint_line import Endpoint
from longstep_agents.tools.render import openai_tools
from longstep_agents.types import Completion
from longstep_envs.types import BadValueError, text_hash

_PROBE_TOKENS = 16
_BYTES_OF_TOKEN = 4
_UNCONSTRAINED = (
    "an endpoint samples freely: set action.constraint = 'none', or use an engine that runs here"
)


class ChatEndpoint(Endpoint):
    """An endpoint that is asked for chat completions."""

    config: EndpointConfig

    def __init__(self, config: EndpointConfig) -> None:
        """Prepare; nothing is sent yet.

        Raises:
            BadValueError: the key is not in the environment.
        """
        super().__init__(config)

    @property
    def cost(self) -> float | None:
        """What all answers so far cost; None where no prices are configured."""
        return None if self.config.prices is None else self.usage.cost(self.config.prices)

    async def ask(self, fields: Mapping[str, Any]) -> tuple[ChatAnswer, Usage]:
        """An answer to a request with these fields, and what it took.

        Raises:
            EndpointError: there is none, after all attempts where another one could help.
        """
        return await self.send(_post_chat, fields, read_answer)


class ChatConversation:
    """One episode's line to an endpoint; see `longstep_agents.messages.Conversation`."""

    def __init__(self, endpoint: ChatEndpoint, seed: int = 0) -> None:
        self._endpoint = endpoint
        self._seed = seed
        self._row: tuple[int, ...] = ()
        self._asked: list[dict[str, Any]] = []
        self.usage = Usage()

    async def reply(self, messages: Sequence[Message], ask: Ask) -> Reply:
        """The endpoint's answer to these messages.

        Raises:
            EndpointError: there is none.
            BadValueError: a constraint was asked for, which no endpoint follows.
        """
        if ask.constraint is not None:
            raise BadValueError(_UNCONSTRAINED)
        config, turn = self._endpoint.config, self.usage.requests
        fields: dict[str, Any] = {
            "messages": write_messages(messages),
            "temperature": ask.temperature,
            "seed": int(text_hash(str(self._seed), str(turn))[:7], 16),
            config.tokens_field: ask.max_tokens,
        }
        if ask.tools:
            fields["tools"] = openai_tools(ask.tools)
        if config.token_ids:
            fields |= {"return_token_ids": True, "logprobs": True}
        answer, used = await self._endpoint.ask(fields)
        self.usage += used
        return self._recorded(fields, answer, turn)

    @property
    def formats(self) -> frozenset[str]:
        """The protocol has a place for tools, and calls come back beside the text."""
        return frozenset(("openai",))

    def count(self, text: str) -> int:
        """About how many tokens a text has: a quarter of its bytes, as with most tokenizers."""
        return -(-len(text.encode("utf-8", "replace")) // _BYTES_OF_TOKEN)

    def tokens(self, text: str) -> tuple[int, ...]:
        """No endpoint tells the tokens of a text.

        Raises:
            BadValueError: always.
        """
        raise BadValueError(_UNCONSTRAINED)

    def close(self) -> None:
        """An endpoint holds nothing for an episode."""

    def _recorded(self, asked: Mapping[str, Any], answer: ChatAnswer, turn: int) -> Reply:
        completion = Completion(text=answer.text, stop=answer.stop)
        bridge: tuple[int, ...] = ()
        messages, known = asked["messages"], len(self._asked)
        begins = not (0 < known < len(messages) and messages[:known] == self._asked)
        self._asked = messages
        if self._endpoint.config.token_ids:
            ids, logprobs = answer.tokens()
            completion = Completion(ids, logprobs, answer.text, answer.stop)
            prompt = tuple(answer.prompt_token_ids or ())
            begins = not self._row or prompt[: len(self._row)] != self._row
            bridge = prompt if begins else prompt[len(self._row) :]
            self._row = (*prompt, *ids)
        return Reply(
            text=answer.text,
            calls=answer.calls(turn) or None,
            reasoning=answer.reasoning,
            bridge_ids=bridge,
            begins_row=begins,
            completion=completion,
            shown=tell_messages(messages, asked.get("tools", ()))
            if begins
            else tell_messages(m for m in messages[known:] if m["role"] != "assistant"),
        )


async def check(endpoint: ChatEndpoint) -> None:
    """Fail now if episodes would fail later: asks for the models, then for a few tokens.

    Raises:
        EndpointError: the endpoint is down, or does not take the key, the model or a setting.
    """
    try:
        await endpoint.models()
    except EndpointError as error:  # that a list of models is refused or lacking says nothing yet
        if error.fault in (EndpointFault.UNREACHABLE, EndpointFault.TIMEOUT):
            raise
    greeting = [Message("user", "Say hello.")]
    probe = Ask(max_tokens=_PROBE_TOKENS)
    await ChatConversation(endpoint).reply(greeting, probe)


def _post_chat(client: openai.AsyncOpenAI, fields: dict[str, Any]) -> Any:
    return client.chat.completions.with_streaming_response.create(
        model=fields.pop("model"), messages=fields.pop("messages"), extra_body=fields
    )
