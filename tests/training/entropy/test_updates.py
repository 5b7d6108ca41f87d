"""Entropy control within updates: free and constrained tokens, packed in any way."""

import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.training.entropy.cases import METHODS, experienced
from torch import Tensor

from longstep_agents.types import Completion, Step, Trajectory
from longstep_training.batch import Row, build_row, pack
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.scores import score

VOCABULARY = 9


class Bigram(torch.nn.Module):
    """The least model that has a gradient: the next token depends on the last one alone."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(VOCABULARY, VOCABULARY, generator=generator))

    def forward(self, input_ids: Tensor, logits_to_keep: Any, **_: object) -> SimpleNamespace:
        return SimpleNamespace(logits=self.table[input_ids][:, logits_to_keep])


def random_rows(seed: int) -> list[Row]:
    rng = random.Random(seed)

    def step() -> Step:
        ids = tuple(rng.randrange(VOCABULARY) for _ in range(rng.randint(1, 5)))
        admitted = [tuple(sorted({i, *rng.sample(range(VOCABULARY), 2)})) for i in ids]
        allowed = tuple(ids if rng.random() < 0.5 else None for ids in admitted)
        logprobs = tuple(rng.uniform(-3.0, -0.1) for _ in ids)
        return Step(bridge_ids=(1, 2), completion=Completion(ids, logprobs, allowed=allowed))

    walks = [tuple(step() for _ in range(rng.randint(1, 4))) for _ in range(6)]
    return [build_row(Trajectory(walk), [rng.gauss(0, 1) for _ in walk]) for walk in walks]


@pytest.mark.parametrize("name", METHODS)
def test_an_update_does_not_depend_on_packing(name: str) -> None:
    control, config = experienced(name), ReinforcementConfig()
    rows = control.begin(random_rows(1), random.Random(0))

    def gradient(rows: list[Row], budget: int) -> Tensor:
        model: Any = Bigram()
        for batch in pack(rows, budget):
            policy_loss(model, batch, config, control=control)[0].backward()
        assert torch.isfinite(model.table.grad).all()
        found: Tensor = model.table.grad
        return found

    whole = gradient(rows, 10_000)
    for order, budget in ((rows, 1), (rows, 30), (rows[::-1], 30)):
        torch.testing.assert_close(gradient(order, budget), whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_control_changes_the_update(name: str) -> None:
    rows = experienced(name).begin(random_rows(1), random.Random(0))
    gradients = []
    for control in (experienced(name), None):
        model: Any = Bigram()
        (batch,) = pack(rows, 10_000)
        policy_loss(model, batch, ReinforcementConfig(), control=control)[0].backward()
        gradients.append(model.table.grad)
    assert not torch.allclose(*gradients)


def test_what_is_measured_stands_beside_the_entropy_of_the_same_token() -> None:
    model: Any = Bigram()
    (batch,) = pack(random_rows(2), 10_000)
    plain = score(model, batch)
    assert torch.equal(plain.measured_T, plain.entropy_T)
    double = score(model, batch, measure=lambda d: torch.stack([d.amax(-1), d.exp().sum(-1)], -1))
    torch.testing.assert_close(double.entropy_T, plain.entropy_T.detach())
    assert not double.entropy_T.requires_grad
    assert double.measured_T.shape == (len(plain.entropy_T), 2)
    assert (double.measured_T[:, 0] >= plain.logprobs_T - 1e-6).all()
    torch.testing.assert_close(double.measured_T[:, 1], torch.ones(len(plain.entropy_T)))
