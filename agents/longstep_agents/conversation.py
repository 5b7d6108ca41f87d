"""Talking to a model that samples tokens: each reply extends a row, or begins a new one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from longstep_agents.messages import Ask, Message, Reply
from longstep_agents.model import ContextError, EngineError, Model, PausedError, SamplingParams
from longstep_agents.render import Renderer
from longstep_agents.types import Completion
from longstep_envs.types import LongstepError


class TokenConversation:
    """Keeps the tokens of the row so far, exactly as they were fed and sampled.

    A prompt that begins with these tokens costs, and records, what it adds. Any other prompt begins
    a new row: a window that moves, a summary, a thought that the template drops are all just that.
    """

    def __init__(
        self, model: Model, renderer: Renderer, *, seed: int = 0, context: int | None = None
    ) -> None:
        self._model, self._renderer = model, renderer
        self._seed, self._limit = seed, context
        self._session: Hashable = object()
        self._row: list[int] = []
        self._ended = True
        self._shown: list[Message] = []
        self._text = ""
        self._recited: Completion | None = None
        self._fed: tuple[tuple[int, ...], bool] | None = None
        self._begun, self._drawn = Completion(), 0

    @property
    def formats(self) -> frozenset[str]:
        """What chat templates tell, if this one has a place for tools."""
        return frozenset(("hermes", "qwen_xml")) if self._renderer.tells_tools else frozenset()

    def count(self, text: str) -> int:
        """The tokens of a text."""
        return len(self._renderer.encode(text))

    def tokens(self, text: str) -> tuple[int, ...]:
        """The tokens of a whole completion that says this text."""
        return self._renderer.completion(text)

    async def reply(self, messages: Sequence[Message], ask: Ask) -> Reply:
        """Sample a reply to these messages.

        Raises:
            ContextError: the prompt fills the policy's context.
            EngineError: the engine failed.
        """
        fed, self._fed = self._fed, None
        bridge, begins = fed or self._next(messages, ask)
        row = list(bridge) if begins else [*self._row, *bridge]
        room = ask.max_tokens if self._limit is None else self._limit - len(row)
        if room < 1:
            raise ContextError(
                f"the prompt of {len(row)} tokens fills the policy's context of {self._limit}; "
                "let memory show less, or shorten the task's observations"
            )
        params = SamplingParams(
            temperature=ask.temperature,
            max_tokens=min(ask.max_tokens, room),
            stop_ids=(self._renderer.end_id,),
            constraint=ask.constraint,
            session=self._session,
            seed=self._seed,
        )
        completion = await self._sample(row, params)
        text = self._renderer.decode(completion.ids)
        self._row = [*row, *completion.ids]
        self._ended = bool(completion.ids) and completion.ids[-1] == self._renderer.end_id
        self._shown, self._text = list(messages), text
        completion = replace(completion, text=text)
        return Reply(text, bridge_ids=bridge, begins_row=begins, completion=completion)

    def recite(
        self, completion: Completion, fed: tuple[tuple[int, ...], bool] | None = None
    ) -> None:
        """Say this next, in place of a sample: it was said before, on the way to where this begins.

        `fed` is what was put before it then, and whether that began a row; without it, the prompt
        is fed as it is now.
        """
        self._recited, self._fed = completion, fed

    def take_up(self, begun: Completion, drawn: int, session: Hashable = None) -> None:
        """Go on with a completion that an engine left when it was paused.

        Args:
            begun: What was sampled of it; nothing, where it was only about to be.
            drawn: The tokens that were drawn in the conversation, those of `begun` among them.
            session: What the engine knows the conversation by.
        """
        self._begun, self._drawn = begun, drawn
        self._session = self._session if session is None else session

    def close(self) -> None:
        """Free the session's cache."""
        self._model.release(self._session)

    async def _sample(self, row: list[int], params: SamplingParams) -> Completion:
        recited, self._recited = self._recited, None
        if recited is not None:
            return recited
        begun, self._begun = self._begun, Completion()
        params = _after(begun, replace(params, drawn=self._drawn))
        try:
            row = [*row, *begun.ids] if begun.ids else row
            return _joined(begun, await self._model.sample(row, params))
        except PausedError as paused:
            raise PausedError(_joined(begun, paused.begun), paused.place) from None
        except LongstepError:
            raise
        except Exception as error:  # foreign code: whatever it is, the policy has not done it
            raise EngineError(f"the engine failed: {type(error).__name__}: {error}") from error

    def _next(self, messages: Sequence[Message], ask: Ask) -> tuple[tuple[int, ...], bool]:
        """What to feed, and whether it begins a new row."""
        if self._row and self._continues(messages):
            bridge = self._renderer.bridge(messages, ended=self._ended)
            if bridge is not None:
                return bridge, False
        prompt = self._renderer.prompt(messages, ask.tools)
        held = len(self._row)
        if held and len(prompt) > held and list(prompt[:held]) == self._row:
            return prompt[held:], False
        return prompt, True

    def _continues(self, messages: Sequence[Message]) -> bool:
        """Whether the messages are those of the last prompt, its reply, and one more."""
        *before, last = messages
        return (
            len(before) == len(self._shown) + 1
            and last.role != "assistant"
            and before[-1].role == "assistant"
            and before[-1].text == self._text
            and before[:-1] == self._shown
        )


def _after(begun: Completion, params: SamplingParams) -> SamplingParams:
    """What is still to be sampled of a completion."""
    if not begun.ids:
        return params
    constraint = params.constraint and params.constraint.after(begun.ids)
    return replace(params, max_tokens=params.max_tokens - len(begun.ids), constraint=constraint)


def _joined(begun: Completion, rest: Completion) -> Completion:
    """A completion of its two parts."""
    if not (begun.ids and rest.ids):
        return begun if begun.ids else rest
    versions = (*_versions(begun), *_versions(rest))
    return replace(
        rest,
        ids=(*begun.ids, *rest.ids),
        logprobs=(*begun.logprobs, *rest.logprobs),
        policy_version=begun.policy_version,
        versions=versions if len(set(versions)) > 1 else (),
        allowed=None if rest.allowed is None else (*(begun.allowed or ()), *rest.allowed),
    )


def _versions(completion: Completion) -> tuple[int, ...]:
    return completion.versions or (completion.policy_version,) * len(completion.ids)
