"""Shards of a policy: what is recorded, sampled and saved is as without, for any number of them."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from longstep_training.distributed import launch

sys.path.insert(0, str(Path(__file__).parent))  # spawned processes import the work by name
ranks = import_module("shard_ranks")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process without shards and two with them have left."""
    out = tmp_path_factory.mktemp("shards")
    launch(1, ranks.tell_records, out)
    launch(1, ranks.train_and_save, out, False)
    launch(2, ranks.together, out)
    launch(1, ranks.resume, out, 2, False)
    return out


def state(path: Path) -> dict[str, Tensor]:
    loaded: dict[str, Tensor] = torch.load(path)
    return loaded


@pytest.mark.parametrize(("writers", "readers"), [(2, 1), (1, 2)])
def test_another_number_of_processes_reads_the_very_same_state(
    told: Path, writers: int, readers: int
) -> None:
    saved, resumed = state(told / f"saved-{writers}"), state(told / f"resumed-{readers}")
    assert set(resumed) <= set(saved) or set(saved) <= set(resumed)  # tied names are told once
    names = set(saved) & set(resumed)
    assert sum(name.endswith("exp_avg") for name in names) > 40
    for name in names:
        assert torch.equal(saved[name], resumed[name]), name


@pytest.mark.parametrize(("writers", "readers"), [(2, 1), (1, 2)])
def test_training_goes_on_as_if_nothing_had_been(told: Path, writers: int, readers: int) -> None:
    ended, went_on = state(told / f"ended-{writers}"), state(told / f"went-on-{readers}")
    for name in set(ended) & set(went_on):
        assert torch.allclose(ended[name], went_on[name], rtol=1e-4, atol=1e-5), name


def test_records_are_those_of_one_process(told: Path) -> None:
    (alone,), both = (
        [torch.load(told / f"told-{size}-{rank}.pt", weights_only=False) for rank in range(size)]
        for size in (1, 2)
    )
    assert both[0] == both[1]
    for one, other in zip(alone, both[0], strict=True):
        for step, twin in zip(one.steps, other.steps, strict=True):
            for field in ("trainer_logprobs", "reference_logprobs", "values", "entropies"):
                expected: Any = getattr(step.completion, field)
                assert getattr(twin.completion, field) == pytest.approx(expected, abs=1e-5)
                assert len(expected) == len(step.completion.ids)


def test_a_gradient_that_is_not_finite_is_refused_by_all(told: Path) -> None:
    launch(1, ranks.diverge, told)
    for name in ("1-0", "2-0", "2-1"):
        assert "lower learning_rate" in (told / f"refused-{name}.txt").read_text()
