"""Engines with weights of their own, which are handed each new policy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor
from transformers import PreTrainedModel

from longstep_agents.model import EngineError
from longstep_agents.models.engine import Statistics
from longstep_agents.models.gate import Gate
from longstep_agents.models.lanes import CacheState
from longstep_agents.shares import whole
from longstep_training.adapters import has_adapters, unmerged
from longstep_training.distributed import World
from longstep_training.shards import is_sharded, named_shards, whole_state

if TYPE_CHECKING:
    from longstep_agents.models.replicas import Replicas
    from longstep_agents.models.vllm import VLLMModel
    from longstep_agents.models.vllm_server import VLLMServer


class Handed:
    """An engine of this process alone."""

    def __init__(
        self, engine: VLLMModel | VLLMServer | Replicas, model: PreTrainedModel, context: int | None
    ) -> None:
        """Prepare; nothing is handed over yet."""
        self.engine = Gate(engine)
        self._engine, self._model = engine, model
        self.context: int = context or model.config.max_position_embeddings
        handed = unmerged(dict(model.named_parameters()))
        self.copied_bytes = sum(tensor.nbytes for tensor in handed.values())

    @property
    def statistics(self) -> Statistics:
        """What is known here of what it has done."""
        return self._engine.statistics

    def refresh(self, policy_version: int) -> None:
        """Hand the weights over."""
        asyncio.run(self.change(policy_version))

    async def change(self, policy_version: int) -> None:
        """Hand the weights over between two completions of each episode."""
        async with self.engine.shut():
            await self._engine.load(whole_state(self._model), policy_version)

    def pause(self) -> None:
        """Begin no completion any more; what is under way is waited for."""
        self.engine.pause()

    def state(self) -> CacheState | None:
        """None: what the engine has read, it reads again."""
        return None

    def load(self, state: CacheState) -> None:
        """There is none."""

    def close(self) -> None:
        """End the engine."""
        asyncio.run(self._engine.close())


class Shared(Handed):
    """An engine that several processes ask: the first of them hands it the weights of all."""

    def __init__(
        self, engine: VLLMServer, model: PreTrainedModel, context: int | None, world: World
    ) -> None:
        """Prepare; nothing is handed over yet."""
        super().__init__(engine, model, context)
        self._server, self._world = engine, world

    async def change(self, policy_version: int) -> None:
        """Hand the weights over when no process has a completion under way.

        Raises:
            EngineError: on every process, when the server does not take them.
        """
        world, failed = self._world, ""
        streams = self._streams()
        async with self.engine.shut():
            weights = self._shares() if streams else whole_state(self._model, kept=world.leads)
            world.wait()  # until every process has shut its own gate
            try:
                if world.leads:
                    await self._server.load(weights, policy_version)
                elif streams:
                    _gather(weights)
            except EngineError as error:
                if world.size == 1 or streams:  # the others gather, until this process has ended
                    raise
                failed = str(error)
            told = world.gather((failed, self._server.sent_bytes))
            if failures := [failed for failed, _ in told if failed]:
                raise EngineError(failures[0])
            self._server.policy_version = policy_version
            self.copied_bytes = told[0][1] // world.size  # this process's part

    def _streams(self) -> bool:
        """Whether weights are gathered as they are sent; adapters are merged first."""
        model = self._model
        return self._server.broadcasts and is_sharded(model) and not has_adapters(model)

    def _shares(self) -> Mapping[str, Tensor]:
        """This process's share of each parameter, for the leader to gather when its turn comes."""
        return {name: share.detach() for name, share in named_shards(self._model).items()}


def _gather(shares: Mapping[str, Tensor]) -> None:
    """Take part while the leader gathers them one by one."""
    for share in shares.values():
        whole(share)
