"""A proxy before an OpenAI-compatible endpoint, which fails some requests.

python -m longstep_agents.faulty.endpoint http://127.0.0.1:8000 --rate 0.05
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from longstep_envs.types import BadValueError, UnknownNameError

_LARGEST = 64 * 2**20
"""Bytes of an answer that is passed on."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, and the ways to answer it."""

    writer: asyncio.StreamWriter
    forward: Callable[[], Awaitable[bytes]]
    """Asks the endpoint; gives the whole answer, head and body."""
    seconds: float

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def refuse(self, status: int, told: str, *more: str) -> None:
        """A whole answer with an error."""
        body = json.dumps({"error": {"message": told}}).encode()
        await self.send(answer(status, body, *more))

    def abort(self) -> None:
        """Break the connection off."""
        self.writer.transport.abort()


Fault = Callable[[Exchange], Awaitable[None]]


def answer(status: int, body: bytes, *more: str) -> bytes:
    """A whole HTTP answer; `more` are lines of its head."""
    lines = ["content-type: application/json", f"content-length: {len(body)}", *more]
    head = "\r\n".join([f"HTTP/1.1 {status} X", *lines, "connection: close"])
    return f"{head}\r\n\r\n".encode() + body


async def _reset(exchange: Exchange) -> None:
    exchange.abort()


async def _cut(exchange: Exchange) -> None:
    whole = await exchange.forward()
    await exchange.send(whole[: len(whole) // 2])
    exchange.abort()


async def _late(exchange: Exchange) -> None:
    await asyncio.sleep(exchange.seconds)
    await exchange.send(await exchange.forward())


async def _garbage(exchange: Exchange) -> None:
    await exchange.send(answer(200, b"<html>\x00\xff It works! </html>"))


async def _no_choices(exchange: Exchange) -> None:
    await exchange.send(answer(200, b'{"choices": []}'))


async def _wrong_lengths(exchange: Exchange) -> None:
    """One log-probability fewer than tokens, where the endpoint gives them."""
    _, _, body = (await exchange.forward()).partition(b"\r\n\r\n")
    told: Any = json.loads(body)
    for choice in told.get("choices", []):
        for listed in _lists(choice.get("logprobs")):
            del listed[-1:]
    await exchange.send(answer(200, json.dumps(told).encode()))


def _lists(value: Any) -> list[list[Any]]:
    found = value.values() if isinstance(value, dict) else []
    return [one for one in found if isinstance(one, list)]


KINDS: dict[str, Fault] = {
    "rate_limited": lambda exchange: exchange.refuse(429, "slow down", "retry-after: 0.2"),
    "server_error": lambda exchange: exchange.refuse(500, "on purpose"),
    "unavailable": lambda exchange: exchange.refuse(503, "on purpose"),
    "reset": _reset,
    "cut": _cut,
    "late": _late,
    "garbage": _garbage,
    "no_choices": _no_choices,
    "wrong_lengths": _wrong_lengths,
}
"""Name -> what becomes of a request."""


@dataclass
class FaultyEndpoint:
    """Passes requests on to `upstream`, but for a share that fails.

    Which fail is a function of the seed and of the number of the request, in the order in which
    they come; a request that is sent again has a number of its own.
    """

    upstream: str
    rate: float = 0.05
    kinds: Sequence[str] = tuple(KINDS)
    seed: int = 0
    seconds: float = 60.0
    """How late a late answer is."""
    requests: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    """Faults so far, by kind."""

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise UnknownNameError(f"kinds={self.kinds}; wanted some of: {', '.join(KINDS)}")
        if not 0.0 <= self.rate <= 1.0:
            raise BadValueError(f"rate={self.rate}; wanted 0..1")
        address = urlsplit(self.upstream)
        if address.scheme != "http" or not address.hostname:
            raise BadValueError(f"upstream {self.upstream!r}; wanted http://HOST:PORT")
        self._address = (address.hostname, address.port or 80)

    @asynccontextmanager
    async def open(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """While this is open it listens; gives its address, without a path."""
        server = await asyncio.start_server(self._serve, host, port)
        try:
            yield f"http://{host}:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_length(head))

            async def forward() -> bytes:
                return await self._ask(_closing(head) + body)

            exchange = Exchange(writer, forward, self.seconds)
            kind = self._draw() if head.startswith(b"POST") else None
            if kind is None:
                await exchange.send(await forward())
            else:
                await KINDS[kind](exchange)
        writer.close()

    def _draw(self) -> str | None:
        self.requests += 1
        drawn = random.Random(f"{self.seed}/{self.requests}")
        if drawn.random() >= self.rate:
            return None
        kind = drawn.choice(list(self.kinds))
        self.happened[kind] += 1
        return kind

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            writer.write(request)
            await writer.drain()
            return await _read_all(reader)
        finally:
            writer.close()


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    read = bytearray()
    while part := await reader.read(2**16):
        read += part
        if len(read) > _LARGEST:
            raise ConnectionError("the endpoint's answer has no end")
    return bytes(read)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0


def _closing(head: bytes) -> bytes:
    """The same head, which asks for the connection to end with the answer."""
    lines = [line for line in head.rstrip().split(b"\r\n") if not line.lower().startswith(b"conn")]
    return b"\r\n".join([*lines, b"connection: close", b"", b""])


def main(
    upstream: Annotated[str, typer.Argument(help="The endpoint, http://HOST:PORT.")],
    rate: Annotated[float, typer.Option(help="The share of requests that fail.")] = 0.05,
    kind: Annotated[list[str] | None, typer.Option(help="Repeatable. Default: all.")] = None,
    seed: Annotated[int, typer.Option(help="Chooses which fail.")] = 0,
    port: Annotated[int, typer.Option(help="Where to listen.")] = 8001,
) -> None:
    """Stand before an endpoint, and let some of its requests fail."""
    endpoint = FaultyEndpoint(upstream, rate, tuple(kind or KINDS), seed)

    async def stand() -> None:
        async with endpoint.open(port=port) as url:
            typer.echo(f"{url} before {upstream}")
            await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(stand())


if __name__ == "__main__":
    typer.run(main)
