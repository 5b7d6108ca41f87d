"""A trainer and the workers of an inference server as one group, which weights are broadcast in."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.cuda import nccl

from longstep_agents.model import EngineError


class Group(Protocol):
    """This process and a server's workers; this process is rank 0."""

    @property
    def backend(self) -> str:
        """What the server's --weight-transfer-config calls it."""
        ...

    @property
    def device(self) -> torch.device:
        """Where messages lie."""
        ...

    @property
    def place(self) -> Mapping[str, str | int]:
        """What a worker must know to find the others."""
        ...

    def join(self, size: int) -> None:
        """Become rank 0 of so many; returns when all are there."""
        ...

    def send(self, message: Tensor) -> None:
        """Begin to bring these bytes to all others."""
        ...

    def wait(self) -> None:
        """Until they have what was sent."""
        ...


class NCCLGroup:
    """The group over NCCL, by what torch brings of it: vLLM need not be installed here."""

    backend = "nccl"

    def __init__(self, device: torch.device) -> None:
        """Prepare to send from this GPU."""
        self.device = device
        self._id: bytes | None = None
        self._communicator: Any = None

    @property
    def place(self) -> Mapping[str, str | int]:
        """NCCL's name of the group, which holds an address of this machine."""
        if self._id is None:
            self._id = nccl.unique_id()
        return {"nccl_unique_id_b64": base64.b64encode(self._id).decode()}

    def join(self, size: int) -> None:
        """Become rank 0 of so many.

        Raises:
            EngineError: NCCL refuses.
        """
        try:
            self._communicator = nccl.init_rank(size, self._id, 0)
            nothing = torch.zeros(1, device=self.device)  # vLLM's workers add it up, too
            nccl.all_reduce([nothing], comms=[self._communicator])
            self.wait()
        except RuntimeError as error:
            version = ".".join(map(str, nccl.version()))
            raise EngineError(
                f"the trainer, on {self.device}, and the server form no group: {error}. Each needs "
                "GPUs of its own, for NCCL refuses two processes on one (where they share it: "
                f'engine.sync = "folder"), and the same NCCL, here {version}. NCCL_DEBUG=WARN on '
                "both sides tells more"
            ) from error

    def send(self, message: Tensor) -> None:
        """Begin to bring these bytes to all others."""
        nccl.broadcast([message], comms=[self._communicator])

    def wait(self) -> None:
        """Until they have what was sent."""
        torch.cuda.current_stream(self.device).synchronize()
