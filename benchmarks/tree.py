"""Updates that compute common beginnings once, against plain packing: processor seconds of both.

    python benchmarks/tree.py [--length 1024]

A small Qwen3 (hidden 256, 4 layers, 2,048 words, float32, one thread) takes the gradient of
branches that share a part of their tokens. The bound is the ratio of tokens computed.
"""

from __future__ import annotations

import random
import statistics
import time
from functools import partial
from typing import Annotated

import torch
import typer
from transformers import Qwen3Config, Qwen3ForCausalLM

from longstep_agents.attention import ATTENTION
from longstep_agents.types import Completion, Step, Trajectory
from longstep_training.batch import Row, build_row, pack
from longstep_training.reinforcement import ReinforcementConfig, policy_loss

CASES = ((8, 0.75), (16, 0.90), (8, 0.25), (1, 0.0))
WORDS = 2_048
SAID, TOLD = 16, 32
"""Tokens of a turn: of the policy, and of the environment."""


def main(
    length: Annotated[int, typer.Option(help="Tokens of a branch.")] = 1_024,
    times: Annotated[int, typer.Option(help="Measurements of each side.")] = 5,
) -> None:
    """Measure and print the table."""
    torch.set_num_threads(1)
    model = _model()
    typer.echo(
        "| branches | shared | tokens | computed | bound | packed s | tree s | ratio | of bound |"
    )
    typer.echo("|---" * 9 + "|")
    for branches, share in CASES:
        rows = _rows(branches, int(length * share), length)
        sides: dict[bool, list[float]] = {False: [], True: []}
        tokens = {side: sum(len(b.ids_N) for b in pack(rows, 10**9, share=side)) for side in sides}
        for _ in range(times + 1):
            for side in sides:
                sides[side].append(_seconds(model, rows, share=side))
        packed, tree = (statistics.median(sides[side][1:]) for side in (False, True))
        bound, ratio = tokens[False] / tokens[True], packed / tree
        typer.echo(
            f"| {branches} | {share:.0%} | {tokens[False]:,} | {tokens[True]:,} | {bound:.2f} | "
            f"{packed:.2f} | {tree:.2f} | {ratio:.2f} | {ratio / bound:.0%} |"
        )


def _seconds(model: Qwen3ForCausalLM, rows: list[Row], *, share: bool) -> float:
    """Of a forward and backward pass over all rows in one batch, packing included."""
    objective = partial(policy_loss, model, config=ReinforcementConfig())
    begin = time.process_time()
    for batch in pack(rows, 10**9, share=share):
        objective(batch)[0].backward()
    seconds = time.process_time() - begin
    model.zero_grad(set_to_none=True)
    return seconds


def _rows(branches: int, shared: int, length: int) -> list[Row]:
    rng = random.Random(0)
    trunk = [rng.randrange(WORDS) for _ in range(shared)]
    rows = []
    for _ in range(branches):
        ids = trunk + [rng.randrange(WORDS) for _ in range(length - shared)]
        steps = [_step(ids[i : i + TOLD + SAID]) for i in range(0, length, TOLD + SAID)]
        rows.append(build_row(Trajectory(tuple(steps)), [rng.gauss(0.0, 1.0) for _ in steps]))
    return rows


def _step(ids: list[int]) -> Step:
    said = tuple(ids[TOLD:])
    sampled = Completion(ids=said, logprobs=(-7.6,) * len(said))
    return Step(bridge_ids=tuple(ids[:TOLD]), completion=sampled)


def _model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=WORDS,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=65_536,
        tie_word_embeddings=True,
    )
    config._attn_implementation = ATTENTION
    return Qwen3ForCausalLM(config)


if __name__ == "__main__":
    typer.run(main)
