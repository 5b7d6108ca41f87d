"""Methods, rows and tokens that the tests of entropy control share."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from longstep_training.batch import Row, pack_rows
from longstep_training.entropy import ENTROPY, AnyEntropyConfig, EntropyControl
from longstep_training.entropy.control import EntropyTerm
from longstep_training.loss import Tokens

METHODS = sorted(ENTROPY)


OPTIONS: dict[str, dict[str, Any]] = {
    "bonus": {"coefficient": 0.1},
    "target": {"start": 0.05, "entropy": 5.0},
    "clip_cov": {"fraction": 0.2, "low": 0.0},
    "kl_cov": {"fraction": 0.2},
    "lp_reg": {"fraction": 0.5},
    "aepo": {"entropy": 3.0},
    "entropy_balanced": {"clip_high": 0.2},
}


VOCABULARY = 6


HISTORY = [[(4.0, 8), (3.0, 6)], [(3.0, 8), (3.5, 6), (0.5, 2)]]


def make(name: str, **options: Any) -> EntropyControl:
    known = {"name": name, **OPTIONS.get(name, {}), **options}
    return ENTROPY[name](TypeAdapter(AnyEntropyConfig).validate_python(known))


def experienced(name: str, **options: Any) -> EntropyControl:
    control = make(name, **options)
    for sums in HISTORY:
        control.observe(sums)
    return control


def random_rows(seed: int) -> list[Row]:
    rng = random.Random(seed)
    rows = []
    for _ in range(rng.randrange(1, 5)):
        steps = [turn for turn in range(3) for _ in range(rng.randrange(1, 5))]
        n = len(steps)
        rows.append(
            Row(
                ids=[0, *(rng.randrange(VOCABULARY) for _ in range(n))],
                lengths=[n + 1],
                positions=list(range(1, n + 1)),
                logprobs=[-rng.expovariate(0.7) for _ in range(n)],
                admitted=[None] * n,
                advantages=[rng.choice([-1.0, -0.5, 0.5, 2.0]) for _ in range(n)],
                steps=steps,
                weights=[1.0] * n,
                share=float(n),
            )
        )
    return rows


def term_of(
    control: EntropyControl, rows: Sequence[Row], logits_TV: Tensor
) -> tuple[Tokens, EntropyTerm]:
    """The term of a batch of rows, for a policy with these logits at the chosen tokens."""
    batch = pack_rows(rows)
    distribution_TV = logits_TV.log_softmax(-1)
    logprobs_T = distribution_TV.gather(1, batch.targets_T[:, None])[:, 0]
    tokens = Tokens(
        logprobs_T,
        batch.old_logprobs_T,
        batch.advantages_T,
        batch.rows_T,
        batch.steps_T,
        turns_T=batch.turns_T,
        marked_T=batch.marked_T,
    )
    return tokens, control.term(tokens, control.measure(distribution_TV))


def total(tokens: Tokens, term: EntropyTerm) -> Tensor:
    """The term, and a policy loss that it scales."""
    policy_T = -tokens.advantages_T * tokens.log_ratio_T.exp()
    return (policy_T * (1.0 if term.scale_T is None else term.scale_T) + term.loss_T).sum()


def random_logits(seed: int, rows: Sequence[Row]) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    count = sum(len(row.steps) for row in rows)
    return 2.0 * torch.randn(count, VOCABULARY, generator=generator)


def plain(count: int, **known: Tensor) -> Tokens:
    """Tokens of one step each, all of one row."""
    places, zeros = torch.arange(count), torch.zeros(count)
    fields = {"turns_T": places, "advantages_T": zeros, "old_T": zeros, "logprobs_T": zeros}
    return Tokens(**{**fields, "rows_T": 0 * places, "steps_T": places, **known})
