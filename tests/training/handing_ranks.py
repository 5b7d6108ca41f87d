"""What the processes of test_handed run; spawned ones import it by its name."""

from __future__ import annotations

from pathlib import Path

import torch
from shard_ranks import make_policy  # type: ignore[import-not-found]
from tests.agents.models.receiving import GlooGroup

from longstep_agents.models.endpoint import VLLMServerConfig
from longstep_agents.models.vllm_server import VLLMServer
from longstep_training.distributed import World
from longstep_training.handed import Shared
from longstep_training.shards import shard, whole_state


def hand_over(world: World, out: Path, url: str) -> None:
    """Bring three policies, of which each process has a share, to a server; tell the third."""
    model = shard(make_policy(), world)
    config = VLLMServerConfig(model="m", base_url=url, seconds=30.0)
    server = VLLMServer(config, GlooGroup())
    shared = Shared(server, model, 64, world)
    for version in (1, 2):
        shared.refresh(version)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(-2.0)
    shared.refresh(3)
    told = (whole_state(model), shared.copied_bytes, server.policy_version)
    torch.save(told, out / f"told-{world.rank}.pt")
