"""An endpoint that misbehaves on purpose, byte by byte."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

# `asking` is shared; `pytest` alone does not look for it from the root.
sys.path.insert(0, str(Path(__file__).parents[3]))

if find_spec("openai") is None:
    collect_ignore = ["test_openai.py", "test_endpoint_faults.py", "test_vllm_server.py"]
    collect_ignore += ["test_broadcast.py", "test_broadcast_vllm.py"]

Play = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class BadEndpoint:
    """Plays its script, a play for each chat request; the last one goes on for ever."""

    script: list[Play]
    models: Play
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                lines = head.split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                self.keys.append(headers.get("authorization", ""))
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if lines[0].startswith("GET"):
                    await self.models(writer)
                else:
                    await self.chat(json.loads(body), writer)
                if headers.get("connection") == "close":
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def chat(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.asked.append(asked)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.script[min(len(self.asked), len(self.script)) - 1](writer)
        finally:
            self.at_once -= 1


def says(body: Any, status: int = 200, **headers: str) -> Play:
    """A whole answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def play(writer: asyncio.StreamWriter) -> None:
        shown = {"content-type": "application/json", "content-length": str(len(data)), **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in shown.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + data)
        await writer.drain()

    return play


def message(content: Any = "go north", **fields: Any) -> dict[str, Any]:
    """The body of a good answer, with some fields of the choice changed."""
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return {
        "choices": [{**choice, **fields}],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 60},
        },
    }


def failure(text: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": text, **fields}}


@asynccontextmanager
async def bad_endpoint(*script: Play, models: Play | None = None) -> AsyncIterator[BadEndpoint]:
    listed = {"object": "list", "data": [{"id": "good-7b", "object": "model"}]}
    endpoint = BadEndpoint(list(script), models or says(listed))
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield endpoint
    finally:
        server.close()


@pytest.fixture
def bad() -> Any:
    """The makers above, since test files are not a package."""
    from types import SimpleNamespace

    return SimpleNamespace(endpoint=bad_endpoint, says=says, message=message, failure=failure)
