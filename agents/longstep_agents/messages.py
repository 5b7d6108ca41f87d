"""What is said between the runtime and a policy: messages, tool calls, replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from longstep_agents.constraint import TokenTrie
from longstep_agents.types import Completion
from longstep_envs.types import ToolSpec

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool, as the policy wrote it; nobody has checked it against the schema yet."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    """As the endpoint named the call; empty where the call was read from text."""
    raw: str = ""
    """The arguments as an endpoint told them; what is no JSON object leaves `arguments` empty."""


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of what a prompt shows."""

    role: Role
    text: str
    completion: Completion | None = None
    """Of an assistant's message, what was sampled, token by token."""
    calls: tuple[ToolCall, ...] = ()
    """Of an assistant's message, the calls that the endpoint told beside the text."""
    call_id: str = ""
    """Of a tool's message, the call that it answers."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of the policy beside the messages."""

    temperature: float = 1.0
    max_tokens: int = 64
    tools: tuple[ToolSpec, ...] = ()
    """Told to the policy in the way of its chat template or endpoint."""
    constraint: TokenTrie | None = None
    """Only token sequences of this trie can be sampled, where the engine samples tokens."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the policy said, and how it is recorded."""

    text: str
    calls: tuple[ToolCall, ...] | None = None
    """Calls that the endpoint told beside the text; None where a parser has to read the text."""
    reasoning: str = ""
    """What the endpoint told of the policy's thinking, apart from the text."""
    bridge_ids: tuple[int, ...] = ()
    """The prompt's tokens after those of the row so far, or the whole prompt of a new row."""
    begins_row: bool = False
    """Whether the prompt does not extend what the row so far holds."""
    completion: Completion = field(default_factory=Completion)
    shown: str = ""
    """As in `Step`."""


class Conversation(Protocol):
    """One episode's line to a policy. Whoever asks decides anew each time what the prompt shows."""

    @property
    def formats(self) -> frozenset[str]:
        """The parsers whose way of calling tools `Ask.tools` tells the policy.

        With any other, the prompt has to tell of the tools and of the format.
        """
        ...

    def count(self, text: str) -> int:
        """The tokens of a text; an estimate where the policy's tokenizer is not at hand."""
        ...

    def tokens(self, text: str) -> tuple[int, ...]:
        """The tokens of a whole completion that says this text, for constraints on sampling.

        Raises:
            LongstepError: the policy's tokenizer is not at hand.
        """
        ...

    async def reply(self, messages: Sequence[Message], ask: Ask) -> Reply:
        """The policy's answer to these messages, of which the last is not its own."""
        ...

    def close(self) -> None:
        """The episode is over: free what it held."""
        ...
