"""The line to an endpoint: its client, its retries, and the account of what was used."""

from __future__ import annotations

import asyncio
import difflib
import os
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import httpx2
import openai
import tenacity

from longstep_agents.models.chat_wire import TokenCounts
from longstep_agents.models.endpoint import LineConfig, Usage
from longstep_agents.models.endpoint_faults import (
    EndpointError,
    EndpointFault,
    endpoint_error,
    explain,
)
from longstep_envs.types import BadValueError

_LARGEST_ANSWER = 8 * 2**20
_SHOWN_MODELS = 5
_FOREIGN = (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, TimeoutError)
_NO_LIST = (ValueError, TypeError, AttributeError)
"""What the client meets where any page, or JSON of any shape, stands in place of a list."""

T = TypeVar("T")
Post = Callable[
    [openai.AsyncOpenAI, dict[str, Any]],
    AbstractAsyncContextManager[openai.AsyncAPIResponse[Any]],
]
"""Sends a request's fields with the client, and gives the answer before it is read."""


class Counted(Protocol):
    """An answer that may say what it cost."""

    @property
    def usage(self) -> TokenCounts | None:
        """The tokens, where the endpoint counts them."""
        ...


A = TypeVar("A", bound=Counted)


@dataclass(frozen=True, slots=True)
class _Line:
    """What belongs to one event loop."""

    loop: asyncio.AbstractEventLoop
    client: openai.AsyncOpenAI
    places: asyncio.Semaphore


class Endpoint:
    """One endpoint, shared by all episodes of a process."""

    def __init__(self, config: LineConfig) -> None:
        """Prepare; nothing is sent yet.

        Raises:
            BadValueError: the key is not in the environment.
        """
        self.config = config
        self.usage = Usage()
        self._line: _Line | None = None
        variable = config.key_variable or ("OPENAI_API_KEY" if config.base_url is None else None)
        self._key = os.environ.get(variable, "") if variable else "none"
        if not self._key:
            raise BadValueError(f"{self._place} needs a key: set {variable} in the environment")

    async def send(
        self, post: Post, fields: Mapping[str, Any], read: Callable[[bytes], A]
    ) -> tuple[A, Usage]:
        """An answer to a request with these fields, and what it took.

        Raises:
            EndpointError: there is none, after all attempts where another one could help.
        """
        body = {"model": self.config.model, **fields, **self.config.request}
        for name in self.config.leave_out:
            body.pop(name, None)
        began, sent, attempts = time.monotonic(), 0.0, 0

        async def attempt() -> A:
            nonlocal sent, attempts
            sent, attempts = time.monotonic(), attempts + 1
            return read(await self._post(post, body))

        used = Usage()
        try:
            async with self._connected().places:
                answer = await self._retried(attempt)
            used = _count(answer.usage, time.monotonic() - sent)
        except EndpointError as error:
            raise await self._placed(error) from error.__cause__
        finally:
            waited = time.monotonic() - began - used.seconds
            used += Usage(attempts=attempts, waiting_seconds=waited)
            self.usage += used
        return answer, used

    async def models(self) -> list[str]:
        """The names that the endpoint says it has.

        Raises:
            EndpointError: it does not say.
        """
        try:
            return await self._listed()
        except EndpointError as error:
            raise await self._placed(error) from error.__cause__

    async def command(self, path: str, fields: Mapping[str, Any]) -> Any:
        """What the endpoint says to a request beside the protocol, at a path beside `base_url`'s.

        It is sent once: what it does may not bear to be done twice.

        Raises:
            EndpointError: it refused, or does not know the path.
        """
        client, url = self._connected().client, self._beside(path)
        return await self._at(url, client.post(url, cast_to=object, body=dict(fields)))

    async def told(self, path: str) -> Any:
        """What the endpoint tells of itself at a path beside `base_url`'s.

        Raises:
            EndpointError: it refused, or does not know the path.
        """
        client, url = self._connected().client, self._beside(path)
        return await self._at(url, client.get(url, cast_to=object))

    async def close(self) -> None:
        """Close the connections. They belong to the running event loop; another opens its own."""
        if self._line is not None and self._line.loop is asyncio.get_running_loop():
            await self._line.client.close()
        self._line = None

    @property
    def _place(self) -> str:
        return f"model {self.config.model!r} at {self.config.base_url or 'OpenAI'}"

    def _beside(self, path: str) -> str:
        return str(self._connected().client.base_url.join(f"../{path}"))

    async def _at(self, url: str, answer: Awaitable[T]) -> T:
        try:
            return await self._timed(answer)
        except EndpointError as error:
            raise type(error)(error.fault, f"{url}: {error}") from error.__cause__

    def _connected(self) -> _Line:
        loop = asyncio.get_running_loop()
        if self._line is None or self._line.loop is not loop:
            config = self.config
            client = openai.AsyncOpenAI(
                api_key=self._key,
                base_url=config.base_url,
                timeout=openai.Timeout(config.seconds, connect=config.connect_seconds),
                max_retries=0,  # attempts are counted, timed and spaced here
            )
            self._line = _Line(loop, client, asyncio.Semaphore(config.concurrency))
        return self._line

    async def _post(self, post: Post, body: Mapping[str, Any]) -> bytes:
        asked = post(self._connected().client, dict(body))

        async def read() -> bytes:
            async with asked as response:
                return await _read_body(response.iter_bytes())

        return await self._timed(read())

    async def _listed(self) -> list[str]:
        try:
            page = await self._timed(self._connected().client.models.list())
            return [str(model.id) for model in page.data]
        except _NO_LIST as error:
            raise explain(error) from error

    async def _timed(self, answer: Awaitable[T]) -> T:
        """One attempt. The client's own limit is on the time between two pieces of an answer."""
        try:
            async with asyncio.timeout(self.config.seconds):
                return await answer
        except _FOREIGN as error:
            raise explain(error) from error

    async def _retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        config = self.config
        spaced = tenacity.wait_exponential(config.wait, max=config.longest_wait)
        spread = spaced + tenacity.wait_random(0, config.wait)  # else all would come back at once

        def pause(state: tenacity.RetryCallState) -> float:
            error = state.outcome and state.outcome.exception()
            told = error.retry_after if isinstance(error, EndpointError) else None
            return spread(state) if told is None else told

        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(config.attempts),
            wait=pause,
            retry=tenacity.retry_if_exception(self._worth_another),
            reraise=True,
        )
        return await retrying(attempt)

    def _worth_another(self, error: BaseException) -> bool:
        if not isinstance(error, EndpointError) or not error.may_pass:
            return False
        return error.retry_after is None or error.retry_after <= self.config.longest_wait

    async def _placed(self, error: EndpointError) -> EndpointError:
        """The error with the endpoint's name, and its models where the one asked for is unknown."""
        message = f"{self._place}: {error}"
        if error.retry_after is not None and error.retry_after > self.config.longest_wait:
            message += f" (it wants {error.retry_after:.0f} s to pass)"
        if error.fault is EndpointFault.UNKNOWN_MODEL:
            message += await self._suggestion()
        return type(error)(error.fault, message, may_pass=error.may_pass)

    async def _suggestion(self) -> str:
        try:
            known = await self._listed()
        except EndpointError:
            return ""
        near = difflib.get_close_matches(self.config.model, known, _SHOWN_MODELS, 0.4)
        shown = near or known[:_SHOWN_MODELS]
        return f". It has {len(known)} models: {', '.join(shown)}"


async def _read_body(pieces: AsyncIterable[bytes]) -> bytes:
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > _LARGEST_ANSWER:
            told = f"an answer without end, {len(body)} bytes so far"
            raise endpoint_error(EndpointFault.MALFORMED, told, may_pass=True)
    return bytes(body)


def _count(told: TokenCounts | None, seconds: float) -> Usage:
    if told is None:
        return Usage(requests=1, uncounted=1, seconds=seconds)
    return Usage(
        requests=1,
        prompt_tokens=told.prompt_tokens,
        cached_tokens=told.cached_tokens,
        completion_tokens=told.completion_tokens,
        reasoning_tokens=told.reasoning_tokens,
        seconds=seconds,
    )
