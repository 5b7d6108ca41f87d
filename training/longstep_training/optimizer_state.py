"""The state of an optimiser as files: safetensors by parameter name, a file a process.

Written and read by torch's distributed checkpoints, each process its own shares, so what so many
processes wrote another number can read. Nothing is pickled.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from longstep_envs.types import DataError
from longstep_envs.untrusted import parse_json
from longstep_training.updater import Updater

TENSORS = "optimizer"
COUNTERS = "optimizer.json"
_STEP = "step"


def write_optimizer(updater: Updater, folder: Path) -> None:
    """Write the state below `folder`, which exists; all processes together.

    Raises:
        DataError: it cannot be written.
    """
    if updater.world.leads:
        (folder / COUNTERS).write_text(json.dumps({"steps": updater.steps}) + "\n")
    tensors = {
        f"{name}.{kind}": value.reshape(1) if kind == _STEP else value
        for name, parameter in updater.parameters.items()
        for kind, value in updater.optimizer.state.get(parameter, {}).items()
    }
    if tensors:  # there is no state before the first step
        writer = HuggingFaceStorageWriter(str(folder / TENSORS), save_distributed=True)
        with _told_plainly(f"the optimiser's state cannot be written to {folder}"):
            save(tensors, storage_writer=writer, no_dist=not dist.is_initialized())


def read_optimizer(updater: Updater, folder: Path) -> None:
    """Put the state below `folder` in place of the optimiser's; all processes together.

    Raises:
        DataError: there is none, or it is of another model.
    """
    updater.steps = _steps(folder)
    updater.optimizer.state.clear()
    if not updater.steps:
        return
    reader = HuggingFaceStorageReader(str(folder / TENSORS))
    tensors = dict(_places(updater, reader, folder))
    with _told_plainly(f"checkpoint {folder}: its optimiser is of another model"):
        load(tensors, storage_reader=reader, no_dist=not dist.is_initialized())
    for key, value in tensors.items():
        name, _, kind = key.rpartition(".")
        state = updater.optimizer.state[updater.parameters[name]]
        state[kind] = value.reshape(()) if kind == _STEP else value


def _steps(folder: Path) -> int:
    try:
        steps = int(parse_json((folder / COUNTERS).read_bytes())["steps"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"checkpoint {folder}: {COUNTERS} cannot be read ({type(error).__name__}: {error})"
        ) from error
    if steps and not (folder / TENSORS).is_dir():
        raise DataError(
            f"checkpoint {folder} has no folder {TENSORS}, so an earlier version of longstep wrote "
            "it; go on with that version, or begin a new run with policy.path set to this folder"
        )
    return steps


def _places(
    updater: Updater, reader: HuggingFaceStorageReader, folder: Path
) -> Iterator[tuple[str, Tensor]]:
    """Room for everything that is stored."""
    for key in reader.read_metadata().state_dict_metadata:
        name, _, kind = key.rpartition(".")
        if name not in updater.parameters:
            raise DataError(f"checkpoint {folder}: its optimiser has {name}, and the model has not")
        parameter = updater.parameters[name].detach()
        if kind == _STEP:
            yield key, torch.zeros(1, device=parameter.device)
        else:
            yield key, torch.zeros_like(parameter)


@contextmanager
def _told_plainly(what: str) -> Iterator[None]:
    """Around torch's checkpoints, whose errors are no `Exception`, and hold those of all ranks."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # and is not needed
            yield
    except CheckpointException as error:
        causes = "; ".join(f"process {rank}: {cause[0]}" for rank, cause in error.failures.items())
        raise DataError(f"{what}: {causes}") from error
