"""How fast episodes are sampled, beside TRL's `rollout_func`, in one run.

    python benchmarks/rollout.py [--repeats 3] [--trl-python VENV/bin/python] [--json]

32 episodes (4 prompts, 8 siblings each) of 8 turns: a prompt of 64 tokens, then 16 sampled and 32
observed in turn. Ours plays them with everything that a training run has: the pool, the agent, its
memory, the renderer and the engine. What is compared is CPU seconds of one thread for the same
4,096 sampled tokens, in turns; without TRL, beside our own engine with transformers' forward pass.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from comparison import Comparison, show  # type: ignore[import-not-found]  # beside this file
from fixed_talk import TASKS, make_tokenizer  # type: ignore[import-not-found]
from fixed_work import (  # type: ignore[import-not-found]
    ACTION_TOKENS,
    LIMIT,
    MODEL,
    SIBLINGS,
    TURNS,
    Trl,
    least_rollout,
)
from transformers import Qwen3Config, Qwen3ForCausalLM

from longstep_agents.attention import ATTENTION
from longstep_agents.conversation import TokenConversation
from longstep_agents.language_agent import AgentKit, LanguageAgent, LanguageAgentConfig
from longstep_agents.models.engine import EngineConfig
from longstep_agents.models.hf import HFModel
from longstep_agents.render import Renderer
from longstep_agents.rollout import EpisodeRequest, collect_groups
from longstep_agents.types import Group
from longstep_envs import EnvPool, Limits, register

AGENT = {
    "max_tokens": ACTION_TOKENS,
    # Every reply is cut off here, and this parser alone sends such a one on.
    "parser": {"name": "verl_agent", "environment": "sciworld"},
    "tell_format": False,
}
TRL = "TRL"
PLAIN = "as transformers computes it"
ENGINES: dict[str, tuple[dict[str, Any], str, float | None]] = {
    PLAIN: ({"lean": False}, "float32", None),
    "lean": ({}, "float32", None),
    "lean, prefixes shared": ({"share_prefixes": True}, "float32", 5.0),
    "and in bfloat16": ({"share_prefixes": True, "dtype": "bfloat16"}, "bfloat16", 7.0),
}
"""Options, what products are computed in, and how much faster than TRL it should be."""

register("bench/FixedTalk-v0", "fixed_talk:FixedTalk")


def make_model(attention: str = ATTENTION) -> Qwen3ForCausalLM:
    """The model that is measured; the same weights each time."""
    torch.manual_seed(0)
    model: Qwen3ForCausalLM = Qwen3ForCausalLM(Qwen3Config(**MODEL)).eval()
    model.set_attn_implementation(attention)
    return model


class Player:
    """Plays the workload with one engine."""

    def __init__(self, model: Qwen3ForCausalLM, settings: Mapping[str, Any]) -> None:
        self.engine = HFModel(model, EngineConfig(**settings), lanes=TASKS * SIBLINGS)
        self._renderer = Renderer(make_tokenizer())
        self._kit = AgentKit(LanguageAgentConfig.model_validate(AGENT))

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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure, and print the table."""
    torch.set_num_threads(1)
    model = make_model()
    players = {name: Player(model, settings) for name, (settings, _, _) in ENGINES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in [*players, TRL]}
    with ExitStack() as stack:
        trl = stack.enter_context(Trl(trl_python, repeats + 1)) if trl_python else None
        for _ in range(repeats + 1):
            for name, player in players.items():
                seconds[name].append(player.play_groups()[1])
            if trl:
                seconds[TRL].append(trl.step()[0])
    beside = median(seconds[TRL if trl_python else PLAIN][1:])
    show(
        [
            Comparison(
                name=name,
                ours=median(seconds[name][1:]),
                theirs=beside,
                goal=goal if trl_python else None,
                least=least_rollout(getattr(torch, dtype)),
                limit=LIMIT,
            )
            for name, (_, dtype, goal) in ENGINES.items()
        ],
        as_json=as_json,
    )


if __name__ == "__main__":
    typer.run(main)
