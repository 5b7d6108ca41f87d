"""Weights by broadcast: what arrives is what was sent, and what fails is told at once."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.agents.models.receiving import GlooGroup, receiving
from torch import Tensor
from torch.cuda import nccl

from longstep_agents.model import EngineError
from longstep_agents.models import broadcast
from longstep_agents.models.endpoint import VLLMServerConfig
from longstep_agents.models.vllm_server import VLLMServer
from longstep_agents.models.weight_group import Group, NCCLGroup

READY = {
    "vllm_config": {
        "model_config": {"dtype": "torch.bfloat16"},
        "weight_transfer_config": {"backend": "silent"},
    },
    "world_size": 1,
}
"""What a server that is ready tells of itself, at whatever address."""


class SilentGroup:
    """Nobody else ever comes."""

    backend = "silent"
    device = torch.device("cpu")
    place: Mapping[str, str | int] = {}

    def join(self, size: int) -> None:
        threading.Event().wait()

    def send(self, message: Tensor) -> None:
        raise AssertionError

    def wait(self) -> None:
        raise AssertionError


class BrokenGroup(SilentGroup):
    """All are there, and nothing can be sent."""

    def join(self, size: int) -> None:
        pass

    def send(self, message: Tensor) -> None:
        raise RuntimeError("the wire is cut")


def server(url: str, group: Group) -> VLLMServer:
    return VLLMServer(VLLMServerConfig(model="m", base_url=url, seconds=20.0), group)


def weights(seed: int) -> dict[str, Tensor]:
    """Float32 of many sizes, two names of one tensor, and something that is no number of reals."""
    drawn = torch.Generator().manual_seed(seed)
    made = {f"w{i}": torch.randn(3, i + 1, generator=drawn) for i in range(20)}
    made["w3"] = made["w4"].T  # not as it lies in memory
    return {**made, "tied": made["w0"], "count": torch.tensor([seed, 7])}


def test_all_workers_get_each_policy_in_the_servers_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "MESSAGE", 100)  # of several tensors, and of one that is larger
    with receiving(tmp_path) as url:
        model = server(url, GlooGroup())
        for version in (1, 2):
            sent = weights(version)
            asyncio.run(asyncio.wait_for(model.load(sent, version), 60))
            for worker in range(2):
                got = load_file(tmp_path / f"worker-{worker}.safetensors")
                assert set(got) == set(sent) - {"tied"}
                assert torch.equal(got.pop("count"), sent["count"])
                assert all(torch.equal(w, sent[n].bfloat16()) for n, w in got.items())
            assert model.policy_version == version
    reals = sum(sent[name].numel() for name in sent if name not in ("tied", "count"))
    assert model.sent_bytes == 2 * reals + 16
    update = ["pause", "start_weight_update", "update_weights", "finish_weight_update"]
    asked = (tmp_path / "asked").read_text("utf-8").split()
    first = ["shutdown_weight_transfer_engine", "init_weight_transfer_engine"]
    assert asked == [*first, *([*update, "resume", "reset_prefix_cache"] * 2)]


def refused(bad: Any, told: Any, *script: Any, group: Group | None = None) -> EngineError:
    """What `load` says to a server that tells this of itself and answers commands so."""

    async def play() -> EngineError:
        async with bad.endpoint(*script, models=told) as endpoint:
            config = VLLMServerConfig(model="m", base_url=endpoint.url, seconds=1.0)
            model = VLLMServer(config, group or SilentGroup())
            with pytest.raises(EngineError) as caught:
                await model.load({"w": torch.ones(2)}, 3)
            assert model.policy_version == 0
            return caught.value

    return asyncio.run(asyncio.wait_for(play(), 20))


@pytest.mark.parametrize(
    ("told", "status", "says"),
    [
        ({"detail": "Not Found"}, 404, "not found"),  # without the mode
        ({"vllm_config": {**READY["vllm_config"], "weight_transfer_config": None}}, 200, "none"),  # type: ignore[dict-item]
        ({"vllm_config": "VllmConfig(...)"}, 200, "too old"),
    ],
)
def test_a_server_that_was_not_started_for_it(bad: Any, told: Any, status: int, says: str) -> None:
    error = str(refused(bad, bad.says(told, status=status), bad.says({})))
    assert says in error.lower()
    assert "VLLM_SERVER_DEV_MODE=1" in error
    assert """--weight-transfer-config '{"backend": "silent"}'""" in error


def test_a_server_that_cannot_join_is_not_waited_for(bad: Any) -> None:
    refuses = bad.says(bad.failure("unexpected keyword argument"), status=500)
    error = refused(bad, bad.says(READY), bad.says({}), refuses)
    assert "unexpected keyword argument" in str(error)
    assert "start vLLM 0.32" in str(error)


def test_a_group_that_never_comes_together_ends_in_time(bad: Any) -> None:
    async def never(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    error = refused(bad, bad.says(READY), bad.says({}), never)
    assert "timeout" in str(error)
    assert "reach each other" in str(error)


def test_weights_that_cannot_be_sent_are_an_error_at_once(bad: Any) -> None:
    error = refused(bad, bad.says(READY), bad.says({}), group=BrokenGroup())
    assert str(error) == "weights could not be sent to the server: the wire is cut"


def test_two_processes_on_one_gpu_are_told_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*args: object) -> None:
        raise RuntimeError("NCCL Error 5: invalid usage (run with NCCL_DEBUG=WARN for details)")

    monkeypatch.setattr(nccl, "init_rank", refuses)
    monkeypatch.setattr(nccl, "version", lambda: (2, 29, 3))
    with pytest.raises(EngineError, match=r"GPUs of its own.*folder.*here 2\.29\.3"):
        NCCLGroup(torch.device("cuda", 0)).join(2)


def test_workers_find_the_group_by_its_id_in_base64(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([b"\xfb" * 128])
    monkeypatch.setattr(nccl, "unique_id", lambda: next(drawn))
    group = NCCLGroup(torch.device("cuda", 0))
    assert group.place == group.place == {"nccl_unique_id_b64": "+/v7" * 42 + "+/s="}
