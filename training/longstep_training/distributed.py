"""Processes that train together: each collects and differentiates its share, gradients are summed.

The calling process is rank 0. The same numbers come out on every rank, so every rank takes the
same optimiser step; two runs of the same size are equal bit for bit on CPU.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from longstep_envs.types import LongstepError

T = TypeVar("T")


class RankError(LongstepError, RuntimeError):
    """A process that trained together with this one has failed."""


@dataclass(frozen=True, slots=True)
class World:
    """This process's place among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and the display."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Every size-th item: this rank's part of a list that all ranks hold."""
        return list(items[self.rank :: self.size])

    def sum_values(self, values: Mapping[str, float]) -> dict[str, float]:
        """Each named value summed over ranks; every rank must give the same names."""
        if self.size == 1:
            return dict(values)
        names = sorted(values)
        total = torch.tensor([values[name] for name in names], dtype=torch.float64)
        dist.all_reduce(total)
        return dict(zip(names, total.tolist(), strict=True))

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its sum over ranks."""
        if self.size == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts: Sequence[Tensor] = flat.split([gradient.numel() for gradient in gradients])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def gather(self, value: T) -> list[T]:
        """Every rank's value, in rank order, on every rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until every rank is here."""
        if self.size > 1:
            dist.barrier()


def launch(size: int, work: Callable[..., None], *args: Any) -> None:
    """Run `work(world, *args)` on `size` processes, this one among them.

    A helper process that dies ends the run with an error here; helpers end with this process.
    """
    if size == 1:
        work(World(), *args)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    context = mp.get_context("spawn")
    helpers = [
        context.Process(target=_join, args=(address, rank, size, work, args), daemon=True)
        for rank in range(1, size)
    ]
    for helper in helpers:
        helper.start()
    _join(address, 0, size, work, args)
    for helper in helpers:
        helper.join()
    codes = [helper.exitcode for helper in helpers]
    if any(codes):
        raise RankError(
            f"processes 1 to {size - 1} ended with exit codes {codes}; see their output"
        )


def _join(
    address: str, rank: int, size: int, work: Callable[..., None], args: tuple[Any, ...]
) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo", init_method=address, rank=rank, world_size=size, timeout=timedelta(minutes=10)
    )
    try:
        work(World(rank, size), *args)
    finally:
        dist.destroy_process_group()
