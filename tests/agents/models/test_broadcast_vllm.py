"""Weights by broadcast to a real vLLM server, over gloo where it has no GPU."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tests.agents.models.receiving import ROOT, GlooGroup
from tests.agents.models.starting import ARGUMENTS, ON_CPUS, build, serving
from torch import nn
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from longstep_agents.model import EngineError, SamplingParams
from longstep_agents.models.endpoint import VLLMServerConfig
from longstep_agents.models.vllm_server import VLLMServer
from longstep_agents.models.weight_group import Group, NCCLGroup
from longstep_agents.small_policy import save_policy
from longstep_agents.types import Completion

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
WHY = "vLLM is not installed here; `make test-vllm` runs this in an environment of its own"
OVER_GLOO = {
    "weight-transfer-config": '{"backend": "gloo"}',
    "worker-extension-cls": "tests.agents.models.gloo_transfer.Registered",
}
PROMPT = [20, 21, 22, 23, 24, 25, 26, 3] * 20
GREEDY = SamplingParams(temperature=0.0, max_tokens=16)


@pytest.fixture(scope="module")
def folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What servers start with."""
    pytest.importorskip("vllm", reason=WHY)
    path = tmp_path_factory.mktemp("served") / "policy"
    save_policy(build(tokenizer, 0, "sdpa"), tokenizer, path)
    return path


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """A server that takes weights over gloo."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {"PYTHONPATH": paths, "GLOO_SOCKET_IFNAME": "lo"}
    with serving(folder, ARGUMENTS | OVER_GLOO, ON_CPUS, environment) as address:
        yield address


@contextmanager
def serving_on(gpu: int, folder: Path) -> Iterator[str]:
    """A server that takes weights over NCCL, as it is started for training."""
    arguments = {"dtype": "bfloat16", "weight-transfer-config": '{"backend": "nccl"}'}
    arguments["gpu-memory-utilization"] = "0.3"
    kept = {name: ARGUMENTS[name] for name in ("max-model-len", "logprobs-mode")}
    flags = ["--enforce-eager"]
    with serving(folder, kept | arguments, flags, {"CUDA_VISIBLE_DEVICES": str(gpu)}) as address:
        yield address


def agrees(model: Qwen3ForCausalLM, done: Completion, within: float = 1e-3) -> bool:
    """Whether the model itself would have sampled so."""
    with torch.no_grad():
        ids = torch.tensor([[*PROMPT, *done.ids]], device=model.device)
        logits = model(ids).logits[0, len(PROMPT) - 1 : -1]
    own = logits.float().cpu().log_softmax(-1)
    told = torch.tensor(done.logprobs)
    chosen = own.gather(1, torch.tensor(done.ids)[:, None])[:, 0]
    return bool((chosen - told).abs().max() < within)


def played(model: VLLMServer, policies: list[Qwen3ForCausalLM]) -> list[Completion]:
    """What is sampled from the first, which the server has, and from each that is handed over."""

    async def play() -> list[Completion]:
        done = [await model.sample(PROMPT, GREEDY)]
        for version, policy in enumerate(policies[1:], 1):
            await model.load(policy.state_dict(), version)
            done.append(await model.sample(PROMPT, GREEDY))
        return done

    done = asyncio.run(asyncio.wait_for(play(), 120))
    assert [completion.policy_version for completion in done] == [*range(len(policies))]
    return done


def test_a_server_samples_from_what_was_broadcast(
    url: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    policies = [build(tokenizer, seed, "sdpa") for seed in (0, 5, 9)]
    model = VLLMServer(VLLMServerConfig(model="policy", base_url=url), GlooGroup())
    for policy, completion in zip(policies, played(model, policies), strict=True):
        assert agrees(policy, completion)
    assert model.sent_bytes == sum(p.nbytes for p in policies[0].parameters())


def test_a_server_with_another_backend_is_refused(url: str) -> None:
    group: Group = NCCLGroup(torch.device("cuda", 0))
    model = VLLMServer(VLLMServerConfig(model="policy", base_url=url), group)
    with pytest.raises(EngineError, match=r'has gloo; start.*"backend": "nccl"'):
        asyncio.run(asyncio.wait_for(model.load({"w": torch.ones(2)}, 1), 60))


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_server_on_another_gpu_samples_from_what_came_over_nccl(
    folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    device = torch.device("cuda", 0)
    policies = [build(tokenizer, seed, "sdpa") for seed in (0, 5, 9)]
    for policy in policies:
        nn.Module.to(policy, device)
    with serving_on(1, folder) as url:
        model = VLLMServer(VLLMServerConfig(model="policy", base_url=url), NCCLGroup(device))
        done = played(model, policies)
    for policy, completion in zip(policies, done, strict=True):
        assert agrees(policy, completion, within=0.1)  # it computes in bfloat16
    assert model.sent_bytes == 2 * sum(p.numel() for p in policies[0].parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_server_on_the_trainers_gpu_is_refused(folder: Path) -> None:
    group = NCCLGroup(torch.device("cuda", 0))
    with serving_on(0, folder) as url:
        model = VLLMServer(VLLMServerConfig(model="policy", base_url=url), group)
        with pytest.raises(EngineError, match="GPUs of its own"):
            asyncio.run(asyncio.wait_for(model.load({"w": torch.ones(2)}, 1), 120))
