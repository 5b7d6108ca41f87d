"""The gradient is that of the rows, however they are laid out, packed, and dealt to processes."""

from __future__ import annotations

import random
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor

from longstep_training.distributed import World, launch

sys.path.insert(0, str(Path(__file__).parent))  # spawned processes import the work by name
ranks = import_module("shard_ranks")

Gradient = dict[str, Tensor]
ALONE = World()


@pytest.fixture(scope="module")
def plain() -> Gradient:
    """Every row by itself, on one process."""
    torch.set_num_threads(1)
    gradient: Gradient = ranks.gradient(
        ranks.updater_of(ALONE, sharded=False, token_budget=1), ranks.make_rows()
    )
    assert _norm(gradient) > 0.1
    return gradient


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Gradient]]:
    """What each of two processes found."""
    out = tmp_path_factory.mktemp("ranks")
    launch(2, ranks.tell_gradients, out)
    return [torch.load(out / f"2-{rank}.pt") for rank in range(2)]


def assert_equal(found: Gradient, expected: Gradient, within: float = 1e-5) -> None:
    assert found.keys() == expected.keys()
    differ = {name: found[name] - expected[name] for name in expected}
    assert _norm(differ) < within * _norm(expected)
    for name in expected:
        assert differ[name].norm() < within * max(expected[name].norm(), 1e-2 * _norm(expected))


def _norm(gradient: Gradient) -> float:
    return float(torch.stack([value.norm() for value in gradient.values()]).norm())


@pytest.mark.parametrize("budget", [1, 100, 10_000])
@pytest.mark.parametrize("share", [False, True], ids=["packed", "tree"])
@pytest.mark.parametrize("layout", ["merged", "forked", "stepwise"])
def test_layout_and_micro_batches(layout: str, share: bool, budget: int, plain: Gradient) -> None:
    updater = ranks.updater_of(ALONE, sharded=False, token_budget=budget, share=share)
    assert_equal(ranks.gradient(updater, ranks.make_rows(layout)), plain)


@pytest.mark.parametrize("share", [False, True], ids=["packed", "tree"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_rows(seed: int, share: bool, plain: Gradient) -> None:
    rows = ranks.make_rows("stepwise")
    random.Random(seed).shuffle(rows)
    updater = ranks.updater_of(ALONE, sharded=False, token_budget=100, share=share)
    assert_equal(ranks.gradient(updater, rows), plain)


def test_one_process_with_shards(plain: Gradient, tmp_path: Path) -> None:
    launch(1, ranks.tell_gradients, tmp_path)
    found = torch.load(tmp_path / "1-0.pt")
    rounded = found.pop("bfloat16")
    for gradient in found.values():
        assert_equal(gradient, plain)
    assert_equal(rounded, plain, within=0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_one_process_with_shards_on_a_gpu(plain: Gradient, tmp_path: Path) -> None:
    launch(1, ranks.tell_gradients, tmp_path, device="cuda")
    for name, gradient in torch.load(tmp_path / "1-0.pt").items():
        assert_equal(gradient, plain, within=0.1 if name == "bfloat16" else 1e-3)


def test_two_processes_with_and_without_shards(
    plain: Gradient, of_two: list[dict[str, Gradient]]
) -> None:
    """One has three rows and the other two, a batch each with a budget of 1."""
    for found in of_two:
        rounded = found.pop("bfloat16")
        assert len(found) == 6
        for gradient in found.values():
            assert_equal(gradient, plain)
        assert_equal(rounded, plain, within=0.1)


def test_a_gradient_that_is_wrong_is_told_from_one_that_is_rounded(plain: Gradient) -> None:
    updater = ranks.updater_of(ALONE, sharded=False)
    wrong = ranks.gradient(updater, ranks.make_rows()[:-1])
    with pytest.raises(AssertionError):
        assert_equal(wrong, plain)
