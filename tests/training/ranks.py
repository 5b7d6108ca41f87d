"""What the processes of test_distributed run; spawned processes import it by its name."""

from functools import partial
from pathlib import Path

import torch

from longstep_agents.attention import ATTENTION
from longstep_agents.small_policy import SmallPolicyConfig, build_model, build_tokenizer
from longstep_training.batch import Row
from longstep_training.distributed import World
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.updater import OptimizerConfig, Updater

ROWS = [
    Row(
        [n, 5, 6, n, 8],
        [5],
        [1, 4],
        [-1.0, -2.0],
        [None, (8, 9, 10)],
        [0.5, -1.0 * n],
        [0, 1],
        [1.0, 1.0],
        2.0,
    )
    for n in range(1, 6)
]


def update(world: World, out: Path, rows: int) -> None:
    """Two optimiser steps on this rank's share; every rank writes its weights."""
    tokenizer = build_tokenizer(["look at shelf 1, shelf 2, cup 3"])
    model = build_model(tokenizer, SmallPolicyConfig(hidden=16, layers=2, heads=2), seed=world.rank)
    if world.size > 1:
        model.load_state_dict(torch.load(out / "start.pt"))
    else:
        torch.save(model.state_dict(), out / "start.pt")
    model.set_attn_implementation(ATTENTION)
    updater = Updater(model, OptimizerConfig(), world)
    objective = partial(policy_loss, model, config=ReinforcementConfig())
    for _ in range(2):
        statistics = updater.step(world.share(ROWS[:rows]), objective)
    torch.save(model.state_dict(), out / f"{world.size}-{world.rank}.pt")
    (out / f"{world.size}-{world.rank}.txt").write_text(str(statistics["grad_norm"]))
    assert world.gather(world.rank) == list(range(world.size))
    assert world.sum_values({"one": 1.0, "rank": world.rank})["one"] == world.size


def fail(world: World, out: Path, rank: int) -> None:
    """One rank raises while the others wait for it."""
    if world.rank == rank:
        raise RuntimeError(f"rank {rank} broke")
    world.wait()


def fail_late(world: World, out: Path, rank: int) -> None:
    """One rank raises when the others need it no more."""
    world.wait()
    if world.rank == rank:
        raise RuntimeError(f"rank {rank} broke late")


def share_server(world: World, out: Path) -> None:
    """Two processes bring new weights to one server while one of them waits for a completion."""
    import asyncio
    import time

    from longstep_agents.model import EngineError, SamplingParams
    from longstep_agents.models.endpoint import VLLMServerConfig
    from longstep_agents.models.vllm_server import VLLMServer
    from longstep_agents.types import Completion
    from longstep_training.handed import Shared

    class Server(VLLMServer):
        """Answers by itself, slowly on rank 1, and writes down when."""

        async def _complete(self, request: object) -> Completion:
            await asyncio.sleep(0.5 * world.rank)
            note("answered")
            return Completion(ids=(5,), logprobs=(0.0,))

        async def _load(self, weights: object) -> None:
            note("loaded")
            if self.policy_version:
                raise EngineError("it has no room")

    def note(what: str) -> None:
        with (out / "notes").open("a") as file:
            file.write(f"{time.time()} {world.rank} {what}\n")

    tokenizer = build_tokenizer(["look"])
    model = build_model(tokenizer, SmallPolicyConfig(hidden=16, layers=1, heads=2), seed=0)
    config = VLLMServerConfig(model="m", base_url="http://x/v1")
    shared = Shared(Server(config), model, 64, world)

    async def play() -> None:
        asked = asyncio.create_task(shared.engine.sample([1, 2], SamplingParams(1.0, 1, (1,))))
        await asyncio.sleep(0.1)
        await shared.change(1)
        assert (await asked).policy_version == 0

    asyncio.run(play())
    assert shared._server.policy_version == 1
    try:
        shared.refresh(2)
    except EngineError as error:
        note(f"failed {error}")
