"""Weight transfer over gloo in place of NCCL: the trainer's group, and a server that has no model.

It speaks what vLLM speaks: `python -m tests.agents.models.receiving FOLDER` answers at the port
that it prints, and keeps the weights that its workers have got, and what it was asked, in FOLDER.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

PATIENCE = timedelta(seconds=60)
WORKERS = 2
DTYPE = "bfloat16"
TCPStore = dist.TCPStore  # type: ignore[attr-defined]  # which torch does not say
ROOT = Path(__file__).parents[3]


class GlooGroup:
    """The trainer's part."""

    backend = "gloo"
    device = torch.device("cpu")

    def __init__(self) -> None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    @property
    def place(self) -> Mapping[str, str | int]:
        return {"master_address": "127.0.0.1", "master_port": self._store.port}

    def join(self, size: int) -> None:
        self._group = dist.ProcessGroupGloo(self._store, 0, size, PATIENCE)

    def send(self, message: Tensor) -> None:
        broadcast(self._group, message)

    def wait(self) -> None:
        pass


def broadcast(group: Any, message: Tensor) -> None:
    options = dist.BroadcastOptions()
    options.rootRank = 0
    group.broadcast([message], options).wait()


def join(told: Mapping[str, Any], worker: int) -> dist.ProcessGroupGloo:
    """A worker's part."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = TCPStore(told["master_address"], told["master_port"], is_master=False)
    rank = told["rank_offset"] + worker
    return dist.ProcessGroupGloo(store, rank, told["world_size"], PATIENCE)


def received(
    group: dist.ProcessGroupGloo, told: Mapping[str, Any], most: int
) -> Iterator[list[tuple[str, Tensor]]]:
    """What each message holds."""
    parts: list[tuple[str, torch.dtype, list[int], int]] = []
    last = len(told["names"]) - 1
    rows = zip(told["names"], told["dtype_names"], told["shapes"], strict=True)
    for place, (name, dtype_name, shape) in enumerate(rows):
        dtype = getattr(torch, dtype_name)
        parts.append((name, dtype, shape, math.prod(shape) * dtype.itemsize))
        sizes = [size for *_, size in parts]
        if sum(sizes) > most or place == last:
            message = torch.empty(sum(sizes), dtype=torch.uint8)
            broadcast(group, message)
            pieces = zip(parts, message.split(sizes), strict=True)
            yield [(n, piece.view(d).view(s)) for (n, d, s, _), piece in pieces]
            parts = []


class Server(ThreadingHTTPServer):
    """Takes weights in the order that vLLM wants."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.groups: dict[int, dist.ProcessGroupGloo] = {}
        self.most = 0

    def of_all(self, work: Any) -> None:
        """Each worker does it, all at a time."""
        threads = [threading.Thread(target=work, args=(i,)) for i in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def init_weight_transfer_engine(self, told: Any) -> None:
        def work(worker: int) -> None:
            self.groups[worker] = join(told["init_info"], worker)

        self.most = told["init_info"]["packed_buffer_size_bytes"]
        assert told["init_info"]["packed"] is True
        self.of_all(work)

    def update_weights(self, told: Any) -> None:
        def work(worker: int) -> None:
            arrived = received(self.groups[worker], told["update_info"], self.most)
            weights = {name: tensor for batch in arrived for name, tensor in batch}
            save_file(weights, self.folder / f"worker-{worker}.safetensors")

        self.of_all(work)

    def told(self) -> dict[str, Any]:
        config = {"dtype": f"torch.{DTYPE}"}
        transfer = {"backend": "gloo"}
        return {"vllm_config": {"model_config": config, "weight_transfer_config": transfer}}


class Handler(BaseHTTPRequestHandler):
    """The routes."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        told = {"world_size": WORKERS} if "world_size" in self.path else self.server.told()
        self.answer(told)

    def do_POST(self) -> None:
        name = self.path.strip("/").split("?")[0]
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        with (self.server.folder / "asked").open("a") as file:
            file.write(f"{name}\n")
        work = getattr(self.server, name, None)
        if work is not None:
            work(body)
        self.answer({"success": True})

    def answer(self, told: Any) -> None:
        data = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def receiving(folder: Path) -> Iterator[str]:
    """The address of such a server, in a process of its own."""
    command = [sys.executable, "-m", "tests.agents.models.receiving", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()


if __name__ == "__main__":
    server = Server(Path(sys.argv[1]))
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
