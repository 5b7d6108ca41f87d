"""On a GPU: attention, updates, samples and a whole iteration are what they are on the CPU."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen3ForCausalLM

from longstep_agents.attention import Documents, varlen_attention
from longstep_agents.model import SamplingParams
from longstep_agents.models.engine import EngineConfig
from longstep_agents.models.hf import HFModel
from longstep_training.batch import Row
from longstep_training.blocks import ActivationCheckpointing, run_blocks
from longstep_training.config import build_config
from longstep_training.distributed import World
from longstep_training.forest import Forest, plant
from longstep_training.loop import train
from longstep_training.policy import Precision, compute_in
from longstep_training.recipe import TrainConfig
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.scores import MOST_LOGITS
from longstep_training.updater import OptimizerConfig, Updater

ModelFactory = Callable[..., Qwen3ForCausalLM]
RowSampler = Callable[..., list[Row]]
DEVICE, CPU = torch.device("cuda", 0), torch.device("cpu")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


@pytest.fixture(autouse=True)
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits come in parts on the GPU."""
    monkeypatch.setitem(MOST_LOGITS, DEVICE.type, 400)


def through(
    attend: Callable[[Tensor, Tensor, Tensor], Tensor], drawn: list[Tensor], device: torch.device
) -> list[Tensor]:
    """What attention gives, and the gradients of queries, keys and values."""
    given = [tensor.to(device).requires_grad_() for tensor in drawn[:3]]
    output = attend(*given)
    output.backward(drawn[3].to(device))
    return [
        part.cpu().float()
        for part in (output, *(tensor.grad for tensor in given))
        if part is not None
    ]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_one_kernel_for_all_documents_is_a_call_for_each(dtype: torch.dtype) -> None:
    assert varlen_attention() is not None
    documents = Documents([40, 1, 300, 17])
    torch.manual_seed(0)
    drawn = [torch.randn(heads, 358, 64) for heads in (4, 2, 2, 4)]
    rough = through(
        lambda q, k, v: documents.attend(0, q, k, v, 0.2), [one.to(dtype) for one in drawn], DEVICE
    )
    exact = through(lambda q, k, v: documents.attend(0, q, k, v, 0.2), drawn, CPU)
    for one, other in zip(rough, exact, strict=True):
        assert float((one - other).norm() / other.norm()) < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_trees_are_attended_to_as_on_the_cpu(dtype: torch.dtype) -> None:
    trunk = list(range(100))
    texts = [[*trunk[: 100 - 20 * i], *range(200 + i, 260 + i)] for i in range(4)]
    packed = plant(texts)
    forest = packed.packing
    assert isinstance(forest, Forest)
    torch.manual_seed(0)
    drawn = [torch.randn(heads, len(packed.ids), 64) for heads in (4, 2, 2, 4)]
    found, exact = (
        through(lambda q, k, v: forest.attend(0, q, k, v, 0.2), given, device)
        for given, device in (([one.to(dtype) for one in drawn], DEVICE), (drawn, CPU))
    )
    most = 0.02 if dtype == torch.bfloat16 else 5e-3  # products may be rounded to TF32
    for one, other in zip(found, exact, strict=True):
        assert float((one - other).norm() / other.norm()) < most


def gradient(model: Qwen3ForCausalLM, rows: list[Row], *, share: bool) -> Tensor:
    """What one update gives to the optimiser."""
    config = OptimizerConfig(learning_rate=1e-9, clip_norm=1e9, share=share)
    seen: list[Tensor] = []
    updater = Updater(model, config, World(device=model.device))
    updater.optimizer.register_step_pre_hook(
        lambda *_: seen.extend(
            p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None
        )
    )
    updater.step(rows, lambda batch: policy_loss(model, batch, ReinforcementConfig()))
    return torch.cat(seen)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize(("precision", "least"), [("float32", 0.99999), ("bfloat16", 0.99)])
@pytest.mark.parametrize("checkpointing", ["none", "selective", "full"])
def test_an_update_has_the_gradient_of_the_cpu(
    make_model: ModelFactory,
    sample_rows: RowSampler,
    checkpointing: ActivationCheckpointing,
    precision: Precision,
    least: float,
    share: bool,
) -> None:
    model = make_model(2)
    rows = [row for row in sample_rows(model) for _ in range(2)]
    expected = gradient(model, rows, share=share)
    nn.Module.to(model, DEVICE)
    compute_in(precision, run_blocks(model, checkpointing))
    found = gradient(model, rows, share=share)
    assert float(torch.cosine_similarity(found, expected, dim=0)) > least


def test_compiled_blocks_have_the_gradient_of_the_cpu(
    make_model: ModelFactory, sample_rows: RowSampler
) -> None:
    model = make_model(2)
    rows = sample_rows(model)
    expected = gradient(model, rows, share=False)
    nn.Module.to(model, DEVICE)
    found = gradient(run_blocks(model, compiled=True), rows, share=False)
    assert float(torch.cosine_similarity(found, expected, dim=0)) > 0.999


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_the_engine_samples_what_it_samples_on_the_cpu(
    make_model: ModelFactory, lean: bool, kv_heads: int
) -> None:
    async def play(engine: HFModel, session: int) -> list[int]:
        text = [5 + session, 6, 7]
        for turn in range(3):
            params = SamplingParams(1.0, 6, (), None, session=session, seed=session)
            text.append(9 + turn)
            text += (await engine.sample(text, params)).ids
        engine.release(session)
        return text

    async def everyone(engine: HFModel) -> list[list[int]]:
        return list(await asyncio.gather(*(play(engine, session) for session in range(5))))

    found = []
    for device in (CPU, DEVICE):
        model = make_model(kv_heads)
        nn.Module.to(model, device)
        engine = HFModel(model, EngineConfig(lean=lean, context=64), lanes=3)
        found.append(asyncio.run(everyone(engine)))
    assert found[0] == found[1]


def test_an_iteration_of_training_is_done_there(tmp_path: Path) -> None:
    tasks = {"env_id": "longstep/Treasure-v0", "turns": 6, "env_kwargs": {"rooms": 3, "locks": 1}}
    config: dict[str, Any] = {
        "train": tasks,
        "agent": {"max_tokens": 8, "action": {"constraint": "admissible"}},
        "policy": {
            "vocabulary_episodes": 8,
            "small": {"hidden": 64, "layers": 2, "heads": 2, "feed_forward": 64},
        },
        "imitation": {"iterations": 1, "demonstrations": 8, "schedule": {"updates": 2}},
        "rl": {"iterations": 2, "tasks": 2, "siblings": 4},
        "run": {"device": DEVICE.type, "precision": "bfloat16"},
    }
    train(build_config(TrainConfig, config, "gpu"), tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["phase"] == "rl"]
    assert [row["iteration"] for row in rows] == [1, 2]
    assert all(row["failed_episodes"] == 0 for row in rows)
