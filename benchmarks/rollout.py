"""How fast episodes are sampled, beside TRL's `rollout_func`, in one run.

    python benchmarks/rollout.py [--repeats 3] [--trl-python VENV/bin/python]

32 episodes (4 prompts, 8 siblings each) of 8 turns: a prompt of 64 tokens, then 16 sampled and 32
observed in turn. Ours plays them with everything that a training run has: the pool, the agent, its
memory, the renderer and the engine. What is compared is sampled tokens per second of CPU time, one
thread each, because wall time tells more of what else the machine does.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from fixed_talk import (  # type: ignore[import-not-found]  # beside this file
    OBSERVATION_TOKENS,
    PROMPT_TOKENS,
    TASKS,
    VOCABULARY,
    make_tokenizer,
)
from transformers import Qwen3Config, Qwen3ForCausalLM

from longstep_agents.attention import ATTENTION
from longstep_agents.conversation import TokenConversation
from longstep_agents.language_agent import AgentKit, LanguageAgent, LanguageAgentConfig
from longstep_agents.models.engine import EngineConfig, Statistics
from longstep_agents.models.hf import HFModel
from longstep_agents.render import Renderer
from longstep_agents.rollout import EpisodeRequest, collect_groups
from longstep_agents.types import Group
from longstep_envs import EnvPool, Limits, register

SIBLINGS, TURNS, ACTION_TOKENS = 8, 8, 16
MODEL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
AGENT = {
    "max_tokens": ACTION_TOKENS,
    # Every reply is cut off here, and this parser alone sends such a one on.
    "parser": {"name": "verl_agent", "environment": "sciworld"},
    "tell_format": False,
}
ENGINES: dict[str, dict[str, Any]] = {
    "longstep": {},
    "not lean": {"lean": False},
    "prefixes shared": {"share_prefixes": True},
    "prefixes shared, in bfloat16": {"share_prefixes": True, "dtype": "bfloat16"},
}
TRL = "TRL rollout_func"

register("bench/FixedTalk-v0", "fixed_talk:FixedTalk")


def make_model(attention: str = ATTENTION) -> Qwen3ForCausalLM:
    """The model that is measured; the same weights each time."""
    torch.manual_seed(0)
    model: Qwen3ForCausalLM = Qwen3ForCausalLM(Qwen3Config(**MODEL)).eval()
    model.set_attn_implementation(attention)
    return model


@dataclass
class Measured:
    """Sampled tokens of one repetition, and the CPU and wall seconds of each."""

    tokens: int
    seconds: list[tuple[float, float]]

    @property
    def rate(self) -> float:
        """Sampled tokens per CPU second, of the best repetition."""
        return self.tokens / min(cpu for cpu, _ in self.seconds)

    @property
    def wall_rate(self) -> float:
        """Sampled tokens per second that passed, of the best repetition."""
        return self.tokens / min(wall for _, wall in self.seconds)


class Player:
    """Plays the workload with one engine."""

    def __init__(self, model: Qwen3ForCausalLM, settings: Mapping[str, Any]) -> None:
        self.engine = HFModel(model, EngineConfig(**settings), lanes=TASKS * SIBLINGS)
        self._renderer = Renderer(make_tokenizer())
        self._kit = AgentKit(LanguageAgentConfig.model_validate(AGENT))

    def play(self) -> tuple[Statistics, tuple[float, float]]:
        """All episodes once: what the engine did, and CPU and wall seconds."""
        before, clocks = self.engine.statistics, (time.process_time(), time.perf_counter())
        self.play_groups()
        seconds = time.process_time() - clocks[0], time.perf_counter() - clocks[1]
        return self.engine.statistics - before, seconds

    def play_groups(self) -> tuple[list[Group], float]:
        """All episodes once, and CPU seconds."""
        requests = [EpisodeRequest(str(task), agent_seed=100 * task) for task in range(TASKS)]
        limits = Limits(turns=TURNS)
        self.engine.refresh(0)  # as in training, where every iteration has other weights
        begin = time.process_time()
        with EnvPool("bench/FixedTalk-v0", limits=limits, mode="inline") as pool:
            groups = asyncio.run(collect_groups(pool, requests, self._agent, siblings=SIBLINGS))
        seconds = time.process_time() - begin
        failed = [t.error for group in groups for t in group.trajectories if not t.counts]
        if failed:
            raise RuntimeError(f"{len(failed)} episodes failed, the first with: {failed[0]}")
        return groups, seconds

    def _agent(self, request: EpisodeRequest) -> LanguageAgent:
        talk = TokenConversation(self.engine, self._renderer, seed=request.agent_seed)
        return LanguageAgent(talk, self._kit)


def main(
    repeats: Annotated[int, typer.Option(help="Repetitions, after one that warms up.")] = 3,
    trl_python: Annotated[
        Path | None, typer.Option(help="A Python that has trl; left out without.")
    ] = None,
) -> None:
    """Measure, and print the table."""
    torch.set_num_threads(1)
    model = make_model()
    typer.echo(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}\n")
    measured, done = _measure(model, repeats)
    if trl_python is not None:
        told = measure_trl(trl_python, repeats)
        measured[TRL] = Measured(told["tokens"], told["seconds"])
    _show(measured, done)
    typer.echo(f"\nload average now {os.getloadavg()[0]:.1f}")


def _measure(
    model: Qwen3ForCausalLM, repeats: int
) -> tuple[dict[str, Measured], dict[str, Statistics]]:
    """Every engine, in turn at each repetition, so that all of them meet the same machine."""
    players = {name: Player(model, settings) for name, settings in ENGINES.items()}
    measured, done = {name: Measured(0, []) for name in players}, {}
    for repetition in range(repeats + 1):
        for name, player in players.items():
            done[name], seconds = player.play()
            measured[name].tokens = done[name].useful
            if repetition:
                measured[name].seconds.append(seconds)
    return measured, done


def measure_trl(python: Path, repeats: int) -> dict[str, Any]:
    """What `peer_trl.py` prints: sampled tokens, CPU and wall seconds of rollouts, of updates."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = {
            "model": MODEL,
            "groups": TASKS,
            "siblings": SIBLINGS,
            "turns": TURNS,
            "action_tokens": ACTION_TOKENS,
            "observation_tokens": OBSERVATION_TOKENS,
            "prompt_tokens": PROMPT_TOKENS,
            "repeats": repeats,
            "folder": folder,
        }
        done = subprocess.run(
            [python, Path(__file__).with_name("peer_trl.py"), json.dumps(sizes)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _show(measured: Mapping[str, Measured], done: Mapping[str, Statistics]) -> None:
    typer.echo(
        "| | sampled tokens / CPU s | / wall s | to TRL | prompt tokens computed | kept | shared |"
        "\n|---|---|---|---|---|---|---|"
    )
    for name, found in measured.items():
        ratio = f"{found.rate / measured[TRL].rate:.2f}" if TRL in measured else ""
        row = f"| {name} | {found.rate:,.0f} | {found.wall_rate:,.0f} | {ratio} |"
        if name in done:
            what = done[name]
            row += f" {what.computed:,} | {what.kept:,} | {what.shared:,} |"
        else:
            row += " | | |"
        typer.echo(row)


if __name__ == "__main__":
    typer.run(main)
