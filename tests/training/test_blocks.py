"""Blocks that are computed again, or compiled: the same gradient, and less that is held."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from longstep_envs.types import BadValueError
from longstep_training.batch import Row, pack_rows
from longstep_training.blocks import ActivationCheckpointing, run_blocks, running
from longstep_training.policy import Precision, compute_in
from longstep_training.reinforcement import ReinforcementConfig, policy_loss

ModelFactory = Callable[..., Qwen3ForCausalLM]
RowSampler = Callable[..., list[Row]]


class Held(TorchDispatchMode):
    """Counts the bytes that operations have made and that are still there."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for one in output if isinstance(output, tuple | list) else (output,):
            if isinstance(one, Tensor) and id(one.untyped_storage()) not in self._known:
                self._count(one.untyped_storage())
        return output

    def _count(self, storage: Any) -> None:
        key, size = id(storage), storage.nbytes()
        self._known.add(key)
        self.now += size
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def gradient(model: Qwen3ForCausalLM, rows: list[Row], share: bool = False) -> Tensor:
    model.zero_grad()
    policy_loss(model, pack_rows(rows, share=share), ReinforcementConfig())[0].backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_what_is_computed_again_gives_the_same_gradient(
    make_model: ModelFactory,
    sample_rows: RowSampler,
    checkpointing: ActivationCheckpointing,
    share: bool,
    precision: Precision,
) -> None:
    model = make_model(2)
    rows = [row for row in sample_rows(model) for _ in range(2)]
    compute_in(precision, model)
    expected = gradient(model, rows, share)
    assert torch.equal(gradient(run_blocks(model, checkpointing), rows, share), expected)
    assert torch.equal(gradient(run_blocks(model), rows, share), expected)


def test_the_more_is_computed_again_the_less_is_held(
    make_model: ModelFactory, sample_rows: RowSampler
) -> None:
    model = make_model()
    batch = pack_rows(sample_rows(model, count=24))
    kinds: list[ActivationCheckpointing] = ["none", "selective", "full"]
    held = {}
    for kind in kinds:
        with Held() as counted:
            loss, _ = policy_loss(run_blocks(model, kind), batch, ReinforcementConfig())
            held[kind] = counted.now
        loss.backward()
    assert held["full"] < 0.5 * held["selective"]
    assert held["selective"] < 0.75 * held["none"]


def test_what_samples_copies_or_fails_sees_nothing_of_it(
    make_model: ModelFactory, sample_rows: RowSampler
) -> None:
    plain, model = make_model(), run_blocks(make_model(), "full")
    assert [row.logprobs for row in sample_rows(model)] == [r.logprobs for r in sample_rows(plain)]
    with running(model):
        assert all("forward" in vars(layer) for layer in model.model.layers)
    assert not any("forward" in vars(layer) for layer in copy.deepcopy(model).model.layers)


class Unknown(PreTrainedModel):
    config_class = Qwen3Config


def test_a_model_whose_blocks_are_not_told_is_refused() -> None:
    with pytest.raises(BadValueError, match=r"blocks of a qwen3 model: leave run\.activation_"):
        run_blocks(Unknown(Qwen3Config()), "full")


@pytest.mark.slow
def test_compiled_blocks_give_almost_the_same_gradient(
    make_model: ModelFactory, sample_rows: RowSampler
) -> None:
    model = make_model(2)
    rows = sample_rows(model)
    kinds: list[ActivationCheckpointing] = ["none", "full"]
    for kind in kinds:
        compiled = run_blocks(copy.deepcopy(model), kind, compiled=True)
        for count in (3, 6):  # other lengths
            expected, found = gradient(model, rows[:count]), gradient(compiled, rows[:count])
            assert float((found - expected).norm() / expected.norm()) < 1e-5
            assert not torch.equal(found, expected), "nothing was compiled"
