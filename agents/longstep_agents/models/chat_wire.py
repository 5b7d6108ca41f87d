"""Chat completions as they go over the wire: our messages out, an endpoint's answer in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longstep_agents.messages import Message, ToolCall
from longstep_agents.models.endpoint_faults import EndpointError, EndpointFault, endpoint_error

_ANSWERED = "Answered together with the call before."


class _Wire(BaseModel):
    """Fields that are not read here may come in any shape; those that are, in theirs only."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class _Function(_Wire):
    name: str
    arguments: str | None = None


class _Call(_Wire):
    id: str | None = None
    function: _Function


class _Said(_Wire):
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None


class _Token(_Wire):
    logprob: float


class _Logprobs(_Wire):
    content: list[_Token] | None = None


class _Choice(_Wire):
    message: _Said
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None
    logprobs: _Logprobs | None = None


class _PromptDetails(_Wire):
    cached_tokens: int | None = None


class _CompletionDetails(_Wire):
    reasoning_tokens: int | None = None


class TokenCounts(_Wire):
    """What an answer says that it cost."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that the endpoint had seen before."""
        return (self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0

    @property
    def reasoning_tokens(self) -> int:
        """Tokens of the completion that are not in its text."""
        details = self.completion_tokens_details
        return (details and details.reasoning_tokens) or 0


class ChatAnswer(_Wire):
    """An endpoint's answer, as far as it is read here; see the protocol of chat completions.

    `prompt_token_ids` and a choice's `token_ids` are what vLLM and our own server add.
    """

    choices: list[_Choice] = Field(min_length=1)
    usage: TokenCounts | None = None
    prompt_token_ids: list[int] | None = None

    @property
    def text(self) -> str:
        """What was said, be it that nothing will be said."""
        said = self.choices[0].message
        return said.content or said.refusal or ""

    @property
    def reasoning(self) -> str:
        """The thinking, under either of the names in use."""
        said = self.choices[0].message
        return said.reasoning or said.reasoning_content or ""

    @property
    def stop(self) -> str:
        """As in `Completion`."""
        choice = self.choices[0]
        if choice.finish_reason == "length":
            return "length"
        return choice.stop_reason if isinstance(choice.stop_reason, str) else "end"

    def calls(self, number: int) -> tuple[ToolCall, ...]:
        """The calls of tools. One without an id gets one, of the answer's `number`."""
        told = self.choices[0].message.tool_calls or ()
        return tuple(
            _call(call.function, call.id or f"call-{number}-{place}")
            for place, call in enumerate(told)
        )

    def tokens(self) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """The completion's token ids and their log-probabilities.

        Raises:
            EndpointError: they are not there, or not as many of the one as of the other.
        """
        choice = self.choices[0]
        ids = choice.token_ids or []
        told = (choice.logprobs and choice.logprobs.content) or []
        if self.prompt_token_ids is None or choice.token_ids is None or len(ids) != len(told):
            raise endpoint_error(
                EndpointFault.MALFORMED,
                f"asked for token ids, got {len(ids)} and {len(told)} log-probabilities "
                f"(prompt ids: {'no' if self.prompt_token_ids is None else 'yes'})",
            )
        return tuple(ids), tuple(token.logprob for token in told)


def read_answer(body: bytes) -> ChatAnswer:
    """Read an answer's body.

    Raises:
        EndpointError: it is not an answer. Another attempt may bring one.
    """
    try:
        return ChatAnswer.model_validate_json(body)
    except ValidationError as error:
        raise malformed(error, body) from None


def malformed(error: ValidationError, body: bytes) -> EndpointError:
    """What to raise for a body that is not as the protocol says: where, and how it begins."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    start = body[:80].decode("utf-8", "replace")
    told = f"{place + ': ' if place else ''}{first['msg']}, in {start!r}"
    return endpoint_error(EndpointFault.MALFORMED, told, may_pass=True)


def write_messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages as an endpoint reads them.

    The protocol wants an answer to every call. Where one message answers all calls of a reply, the
    others are told where to look.
    """
    written: list[dict[str, Any]] = []
    waiting: tuple[ToolCall, ...] = ()
    for message in messages:
        answered = waiting if message.role == "tool" else ()
        others = [call.id for call in answered if call.id != message.call_id]
        written.append(_message(message))
        written += [
            {"role": "tool", "tool_call_id": identity, "content": _ANSWERED} for identity in others
        ]
        waiting = message.calls
    return written


def tell_messages(
    messages: Iterable[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Written messages, and the tools that are told beside them, as people read them."""
    parts = ["[tools]", *(_compact(tool) for tool in tools)] if tools else []
    for message in messages:
        parts += [f"[{message['role']}]", message["content"]]
        parts += [_compact(call["function"]) for call in message.get("tool_calls", ())]
    return "\n".join(part for part in parts if part)


def _message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": _unicode(message.text)}
    if message.calls:
        written["tool_calls"] = [_write_call(call) for call in message.calls]
    if message.call_id:
        written["tool_call_id"] = message.call_id
    return written


def _write_call(call: ToolCall) -> dict[str, Any]:
    arguments = call.raw or json.dumps(dict(call.arguments), ensure_ascii=False)
    function = {"name": _unicode(call.name), "arguments": _unicode(arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _call(function: _Function, identity: str) -> ToolCall:
    told = function.arguments or "{}"
    try:
        arguments = json.loads(told)
    except (ValueError, RecursionError):
        arguments = None
    known = arguments if isinstance(arguments, Mapping) else {}
    return ToolCall(function.name, known, identity, raw=told)


def _compact(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, ensure_ascii=False)


def _unicode(text: str) -> str:
    """Text that can be sent: an environment may show halves of characters."""
    return text.encode("utf-8", "replace").decode()
