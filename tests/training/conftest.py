"""For the tests of training: rows as a policy samples them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from longstep_training.batch import Row

RowSampler = Callable[..., "list[Row]"]


@pytest.fixture(scope="session")
def sample_rows() -> RowSampler:
    """Plays episodes of three turns, every other turn of them under a constraint."""
    from longstep_agents.constraint import TokenTrie
    from longstep_agents.model import SamplingParams
    from longstep_agents.models.hf import HFModel
    from longstep_agents.types import Step, Trajectory
    from longstep_training.batch import build_row

    trie = TokenTrie([(10, 11, 12, 1), (10, 11, 13, 1), (14, 1), (15, 16, 1)])

    def sample(model: PreTrainedModel, temperature: float = 1.0, count: int = 6) -> list[Row]:
        engine = HFModel(model, lanes=count)

        async def episode(seed: int) -> Row:
            rng = random.Random(seed)
            context: list[int] = []
            steps = []
            for turn in range(3):
                bridge = tuple(rng.randrange(4, 40) for _ in range(rng.randrange(1, 5)))
                context += bridge
                constraint = trie if (turn + seed) % 2 else None
                params = SamplingParams(temperature, 5, (1,), constraint, session=seed, seed=seed)
                completion = await engine.sample(context, params)
                context += completion.ids
                steps.append(Step(bridge_ids=bridge, completion=completion))
            return build_row(Trajectory(tuple(steps)), [rng.uniform(-1, 1) for _ in steps])

        async def everyone() -> list[Row]:
            return list(await asyncio.gather(*map(episode, range(count))))

        return asyncio.run(everyone())

    return sample
