"""Targets: the servers, each with requests as anybody could send them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from benchmarks.reliability.fuzz_agents import _WORLD
from benchmarks.reliability.fuzz_records import _HEADER, _ROW, _evaluation, _logs
from benchmarks.reliability.fuzz_targets import Target

from longstep_envs.types import BadValueError

_ANSWER_SECONDS = 10.0
_TOKENS = (
    *(b"\r\n", b"\r\n\r\n", b"Host: evil.example\r\n", b"Content-Length: -1\r\n", b" HTTP/1.1"),
    *(b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n", b"%00"),
    *(b"/../../etc/passwd", b"/data/..%2f..%2fetc/passwd.json", b"HTTP/0.9", b"a" * 70_000),
    *(b"X: y\r\n" * 200, b"\xff\xfe", b"POST /retrieve", b"If-None-Match: *\r\n", b"//"),
)


def openai(_folder: Path, _name: str) -> Target:
    """The server of a policy, which answers with the word `look`."""
    from longstep_agents.render import Renderer
    from longstep_agents.serve.app import ServeConfig, make_app
    from longstep_agents.small_policy import build_tokenizer

    renderer = Renderer(build_tokenizer(_WORLD))
    config = ServeConfig(name="tiny", context=256, max_tokens=32, largest_body=2**20)
    app = make_app(_Parrot(renderer), renderer, config)
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "look"}]
    tool = {"type": "function", "function": {"name": "t", "parameters": {"type": "object"}}}
    common = {"model": "tiny", "max_tokens": 4, "seed": 1, "stop": ["x"], "temperature": 0.5}
    chat = {**common, "messages": said, "tools": [tool], "n": 2, "logprobs": True}
    text = {**common, "prompt": "look", "stream": True, "stream_options": {"include_usage": True}}
    paths = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/../x", "/v1/\udc80")

    def feed(data: bytes) -> None:
        path = paths[b"prompt" in data]
        headers = [(b"content-type", b"application/json"), (b"host", b"evil.example")]
        if len(data) % 50 == 0:
            path, headers = paths[len(data) % len(paths)], [(b"content-type", data[:200])]
        _judge(asyncio.run(_asked(app, "POST", path, headers, data)))

    return Target(feed, [json.dumps(one).encode() for one in (chat, text)], (b'"prompt"', b'"n"'))


class _Parrot:
    """An engine that says one thing."""

    def __init__(self, renderer: Any) -> None:
        self._ids = (*renderer.encode("look"), renderer.end_id)

    async def sample(self, _prompt: Sequence[int], params: Any) -> Any:
        """The same words each time, as far as they may go."""
        from longstep_agents.types import Completion

        ids = self._ids[: params.max_tokens]
        stop = "end" if ids == self._ids else "length"
        return Completion(text="look", ids=ids, logprobs=(-0.1,) * len(ids), stop=stop)

    def release(self, session: Hashable) -> None:
        """There is nothing to forget."""


async def _asked(
    app: Any, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> int:
    """The status with which an application answers; a client that then goes away."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode("utf-8", "replace"),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    pieces = [body[: len(body) // 2], body[len(body) // 2 :]]
    statuses: list[int] = []
    ended = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not pieces:
            await ended.wait()
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        elif not message.get("more_body"):
            ended.set()

    await asyncio.wait_for(app(scope, receive, send), _ANSWER_SECONDS)
    return statuses[0] if statuses else 0


def _judge(status: int) -> None:
    """4xx is a refusal; what is neither that nor an answer is a crash.

    So are the two of 5xx that refuse: 501, an unknown method, and 505, an unknown version of HTTP.
    """
    if 400 <= status < 500 or status in (501, 505):
        raise BadValueError(f"HTTP {status}")
    if not 200 <= status < 400:
        raise RuntimeError(f"HTTP {status}")


def search(folder: Path, _name: str) -> Target:
    """The retrieval server, over a socket."""
    from longstep_envs.search.server import make_server

    corpus = folder / "corpus.jsonl"
    corpus.write_text('{"id": "a", "contents": "Velm\\nA town."}\n')
    server = make_server(corpus, port=0)
    body = json.dumps({"queries": ["mayor of Velm"], "topk": 1, "return_scores": True}).encode()
    return _over_socket(server, [_post("/retrieve", body), _get("/")])


def page(folder: Path, _name: str) -> Target:
    """The page's server, over a socket."""
    from longstep_agents.page.serve import Live, make_server

    run = _evaluation(folder, _logs(_HEADER, _ROW)[0])
    server = make_server(Live([run]))
    return _over_socket(server, [_get("/"), _get("/data/index.json"), _get("/data/run-0.json")])


def mcp(_folder: Path, _name: str) -> Target:
    """An environment behind MCP, over streamable HTTP."""
    from longstep_agents.tools.mcp.serve import ServedEpisode, make_app
    from longstep_envs.registry import make

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    episode = ServedEpisode(make("longstep/Treasure-v0"), seed=0)
    app = make_app(episode, "127.0.0.1")
    asyncio.run_coroutine_threadsafe(_lifespan(app), loop).result(30)
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}}
    hello["clientInfo"] = {"name": "x", "version": "1"}
    calls = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {
            "jsonrpc": "2.0",
            "id": 3,
            "method": "tools/call",
            "params": {"name": "act", "arguments": {"action": "look"}},
        },
    ]
    accepted = (b"accept", b"application/json, text/event-stream")

    def feed(data: bytes) -> None:
        if b'"tools/call"' in data:
            params = _params(data)  # a session's calls come here as the SDK has read them
            ServedEpisode(make("longstep/Treasure-v0"), seed=1).call(*params)
            episode.call(*params)
            return
        hosts = (b"127.0.0.1:8000", b"evil.example")
        headers = [(b"content-type", b"application/json"), accepted]
        headers.append((b"host", hosts[len(data) % 10 == 0]))
        asked = asyncio.run_coroutine_threadsafe(_asked(app, "POST", "/mcp", headers, data), loop)
        _judge(asked.result(_ANSWER_SECONDS))

    return Target(feed, [json.dumps(one).encode() for one in calls])


def _params(data: bytes) -> tuple[str, dict[str, Any]]:
    try:
        params = json.loads(data)["params"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise BadValueError("no call") from None
    if not isinstance(params, dict) or not isinstance(params.get("arguments"), dict):
        raise BadValueError("no call")
    return str(params.get("name")), params["arguments"]


async def _lifespan(app: Any) -> None:
    """Start an application, and let it run."""
    started = asyncio.Event()
    asked = [{"type": "lifespan.startup"}]

    async def receive() -> dict[str, Any]:
        while not asked:
            await asyncio.sleep(3600)
        return asked.pop()

    async def send(_message: Any) -> None:
        started.set()

    app.running = asyncio.ensure_future(app({"type": "lifespan"}, receive, send))
    await started.wait()


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:80\r\nConnection: close\r\n\r\n".encode()


def _post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:80\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _over_socket(server: Any, seeds: list[bytes]) -> Target:
    """A server in a thread. What it writes to stderr while it answers is a crash of its own."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = server.server_address[:2]

    def feed(data: bytes) -> None:
        with _errors() as told, socket.create_connection(address, _ANSWER_SECONDS) as client:
            answer = _spoken(client, data)
        if "Traceback" in told():
            raise RuntimeError(told()[-600:])
        first = answer.partition(b"\r\n")[0].split(b" ")
        proper = len(first) > 1 and first[0].startswith(b"HTTP/") and first[1].isdigit()
        # HTTP/0.9 has no status line, and what ends before it begins has no answer.
        _judge(int(first[1]) if proper else 400)

    return Target(feed, seeds, _TOKENS)


def _spoken(client: socket.socket, data: bytes) -> bytes:
    """What the server says to these bytes and to the end of them."""
    answer = bytearray()
    try:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        while piece := client.recv(2**16):
            answer += piece
    except TimeoutError:
        raise
    except OSError:  # it refuses to hear more
        pass
    return bytes(answer)


@contextmanager
def _errors() -> Iterator[Callable[[], str]]:
    """What is written to stderr meanwhile."""
    with tempfile.TemporaryFile("w+") as file, redirect_stderr(file):
        yield lambda: _read(file)


def _read(file: Any) -> str:
    if file.closed:
        return ""
    file.flush()
    return os.pread(file.fileno(), 2**16, 0).decode("utf-8", "replace")
