"""The parts of `gpu.py`: each gives rows as it comes to them."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from gpu import Measured  # type: ignore[import-not-found]  # beside this file
from transformers import Qwen3Config, Qwen3ForCausalLM

from longstep_agents.attention import ATTENTION
from longstep_agents.model import SamplingParams
from longstep_agents.models.engine import EngineConfig
from longstep_agents.models.hf import HFModel
from longstep_training.batch import Row, pack
from longstep_training.blocks import ActivationCheckpointing, run_blocks
from longstep_training.distributed import World
from longstep_training.policy import compute_in
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.scores import MOST_LOGITS
from longstep_training.updater import OptimizerConfig, Updater

DEVICE = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
TOLD, SAID = 48, 16
"""Tokens of a turn: of the environment, and of the policy."""
KNOWN = {
    "GH200": (989e12, 4.0e12),
    "H200": (989e12, 4.8e12),
    "H100 80GB HBM3": (989e12, 3.35e12),
    "B200": (2_250e12, 8.0e12),
    "A100-SXM4-80GB": (312e12, 2.04e12),
}
"""Of devices, dense bfloat16 operations a second and bytes a second from memory, as their maker
tells them; those of others are measured."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A Qwen3 of some size."""

    name: str
    hidden: int
    feed_forward: int
    layers: int = 28
    heads: int = 16
    groups: int = 8
    dim: int = 128
    vocabulary: int = 151_936

    def build(self) -> Qwen3ForCausalLM:
        """With random weights, in float32, on the device."""
        config = Qwen3Config(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.feed_forward,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.groups,
            head_dim=self.dim,
            max_position_embeddings=40_960,
            tie_word_embeddings=True,
        )
        torch.manual_seed(0)
        with DEVICE:
            model: Qwen3ForCausalLM = Qwen3ForCausalLM(config).eval()
        model.set_attn_implementation(ATTENTION)
        return model

    def operations(self, context: int, said: float) -> float:
        """Of one token forward and back: 6 for each weight that it meets, and causal attention."""
        attention = self.hidden * self.dim * 2 * (self.heads + self.groups)
        weights = self.layers * (attention + 3 * self.hidden * self.feed_forward)
        head = said * self.hidden * self.vocabulary
        return 6 * (weights + head) + 6 * self.layers * self.heads * self.dim * context

    def kept_bytes(self) -> int:
        """Of one token's keys and values in bfloat16."""
        return 2 * 2 * self.layers * self.groups * self.dim


SHAPES = (Shape("0.6B", 1_024, 3_072), Shape("1.7B", 2_048, 6_144))
TINY = Shape("tiny", 64, 128, layers=2, heads=4, groups=2, dim=16, vocabulary=512)


def update(tiny: bool) -> Iterator[Measured]:
    """Tokens a second of whole optimiser steps, in bfloat16 with float32 weights."""
    if tiny:
        MOST_LOGITS["cpu"] = 16 * TINY.vocabulary  # so that logits come in parts here, too
    shapes, contexts = ((TINY,), (64, 128)) if tiny else (SHAPES, (4_096, 16_384, 32_768))
    for shape in shapes:
        model = compute_in("bfloat16", shape.build())
        updater = Updater(model, OptimizerConfig(token_budget=10**9, learning_rate=1e-6), World())
        for context in contexts:
            count = max(1, contexts[1] // context)
            rows = [_row(shape, context, seed) for seed in range(count)]
            kind, seconds = _least_checkpointing(updater, rows)
            said = len(rows[0].positions) / context
            limit = _peak() / shape.operations(context, said)
            why = f"MFU; checkpointing {kind}, {_memory()}"
            found = count * context / seconds
            yield Measured("update", f"{shape.name}, {context:,}", found, "tokens/s", limit, why)
        del model, updater
        _empty()


def _least_checkpointing(updater: Updater, rows: Sequence[Row]) -> tuple[str, float]:
    """The first kind of checkpointing with which the rows fit, and the seconds of a step."""
    kinds: tuple[ActivationCheckpointing, ...] = ("none", "selective", "full")
    for kind in kinds:
        run_blocks(updater.model, kind)
        try:
            return kind, _seconds(lambda: updater.step(rows, _objective(updater)))
        except torch.OutOfMemoryError:
            updater.optimizer.zero_grad(set_to_none=True)
        _empty()
    raise MemoryError(f"{len(rows[0].ids):,} tokens do not fit")


def _objective(updater: Updater) -> Callable[..., Any]:
    return lambda batch: policy_loss(updater.model, batch, ReinforcementConfig())


def decode(tiny: bool) -> Iterator[Measured]:
    """Sampled tokens a second of the engine `hf`, many sessions at a time."""
    cases = ((TINY, 8, 32, 8),) if tiny else tuple((s, 128, 1_024, 128) for s in SHAPES)
    for shape, lanes, prompt, new in cases:
        config = EngineConfig(dtype="bfloat16", context=prompt + new + 8)
        engine = HFModel(shape.build(), config, lanes=lanes, own_weights=True)
        drawn = random.Random(0)
        prompts = [[drawn.randrange(shape.vocabulary) for _ in range(prompt)] for _ in range(lanes)]
        for count in (1, 4):  # reads the prompts, then warms up
            prompts = asyncio.run(_sample(engine, prompts, count))
        began = time.perf_counter()
        asyncio.run(_sample(engine, prompts, new))
        rate = lanes * new / (time.perf_counter() - began)
        weights = engine.copied_bytes
        read = weights + lanes * (prompt + new // 2) * shape.kept_bytes()
        name = f"{shape.name}, {lanes} at a time, {prompt:,} tokens held"
        yield Measured("decode", name, rate, "tokens/s", lanes * _bandwidth() / read, "bandwidth")
        del engine
        _empty()


async def _sample(engine: HFModel, prompts: list[list[int]], count: int) -> list[list[int]]:
    async def one(session: int, prompt: list[int]) -> list[int]:
        params = SamplingParams(1.0, count, (), None, session=session, seed=session)
        return [*prompt, *(await engine.sample(prompt, params)).ids]

    return list(await asyncio.gather(*(one(i, prompt) for i, prompt in enumerate(prompts))))


def tree(tiny: bool) -> Iterator[Measured]:
    """The gradient of branches that share their beginning, beside that of the same rows packed."""
    shape = TINY if tiny else SHAPES[0]
    length = 256 if tiny else 1_024
    model = compute_in("bfloat16", shape.build())
    for branches, shared in ((8, 0.75), (16, 0.90)):
        rows = [_row(shape, length, seed, int(shared * length)) for seed in range(branches)]
        packed, planted = (partial(_differentiate, model, rows, share=s) for s in (False, True))
        ratio, bound = _seconds(packed) / _seconds(planted), packed() / planted()
        name = f"{branches} branches that share {shared:.0%}"
        yield Measured("tree", name, ratio, "times", bound, "tokens; aim 85 %")


def _differentiate(model: Qwen3ForCausalLM, rows: Sequence[Row], *, share: bool) -> int:
    """Returns how many tokens that computes."""
    computed = 0
    for batch in pack(rows, 10**9, share=share):
        policy_loss(model, batch.to(DEVICE), ReinforcementConfig())[0].backward()
        computed += len(batch.ids_N)
    model.zero_grad(set_to_none=True)
    return computed


def sync(tiny: bool) -> Iterator[Measured]:
    """New weights into an engine of the same process that has bfloat16 weights of its own."""
    for shape in (TINY,) if tiny else SHAPES:
        config = EngineConfig(dtype="bfloat16", context=64)
        engine = HFModel(shape.build(), config, lanes=1, own_weights=True)
        size = engine.copied_bytes
        rate = size / _seconds(partial(engine.refresh, 1))
        # Four bytes of each weight are read and two are written.
        name = f"{shape.name}, {size / 1e9:.3g} GB"
        yield Measured("weight sync", name, rate / 1e9, "GB/s", _bandwidth() / 3e9, "bandwidth")
        del engine
        _empty()


def household(tiny: bool) -> Iterator[Measured]:
    """A short training run of the small policy, from random weights, environments included."""
    from longstep_training.config import build_config
    from longstep_training.loop import train
    from longstep_training.recipe import TrainConfig

    with tempfile.TemporaryDirectory() as folder:
        config = _household_config(Path(folder), tiny)
        began = time.perf_counter()
        train(build_config(TrainConfig, config, "household"), Path(folder) / "run")
        seconds = time.perf_counter() - began
        told = (Path(folder) / "run" / "metrics.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in told.splitlines()]
    last = [row for row in rows if row.get("phase") == "rl"][-1]
    spent = [row["timing"] for row in rows if row.get("phase") == "rl"]
    yield Measured("household", "the whole run", seconds, "s", why=_successes(rows))
    each = median(sum(timing.values()) for timing in spent)
    yield Measured("household", f"iteration of {last['episodes']} episodes", each, "s")


def _household_config(folder: Path, tiny: bool) -> dict[str, Any]:
    """The recipe of the household run, shortened."""
    path = Path(__file__).parents[1] / "configs" / "household.toml"
    config: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    options = {"seed": 1, "max_receptacles": 16, "partial_rooms": True}
    splits = {"train": 8 if tiny else 128, "valid_unseen": 4 if tiny else 64}
    games = folder / "games"
    config["data"] = [
        {"out": str(games), "generator": "alfworld", "options": {**options, "splits": splits}}
    ]
    config["train"]["env_kwargs"]["games"] = str(games / "json_2.1.1/train")
    evaluation = config["evaluation"][0]
    evaluation["episodes"] = splits["valid_unseen"]
    evaluation["tasks"]["env_kwargs"]["games"] = str(games / "json_2.1.1/valid_unseen")
    config["evaluation"] = [evaluation]
    config["imitation"] |= {"iterations": 1 if tiny else 20, "demonstrations": 8 if tiny else 256}
    config["rl"] |= {"iterations": 1 if tiny else 10, "tasks": 2 if tiny else 32}
    config["policy"]["vocabulary_episodes"] = 8 if tiny else 512
    config["engine"]["lean"] = True
    config["run"] |= {"processes": 1, "device": DEVICE.type, "concurrency": 16 if tiny else 256}
    return config


def _successes(rows: Sequence[dict[str, Any]]) -> str:
    told = [f"{row['success']:.0%} after {row['after']}" for row in rows if row["phase"] == "eval"]
    return ", ".join(told)


def _row(shape: Shape, length: int, seed: int, shared: int = 0) -> Row:
    """Turns of random tokens; the first `shared` are those of every seed."""
    trunk, own = random.Random(0), random.Random(seed + 1)
    ids = [(trunk if i < shared else own).randrange(shape.vocabulary) for i in range(length)]
    positions = [i for i in range(TOLD, length) if i % (TOLD + SAID) >= TOLD]
    count = len(positions)
    return Row(
        ids,
        [length],
        positions,
        logprobs=[-11.9] * count,
        admitted=[None] * count,
        advantages=[own.gauss(0, 1)] * count,
        steps=[position // (TOLD + SAID) for position in positions],
        weights=[1.0] * count,
        share=float(count),
    )


def _seconds(compute: Callable[[], object], times: int = 3) -> float:
    """The median of some repetitions, after one that warms up."""
    found = []
    for _ in range(times + 1):
        _wait()
        began = time.perf_counter()
        compute()
        _wait()
        found.append(time.perf_counter() - began)
    return median(found[1:])


def _wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def _empty() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _memory() -> str:
    if DEVICE.type != "cuda":
        return "memory not measured"
    return f"{torch.cuda.max_memory_allocated() / 1e9:.0f} GB"


def _told() -> tuple[float | None, float | None]:
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else ""
    return next((KNOWN[device] for device in KNOWN if device in name), (None, None))


@cache
def _peak() -> float:
    """Operations a second at the limit, in bfloat16."""
    size = 8_192 if DEVICE.type == "cuda" else 256
    left, right = (torch.ones(size, size, dtype=torch.bfloat16, device=DEVICE) for _ in range(2))
    return _told()[0] or 2 * size**3 / _seconds(lambda: left @ right)


@cache
def _bandwidth() -> float:
    """Bytes a second at the limit."""
    size = 2**30 if DEVICE.type == "cuda" else 2**24
    source = torch.ones(size, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    return _told()[1] or 2 * size / _seconds(lambda: target.copy_(source))


PARTS: dict[str, Callable[[bool], Iterator[Measured]]] = {
    "update": update,
    "decode": decode,
    "tree": tree,
    "sync": sync,
    "household": household,
}
