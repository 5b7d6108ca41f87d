"""Serves the page to this machine, and reads on while runs go on."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from longstep_agents.page.bundle import bundle
from longstep_agents.page.export import INDEX, dump
from longstep_agents.page.library import Library

_HOSTS = ("127.0.0.1", "localhost")
_HTML = "text/html; charset=utf-8"
_JSON = "application/json"
_REST = 4.0
"""The index is made again after so many times what the last one took, so that making it is never
all that the machine does."""


class Live:
    """What the page asks for, as it is now."""

    def __init__(self, folders: Sequence[Path], title: str = "", seconds: float = 2.0) -> None:
        """Read everything.

        Args:
            folders: As `Library` takes them.
            title: Of the page.
            seconds: So long is what was read taken for new.

        Raises:
            DataError: there is no run.
        """
        self._library, self._title, self._seconds = Library(folders), title, seconds
        self._lock = threading.Lock()
        self._index = dump(self._library.index(title))
        self._due = time.monotonic() + seconds

    def data(self, name: str) -> bytes | None:
        """JSON by name, if there is something of that name."""
        with self._lock:
            if name != INDEX:
                shard = self._library.shard(name)
                return None if shard is None else dump(shard)
            if time.monotonic() >= self._due:
                self._read_on()
            return self._index

    def _read_on(self) -> None:
        began = time.monotonic()
        if self._library.refresh():
            self._index = dump(self._library.index(self._title))
        now = time.monotonic()
        self._due = now + max(self._seconds, _REST * (now - began))


class PageServer(ThreadingHTTPServer):
    """Says nothing of browsers that leave before they are answered."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of an error in answering."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def make_server(live: Live, port: int = 0) -> PageServer:
    """A server on this machine alone; port 0 takes a free one."""
    page = "".join(bundle(connect="'self'")).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Host", "").partition(":")[0] not in _HOSTS:
                # A name of somebody else's that leads here must not read what is here.
                self.send_error(HTTPStatus.FORBIDDEN)
                return
            path = self.path.partition("?")[0]
            if path == "/":
                self._answer(page, _HTML)
                return
            name = path.removeprefix("/data/").removesuffix(".json")
            found = live.data(name) if path == f"/data/{name}.json" else None
            if found is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self._answer(found, _JSON)

        def _answer(self, body: bytes, kind: str) -> None:
            tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
            known = self.headers.get("If-None-Match") == tag
            self.send_response(HTTPStatus.NOT_MODIFIED if known else HTTPStatus.OK)
            self.send_header("ETag", tag)
            self.send_header("Cache-Control", "no-cache")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(0 if known else len(body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("X-Frame-Options", "DENY")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.end_headers()
            self.wfile.write(b"" if known else body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not told."""

    return PageServer((_HOSTS[0], port), Handler)
