"""New weights for a vLLM server from GPU to GPU, by vLLM's own weight transfer.

The trainer and the server's workers are a group. What the weights are called is told over HTTP;
they themselves are broadcast, many tensors in one message. The server needs nothing of longstep.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from pydantic import AliasPath, BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from longstep_agents.model import EngineError
from longstep_agents.models.endpoint_faults import EndpointError, EndpointFault
from longstep_agents.models.endpoint_line import Endpoint
from longstep_agents.models.vllm import distinct
from longstep_agents.models.weight_group import Group
from longstep_agents.shares import whole

MESSAGE = 2**28
"""Bytes after which a message ends."""


class _Server(BaseModel):
    """An answer of /server_info, as far as it is read here."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dtype: str = Field(validation_alias=AliasPath("vllm_config", "model_config", "dtype"))
    backend: str | None = Field(
        None, validation_alias=AliasPath("vllm_config", "weight_transfer_config", "backend")
    )


class Broadcast:
    """Brings a policy's weights to all workers of a server."""

    def __init__(self, endpoint: Endpoint, group: Group) -> None:
        """Prepare; nothing is sent yet."""
        self._endpoint, self._group = endpoint, group
        self._dtype: torch.dtype | None = None

    async def send(self, weights: Mapping[str, Tensor]) -> int:
        """Let the server compute with these from now on; returns the bytes that each worker got.

        They go in the server's precision. Those that are sharded are gathered one by one, which all
        processes that hold a share must do together.

        Raises:
            EngineError: they did not arrive; then the server may hold parts of two policies.
        """
        if self._dtype is None:
            self._dtype = await self._join()
        sent = distinct(weights)
        dtypes = [self._dtype if t.is_floating_point() else t.dtype for t in sent.values()]
        told = {
            "names": list(sent),
            "dtype_names": [str(dtype).removeprefix("torch.") for dtype in dtypes],
            "shapes": [list(tensor.shape) for tensor in sent.values()],
        }
        command = self._endpoint.command
        await command("pause?mode=wait", {})  # for whoever else asks the server
        await command("start_weight_update", {})
        taken = command("update_weights", {"update_info": told})
        await self._together(taken, partial(self._send, sent.values(), dtypes))
        await command("finish_weight_update", {})
        await command("resume", {})
        sizes = (tensor.numel() for tensor in sent.values())
        return sum(size * dtype.itemsize for size, dtype in zip(sizes, dtypes, strict=True))

    async def _join(self) -> torch.dtype:
        """Form the group; returns the server's precision."""
        try:
            dtype = await self._require_backend()
            workers = await self._endpoint.told("get_world_size")
            size = 1 + int(workers["world_size"])
            await self._endpoint.command("shutdown_weight_transfer_engine", {})  # of earlier runs
            told = {
                **self._group.place,
                "rank_offset": 1,
                "world_size": size,
                "packed": True,
                "packed_buffer_size_bytes": MESSAGE,
            }
            taken = self._endpoint.command("init_weight_transfer_engine", {"init_info": told})
            await self._together(taken, partial(self._group.join, size))
        except EndpointError as error:
            raise self._advised(error) from error
        return dtype

    async def _require_backend(self) -> torch.dtype:
        answer = await self._endpoint.told("server_info?config_format=json")
        try:
            server = _Server.model_validate(answer)
        except ValidationError:
            raise _rejected("the server is too old to tell its config") from None
        if server.backend != self._group.backend:
            backend = server.backend or "none"
            raise _rejected(f"of the ways to transfer weights, the server has {backend}")
        dtype: torch.dtype = getattr(torch, server.dtype.removeprefix("torch."))
        return dtype

    def _advised(self, error: EndpointError) -> EndpointError:
        """What to do about it."""
        flag = f"""--weight-transfer-config '{{"backend": "{self._group.backend}"}}'"""
        advice = f"start vLLM 0.32 with VLLM_SERVER_DEV_MODE=1 and {flag}"
        if error.fault is EndpointFault.UNREACHABLE:
            return error
        if error.fault is EndpointFault.TIMEOUT:
            advice = "do the server's machine and this one reach each other at any port?"
        return EndpointError(error.fault, f"{error}; {advice}")

    def _send(self, weights: Iterable[Tensor], dtypes: Iterable[torch.dtype]) -> None:
        device = self._group.device
        with torch.no_grad():
            pairs = zip(weights, dtypes, strict=True)
            for message in messages((whole(t).to(device, dtype) for t, dtype in pairs), MESSAGE):
                self._group.send(message)
            self._group.wait()

    async def _together(self, taken: Awaitable[Any], work: Callable[[], None]) -> None:
        """The server's part and this process's. The first that fails ends it.

        Whoever is in a group with one that has failed may wait for ever, so the thread is left
        alone then.
        """
        asked = asyncio.ensure_future(taken)
        try:
            await asyncio.gather(asked, _aside(work, self._group.device))
        except EngineError:
            raise
        except RuntimeError as error:
            raise EngineError(f"weights could not be sent to the server: {error}") from error
        finally:
            asked.cancel()


def _rejected(told: str) -> EndpointError:
    return EndpointError(EndpointFault.REJECTED, told)


def messages(tensors: Iterable[Tensor], most: int) -> Iterator[Tensor]:
    """Their bytes; each message ends with the tensor that makes it longer than `most`.

    Who receives them knows the shapes, and so where each ends.
    """
    parts, size = list[Tensor](), 0
    for tensor in tensors:
        parts.append(tensor.reshape(-1).view(torch.uint8))
        size += parts[-1].numel()
        if size > most:
            yield torch.cat(parts)
            parts, size = [], 0
    if parts:
        yield torch.cat(parts)


def _aside(work: Callable[[], None], device: torch.device) -> asyncio.Future[None]:
    """Do it in a thread of its own, on this device; the process can end without it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: Exception | None = None
        try:
            with torch.accelerator.device_index(device.index):
                work()
        except Exception as raised:  # of whatever kind: who waits gets it
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name="broadcast", daemon=True).start()
    return done
