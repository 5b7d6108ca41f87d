"""An engine in a Ray actor of its own: the actor's end of `replicas.py`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM, PretrainedConfig

from longstep_agents.attention import ATTENTION
from longstep_agents.model import EngineError, Model, SamplingParams
from longstep_agents.models.engine import EngineConfig, Statistics
from longstep_agents.models.hf import HFModel
from longstep_agents.models.precision import chosen_dtype
from longstep_agents.models.vllm import VLLMModel, distinct
from longstep_agents.types import Completion

Packed = dict[str, tuple[NDArray[np.uint8], torch.dtype, torch.Size]]
"""Weights as Ray's object store keeps them, so that all processes of a machine read one copy."""


class Engine(Model, Protocol):
    """What an actor runs."""

    @property
    def context(self) -> int:
        """Tokens of the longest row."""
        ...

    @property
    def statistics(self) -> Statistics:
        """What it has done so far."""
        ...

    async def take(self, weights: Mapping[str, Tensor], policy_version: int) -> None:
        """Sample with these weights from now on; nothing is under way."""


class Replica:
    """Answers the driver's calls. It has the weights of its version before it is asked anything."""

    def __init__(
        self, make: Callable[[], Engine], weights: Packed, version: int, threads: int
    ) -> None:
        torch.set_num_threads(threads)
        self._engine = make()
        self._under_way: dict[int, asyncio.Task[Completion]] = {}
        with ThreadPoolExecutor(1) as elsewhere:  # the actor's own event loop does not run yet
            elsewhere.submit(asyncio.run, self.take(weights, version)).result()

    def pid(self) -> int:
        """The actor's process id."""
        return os.getpid()

    def context(self) -> int:
        """Tokens of the longest row."""
        return self._engine.context

    async def take(self, weights: Packed, version: int) -> None:
        """Sample with these weights from now on."""
        await self._engine.take(unpack(weights), version)

    async def sample(
        self, prompt_ids: NDArray[np.int64], params: SamplingParams
    ) -> tuple[Completion, Statistics]:
        """One completion, and what the engine has done so far.

        Raises:
            EngineError: the session was released meanwhile.
        """
        assert isinstance(params.session, int)
        task = asyncio.create_task(_sample(self._engine, prompt_ids.tolist(), params))
        self._under_way[params.session] = task
        try:
            return await task, self._engine.statistics
        except asyncio.CancelledError:
            raise EngineError("the session was released") from None
        finally:
            self._under_way.pop(params.session, None)

    async def release(self, session: int) -> None:
        """Forget a session, and give up what is under way in it."""
        if (task := self._under_way.pop(session, None)) is not None:
            task.cancel()
        self._engine.release(session)


class HFReplica(HFModel):
    """The embedded engine with a model of its own, which is handed each new policy."""

    def __init__(self, shape: PretrainedConfig, config: EngineConfig, lanes: int) -> None:
        """Make the model on the actor's accelerator, if it has one; its weights come later."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with device:
            model = AutoModelForCausalLM.from_config(
                shape, attn_implementation=ATTENTION, dtype=torch.float32
            )
        dtype = chosen_dtype(model, config)
        for parameter in model.parameters():  # buffers, such as of positions, stay precise
            parameter.data = parameter.data.to(dtype)
        super().__init__(model.eval().requires_grad_(False), config, lanes=lanes)
        self._own = model

    async def take(self, weights: Mapping[str, Tensor], policy_version: int) -> None:
        """Take new weights, and forget what was computed with the old ones.

        Raises:
            EngineError: they are not this model's.
        """
        missing, unknown = self._own.load_state_dict(weights, strict=False)
        tied = set(getattr(self._own, "all_tied_weights_keys", None) or ())
        if unknown or set(missing) - tied:
            names = [*unknown, *sorted(set(missing) - tied)]
            raise EngineError(f"the policy's weights do not fit the engine's model: {names[:3]}")
        self.refresh(policy_version)


class VLLMReplica(VLLMModel):
    """vLLM, which is handed each new policy."""

    @property
    def context(self) -> int:
        """Tokens of the longest row."""
        return int(self._engine.model_config.max_model_len)

    async def take(self, weights: Mapping[str, Tensor], policy_version: int) -> None:
        """Take new weights."""
        await self.load(weights, policy_version)


def pack(weights: Mapping[str, Tensor]) -> Packed:
    """Weights for the object store; of names that share a tensor, the first."""
    kept = distinct(weights).items()
    return {name: (_bytes(tensor), tensor.dtype, tensor.shape) for name, tensor in kept}


def unpack(packed: Packed) -> dict[str, Tensor]:
    """The weights, in the store's memory: nobody may write to them."""
    return {
        name: torch.from_numpy(data).view(dtype).view(shape)
        for name, (data, dtype, shape) in packed.items()
    }


def _bytes(tensor: Tensor) -> NDArray[np.uint8]:
    found: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return found  # type: ignore[no-any-return]


async def _sample(engine: Engine, prompt_ids: list[int], params: SamplingParams) -> Completion:
    return await engine.sample(prompt_ids, params)
