"""vLLM's weight transfer over gloo, for servers without GPUs: all of it is vLLM's but the wire.

A server started with `--worker-extension-cls tests.agents.models.gloo_transfer.Registered` knows it
as the backend "gloo".
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from tests.agents.models.receiving import join, received
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.distributed.weight_transfer.nccl_engine import (
    NCCLWeightTransferEngine,
    NCCLWeightTransferInitInfo,
    NCCLWeightTransferUpdateInfo,
)
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead


class GlooWeightTransferEngine(NCCLWeightTransferEngine):  # type: ignore[misc]
    """Loads what arrives as the one over NCCL does."""

    def init_transfer_engine(self, init_info: NCCLWeightTransferInitInfo) -> None:
        self.most = init_info.packed_buffer_size_bytes
        config = self.parallel_config
        self.group: Any = join(asdict(init_info), config.rank)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        self.receive_weights(self.parse_update_info(update_info))  # no accelerator to wait for

    def receive_weights(self, update_info: NCCLWeightTransferUpdateInfo) -> None:
        for batch in received(self.group, asdict(update_info), self.most):
            self.model.load_weights(batch)

    def finish_weight_update(self) -> None:
        super().finish_weight_update()
        for layer in self.model.modules():  # on CPUs they compute with a packed copy
            if isinstance(layer, ParallelLMHead):
                layer.quant_method.process_weights_after_loading(layer)

    def shutdown(self) -> None:
        self.group = None


class Registered:
    """Whoever imports this has registered the backend."""


WeightTransferEngineFactory.register_engine("gloo", GlooWeightTransferEngine)
torch.set_num_threads(1)
