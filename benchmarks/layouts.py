"""What laying an update's tokens out well saves: processor seconds of both sides, in one run.

    python benchmarks/layouts.py [--times 5] [--json]

A small Qwen3 (hidden 256, 4 layers, 2,048 words, float32, one thread) takes the gradient of the
same chosen tokens in two layouts. The least possible is what the worse side takes, times the part
of its tokens that the better one computes.

1. Packed against padded: 24 texts of 40 to 600 tokens in random order, 8 of them in a batch.
   Every token is learnt, as in imitation, and the padded side has the library's own attention.
2. Merged against stepwise: a trajectory as one row, against a row a turn with the whole past.
3. A tree against packed rows: branches that begin alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import torch
import typer
from comparison import Comparison, alternate, show  # type: ignore[import-not-found]
from fixed_talk import VOCABULARY as WORDS  # type: ignore[import-not-found]  # beside this file
from rollout import make_model  # type: ignore[import-not-found]
from torch import Tensor
from torch.nn.functional import pad
from transformers import Qwen3ForCausalLM

from longstep_agents.types import Completion, Step, Trajectory
from longstep_training.batch import Batch, Row, build_row, pack
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.scores import score

TEXTS, TOGETHER, SHORTEST, LONGEST = 24, 8, 40, 600
SAID, TOLD = 16, 32
"""Tokens of a turn: of the policy, and of the environment."""
TURNS, EPISODES = ((8, 3.9), (16, None)), 8
"""Turns, and how many times better merged rows should be."""
TREES = ((8, 0.75, 0.85 * 2.9), (16, 0.90, 0.85 * 6.4))
"""Branches, the part of their tokens that they share, and the aim: 85 % of the bound."""
BRANCH = 1_024

Side = tuple[int, Callable[[], object]]
"""How many tokens it computes, and what computes their gradient."""


def main(
    times: Annotated[int, typer.Option(help="Measurements of each side.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure and print the table."""
    torch.set_num_threads(1)
    show([_compare(*work, times) for work in _works()], as_json=as_json)


def _works() -> Iterator[tuple[str, float | None, Side, Side]]:
    """What is compared, how many times better it should be, and its two sides."""
    model, plain = make_model(), make_model("sdpa")
    texts = _texts()
    whole = [_row(text, told=len(text) - 1, said=1) for text in texts]
    learnt = _packed(model, whole, TOGETHER, objective=_imitation)
    yield "packed, not padded", 1.9, _padded(plain, texts), learnt
    for turns, goal in TURNS:
        steps = [_turns(turns) for _ in range(EPISODES)]
        merged = [_merged(episode) for episode in steps]
        single = [row for episode in steps for row in _stepwise(episode)]
        name = f"merged, not stepwise, {turns} turns"
        yield name, goal, _packed(model, single, turns), _packed(model, merged, TOGETHER)
    for branches, shared, goal in TREES:
        rows = _branches(branches, int(BRANCH * shared))
        apart, tree = (_packed(model, rows, branches, share=share) for share in (False, True))
        yield f"a tree of {branches} that share {shared:.0%}", goal, apart, tree


def _compare(name: str, goal: float | None, worse: Side, better: Side, times: int) -> Comparison:
    theirs, ours = alternate([worse[1], better[1]], times)
    tokens = f"{worse[0]:,} tokens / {better[0]:,}"
    least = theirs * better[0] / worse[0]
    return Comparison(name, ours, theirs, goal=goal, least=least, limit=tokens)


def _learning(model: Qwen3ForCausalLM, batch: Batch) -> Tensor:
    return policy_loss(model, batch, ReinforcementConfig())[0]


def _imitation(model: Qwen3ForCausalLM, batch: Batch) -> Tensor:
    scores = score(model, batch, context=True)
    return scores.context_loss - scores.logprobs_T.sum()


def _packed(
    model: Qwen3ForCausalLM,
    rows: Sequence[Row],
    together: int,
    *,
    share: bool = False,
    objective: Callable[[Qwen3ForCausalLM, Batch], Tensor] = _learning,
) -> Side:
    """So many rows in a batch, as `longstep train` computes them, packing included."""
    parts = [rows[i : i + together] for i in range(0, len(rows), together)]

    def compute() -> None:
        for part in parts:
            for batch in pack(part, 10**9, share=share):
                objective(model, batch).backward()
        model.zero_grad(set_to_none=True)

    tokens = sum(len(b.ids_N) for part in parts for b in pack(part, 10**9, share=share))
    return tokens, compute


def _padded(model: Qwen3ForCausalLM, texts: Sequence[Tensor]) -> Side:
    """Batches in the order in which texts come, as wide as the longest, under a mask."""
    parts = [texts[i : i + TOGETHER] for i in range(0, len(texts), TOGETHER)]

    def compute() -> None:
        for part in parts:
            width = max(map(len, part))
            ids = torch.stack([pad(text, (0, width - len(text))) for text in part])
            mask = torch.stack([(torch.arange(width) < len(text)).long() for text in part])
            table = model(input_ids=ids, attention_mask=mask).logits[:, :-1].log_softmax(-1)
            said = table.gather(-1, ids[:, 1:, None])[..., 0]
            (-(said * mask[:, 1:]).sum()).backward()
        model.zero_grad(set_to_none=True)

    return sum(len(part) * max(map(len, part)) for part in parts), compute


def _texts() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(SHORTEST, LONGEST, (TEXTS,), generator=generator).tolist()
    return [torch.randint(3, WORDS, (length,), generator=generator) for length in lengths]


def _row(ids: Sequence[int] | Tensor, *, told: int, said: int) -> Row:
    """A row of turns of so many tokens."""
    tokens = [int(token) for token in ids]
    turns = [tokens[i : i + told + said] for i in range(0, len(tokens), told + said)]
    return _merged([(turn[:told], turn[told:]) for turn in turns])


Turn = tuple[list[int], list[int]]


def _merged(turns: Sequence[Turn]) -> Row:
    """All turns as one growing text."""
    steps = [_step(told, said) for told, said in turns]
    return build_row(Trajectory(tuple(steps)), [1.0] * len(steps))


def _stepwise(turns: Sequence[Turn]) -> list[Row]:
    """A row a turn, each with all turns before it."""
    past: list[int] = []
    rows = []
    for told, said in turns:
        rows.append(build_row(Trajectory((_step([*past, *told], said),)), [1.0]))
        past += [*told, *said]
    return rows


def _turns(count: int) -> list[Turn]:
    drawn = random.Random(count)
    return [(_drawn(drawn, TOLD), _drawn(drawn, SAID)) for _ in range(count)]


def _branches(count: int, shared: int) -> list[Row]:
    drawn = random.Random(0)
    trunk = _drawn(drawn, shared)
    return [
        _row(trunk + _drawn(drawn, BRANCH - shared), told=TOLD, said=SAID) for _ in range(count)
    ]


def _drawn(rng: random.Random, count: int) -> list[int]:
    return [rng.randrange(WORDS) for _ in range(count)]


def _step(told: Sequence[int], said: Sequence[int]) -> Step:
    sampled = Completion(ids=tuple(said), logprobs=(-7.6,) * len(said))
    return Step(bridge_ids=tuple(told), completion=sampled)


if __name__ == "__main__":
    typer.run(main)
