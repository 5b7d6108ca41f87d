"""Computing once what texts begin with in common changes nothing but the work."""

import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention
from transformers import Qwen3ForCausalLM

from longstep_agents.types import Completion, Step, Trajectory
from longstep_training.batch import Row, build_row, pack, pack_rows
from longstep_training.distributed import World
from longstep_training.forest import Forest, Packed, common_beginning, plant
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.scores import score
from longstep_training.updater import OptimizerConfig, Updater

ModelFactory = Callable[..., Qwen3ForCausalLM]
TEXTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=12)


def past(packed: Packed, place: int) -> set[int]:
    """The places that the one at `place` sees."""
    assert isinstance(packed.packing, Forest)
    size = torch.arange(len(packed.ids))
    return set(packed.packing.sees(torch.tensor(place), size).nonzero()[:, 0].tolist())


@given(TEXTS, st.integers(1, 5))
def test_each_token_of_each_text_sees_its_own_text_so_far_and_nothing_else(
    texts: list[list[int]], least: int
) -> None:
    packed = plant(texts, least)
    for text, places in zip(texts, packed.places, strict=True):
        assert [packed.ids[place] for place in places] == text
        assert [packed.positions[place] for place in places] == list(range(len(text)))
        for end, place in enumerate(places, 1):
            assert past(packed, int(place)) == set(places[:end].tolist())


@given(TEXTS)
def test_common_beginnings_are_there_once(texts: list[list[int]]) -> None:
    beginnings = {tuple(text[:end]) for text in texts for end in range(1, len(text) + 1)}
    assert len(plant(texts, least=1).ids) == len(beginnings)


def test_what_is_hardly_shared_is_computed_again() -> None:
    texts = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [1, 9, 9, 9, 9], [7]]
    assert len(plant(texts, least=4).ids) == 5 + 1 + 5 + 1
    assert len(plant(texts, least=5).ids) == 5 + 5 + 5 + 1


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [([1, 2], [1, 2, 3], 2), ([1, 2], [1, 3], 1), ([], [1], 0), ([4], [5], 0), ([1], [1], 1)],
)
def test_a_common_beginning_is_counted(one: list[int], other: list[int], shared: int) -> None:
    assert common_beginning(one, other) == common_beginning(other, one) == shared


@settings(max_examples=25, deadline=None)
@given(TEXTS, st.integers(1, 3), st.integers(0, 99))
def test_attention_and_its_gradient_are_those_of_a_mask(
    texts: list[list[int]], least: int, seed: int
) -> None:
    forest, size = (packed := plant(texts, least)).packing, len(packed.ids)
    assert isinstance(forest, Forest)
    places = torch.arange(size)
    mask = forest.sees(places[:, None], places[None])
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(heads, size, 8, generator=generator) for heads in (4, 2, 2, 4)]

    def through(attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> list[Tensor]:
        query, key, value = (tensor.clone().requires_grad_() for tensor in drawn[:3])
        output = attend(query, key, value)
        output.backward(drawn[3])
        assert query.grad is not None
        assert key.grad is not None
        assert value.grad is not None
        return [output, query.grad, key.grad, value.grad]

    found = through(lambda q, k, v: forest.attend(0, q, k, v, 0.4))
    wanted = through(
        lambda q, k, v: scaled_dot_product_attention(
            q[None], k[None], v[None], attn_mask=mask, scale=0.4, enable_gqa=True
        )[0]
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@settings(max_examples=5, deadline=None)
@given(TEXTS, st.integers(1, 3), st.integers(0, 99))
def test_what_a_gpu_is_asked_for_is_the_same(texts: list[list[int]], least: int, seed: int) -> None:
    """Forward and not compiled, which is all that there is of flex attention without one."""
    forest, size = (packed := plant(texts, least)).packing, len(packed.ids)
    assert isinstance(forest, Forest)
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(heads, size, 16, generator=generator) for heads in (4, 2, 2))
    mask = forest.mask_on(torch.device("cpu"))
    options = {"block_mask": mask, "scale": 0.4, "enable_gqa": True}
    with warnings.catch_warnings(action="ignore"):
        asked = flex_attention(q[None], k[None], v[None], **options)[0]
    torch.testing.assert_close(asked, forest.attend(0, q, k, v, 0.4), rtol=1e-5, atol=1e-5)


def tree_rows(rng: random.Random, model: Qwen3ForCausalLM) -> list[Row]:
    """Branches of three trees: they share prompts, and some of what was chosen."""

    def step(seed: int, *, begins: bool = False) -> Step:
        draw = random.Random(seed)
        ids = tuple(draw.randrange(4, 40) for _ in range(6))
        allowed = tuple(tuple(sorted({i, 5, 9})) for i in ids) if seed % 3 == 0 else None
        bridge = tuple(draw.randrange(4, 40) for _ in range(draw.randint(12, 30)))
        sampled = Completion(ids=ids, logprobs=(0.0,) * 6, allowed=allowed)
        return Step(bridge_ids=bridge, completion=sampled, begins_row=begins)

    rows = []
    for root in range(3):
        for branch in range(4):
            trunk = [step(100 * root + s) for s in range(3 - branch % 2)]
            own = [step(rng.randrange(10**6), begins=branch == 3) for _ in range(2)]
            steps = (*trunk, *own)
            rows.append(build_row(Trajectory(steps), [rng.gauss(0.0, 1.0) for _ in steps], "step"))
    for row in rows:
        present = score(model, pack_rows([row])).logprobs_T.tolist()
        row.logprobs[:] = [value + rng.gauss(0.0, 0.2) for value in present]
    rng.shuffle(rows)
    return rows


@pytest.mark.parametrize("budget", [60, 300, 10_000])
def test_an_update_that_shares_has_the_gradient_of_one_that_does_not(
    make_model: ModelFactory, budget: int
) -> None:
    rows = tree_rows(random.Random(budget), make_model())

    def update(*, share: bool, budget: int) -> tuple[Tensor, dict[str, float]]:
        model = make_model()
        config = OptimizerConfig(
            token_budget=budget, share=share, learning_rate=1e-9, clip_norm=1e9
        )
        updater = Updater(model, config, World())
        seen: list[Tensor] = []
        updater.optimizer.register_step_pre_hook(
            lambda *_: seen.extend(p.grad.flatten().clone() for p in model.parameters())  # type: ignore[union-attr]
        )
        told = updater.step(rows, partial(policy_loss, model, config=ReinforcementConfig()))
        return torch.cat(seen), told

    expected, told = update(share=False, budget=10_000)
    found, told_shared = update(share=True, budget=budget)
    assert float((found - expected).norm() / expected.norm()) < 1e-5
    assert told_shared == pytest.approx(told, rel=1e-4, abs=1e-4)


def test_batches_that_share_hold_every_row_once_within_the_budget_of_what_is_computed(
    make_model: ModelFactory,
) -> None:
    rows = tree_rows(random.Random(0), make_model())
    marked = [replace(row, advantages=[float(i)] * len(row.steps)) for i, row in enumerate(rows)]
    batches = list(pack(marked, 400, share=True))
    told = sorted({float(a) for batch in batches for a in batch.advantages_T})
    assert told == [float(i) for i in range(len(rows))]
    assert 1 < len(batches) < len(list(pack(marked, 400)))
    computed, all_tokens = lengths(batches), sum(len(row.ids) for row in rows)
    assert sum(computed) < 0.8 * all_tokens
    assert max(computed) <= 400


def lengths(batches: Sequence[object]) -> list[int]:
    return [len(batch.ids_N) for batch in batches]  # type: ignore[attr-defined]
