"""Processes that train together: each collects and differentiates its share, gradients are summed.

Either torchrun has started them, on one machine or several, or the calling process starts the
others beside it and is rank 0. The same numbers come out on every rank, so every rank takes the
same optimiser step; two runs of the same size are equal bit for bit on CPU.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from longstep_envs.types import LongstepError
from longstep_training.torchrun import LaunchError, Place, told

Device = Literal["cpu", "cuda"]
T = TypeVar("T")
_PATIENCE = timedelta(hours=2)
"""For slow episodes of other ranks, and for data that rank 0 makes; who dies is noticed at once."""
_SIGNS_OF_LOSS = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""What gloo says then."""
_CPU = torch.device("cpu")


class RankError(LongstepError, RuntimeError):
    """A process that trained together with this one has failed."""


@dataclass(frozen=True, slots=True)
class World:
    """This process's place among those that train together."""

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU
    """Where this process computes."""

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


def launch(
    size: int,
    work: Callable[..., None],
    *args: Any,
    device: Device = "cpu",
    first: Callable[[], None] | None = None,
) -> None:
    """Run `work(world, *args)` on `size` processes, this one among them.

    Under torchrun these are its processes, as many as it has started, and all get the arguments of
    rank 0; elsewhere the others are started here, and a helper that dies ends the run with an error
    here. `first` is done on rank 0 before anybody works.

    Raises:
        LaunchError: torchrun has started another number of processes, or there are too few GPUs.
        RankError: a process that was started here has failed.
    """
    place = told()
    if place is not None:
        _require_size(size, place)
        with _joined(place, "env://", device) as world:
            if world.leads and first is not None:
                first()
            work(world, *world.gather(args)[0])
        return
    if first is not None:
        first()
    if size == 1:
        _work_alone(work, args, device)
    else:
        _work_beside(size, work, args, device)


def _work_alone(work: Callable[..., None], args: tuple[Any, ...], device: Device) -> None:
    try:
        work(World(device=_device(device, 0)), *args)
    finally:
        if dist.is_initialized():  # a group of one, which sharding has asked for
            dist.destroy_process_group()


def _work_beside(
    size: int, work: Callable[..., None], args: tuple[Any, ...], device: Device
) -> None:
    """Start the others on this machine, and be rank 0."""
    if device == "cuda":  # a process that dies would leave the others waiting on their GPUs
        raise LaunchError(
            f"run.processes = {size} with run.device = cuda: several GPUs are for torchrun, which "
            f"ends all when one dies: torchrun --nproc-per-node {size} -m longstep_training train …"
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    context = mp.get_context("spawn")
    helpers = [
        context.Process(target=_join, args=(address, rank, size, device, work, args), daemon=True)
        for rank in range(1, size)
    ]
    for helper in helpers:
        helper.start()
    _join(address, 0, size, device, work, args)
    for helper in helpers:
        helper.join()
    codes = [helper.exitcode for helper in helpers]
    if any(codes):
        raise RankError(
            f"processes 1 to {size - 1} ended with exit codes {codes}; see their output"
        )


def processes(size: int) -> int:
    """How many processes will train: those that torchrun has started, or `size`."""
    place = told()
    return size if place is None else place.size


def ensure_group(world: World) -> None:
    """Let a process that trains alone be a group of one, for what works on groups only."""
    if not dist.is_initialized():
        store = dist.HashStore()  # type: ignore[attr-defined]  # which torch does not say
        dist.init_process_group(_backend(world.device), store=store, rank=0, world_size=1)


def _join(
    address: str,
    rank: int,
    size: int,
    device: Device,
    work: Callable[..., None],
    args: tuple[Any, ...],
) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with _joined(Place(rank, size, rank), address, device) as world:
        work(world, *args)


@contextmanager
def _joined(place: Place, address: str, device: Device) -> Iterator[World]:
    """The group, until this process has done its part in it."""
    world = World(place.rank, place.size, _device(device, place.local_rank))
    dist.init_process_group(
        _backend(world.device),
        init_method=address,
        rank=world.rank,
        world_size=world.size,
        timeout=_PATIENCE,
    )
    try:
        yield world
    except BaseException as error:
        if device == "cpu":  # NCCL would wait for the others, which end when this process does
            dist.destroy_process_group()
        if isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS_OF_LOSS):
            raise RankError(
                f"process {world.rank} has lost another one, which has ended; see its output"
            ) from error
        raise
    dist.destroy_process_group()


def _backend(device: torch.device) -> str:
    """Numbers and objects go over gloo, what lies on a GPU over NCCL."""
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"


def _device(kind: Device, local_rank: int) -> torch.device:
    """This process's own device of this kind."""
    if kind == "cpu":
        return _CPU
    if local_rank >= torch.cuda.device_count():
        raise LaunchError(
            f"run.device = cuda, and process {local_rank} of this machine has no GPU: it has "
            f"{torch.cuda.device_count()}; start as many processes as GPUs, or set run.device=cpu"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def _require_size(size: int, place: Place) -> None:
    if size not in (1, place.size):
        raise LaunchError(
            f"run.processes = {size}, and {place.size} processes were started from outside (by "
            f"torchrun, say); leave run.processes at 1 there, or set it to {place.size}"
        )
