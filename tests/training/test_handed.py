"""Several processes and one server that weights are broadcast to."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from longstep_agents.model import EngineError
from longstep_training.distributed import launch

# Spawned processes import the work by its name, and that what it shares with other tests.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
if find_spec("openai") is None:
    pytest.skip("the client of vLLM servers needs longstep[openai]", allow_module_level=True)
ranks = import_module("handing_ranks")
receiving = import_module("tests.agents.models.receiving").receiving


def test_a_server_gets_the_whole_of_a_policy_in_shares(tmp_path: Path) -> None:
    with receiving(tmp_path) as url:
        launch(2, ranks.hand_over, tmp_path, url)
    told = [torch.load(tmp_path / f"told-{rank}.pt") for rank in range(2)]
    got = load_file(tmp_path / "worker-1.safetensors")
    weights, _, _ = told[0]
    assert all(torch.equal(tensor, weights[name].bfloat16()) for name, tensor in got.items())
    assert set(got) == {"model.embed_tokens.weight", *weights} - {"lm_head.weight"}
    size = sum(tensor.nbytes for tensor in got.values())
    assert [(copied, version) for _, copied, version in told] == [(size // 2, 3)] * 2


@pytest.mark.slow
def test_processes_that_wait_to_gather_end_with_the_one_that_fails(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="unreachable"):
        launch(2, ranks.hand_over, tmp_path, "http://127.0.0.1:9/v1")
