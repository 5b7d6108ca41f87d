"""Checkpoints: a folder that transformers and vLLM load, plus what an exact resume needs.

A checkpoint is written beside its final place, its manifest of hashes last, and then renamed.
What has no valid manifest is not a checkpoint. All randomness of a run is a function of the
seed, the phase and the iteration, so weights, optimiser, counters and what methods remember are
the whole state.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longstep_envs.types import DataError
from longstep_training.policy import load_model, load_tokenizer
from longstep_training.updater import Updater

MANIFEST = "manifest.json"
METHODS = "methods.json"
CRITIC = "critic"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come."""

    phase: str
    iteration: int
    """Iterations of the phase that are done."""
    seconds: float
    """Training time so far, over all parts of an interrupted run."""
    policy_version: int
    """Optimiser updates of the sampler's weights so far."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a checkpoint keeps."""

    tokenizer: PreTrainedTokenizerBase
    policy: Updater
    critic: Updater | None = None
    methods: Mapping[str, Any] = field(default_factory=dict)
    """What methods remember, as JSON can say it."""


def save_checkpoint(root: Path, parts: Parts, progress: Progress, keep: int) -> Path:
    """Write the checkpoint of `progress` under `root`; keep the newest `keep` of its phase.

    The last checkpoint of an earlier phase stays: it is what the later phase began from.
    """
    final = root / f"{progress.phase}-{progress.iteration:06d}"
    partial = root / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    parts.tokenizer.save_pretrained(partial)
    _save_updater(parts.policy, partial)
    if parts.critic is not None:
        _save_updater(parts.critic, partial / CRITIC)
    (partial / "progress.json").write_text(json.dumps(asdict(progress), indent=1) + "\n")
    (partial / METHODS).write_text(json.dumps(parts.methods) + "\n")
    paths = sorted(path for path in partial.rglob("*") if path.is_file())
    hashes = {path.relative_to(partial).as_posix(): _hash(path) for path in paths}
    for path in paths:
        _sync(path)
    (partial / MANIFEST).write_text(json.dumps(hashes, indent=1) + "\n")
    _sync(partial / MANIFEST)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    _sync(root)
    same_phase = [
        path for path in find_checkpoints(root) if _progress_of(path).phase == progress.phase
    ]
    for old in same_phase[:-keep]:
        doomed = old.with_name(f".{old.name}.old")  # half deleted, it must not be found
        shutil.rmtree(doomed, ignore_errors=True)
        old.rename(doomed)
        shutil.rmtree(doomed)
    return final


def find_checkpoints(root: Path) -> list[Path]:
    """The whole checkpoints under `root`, oldest first."""
    whole = [path.parent for path in root.glob(f"*/{MANIFEST}") if path.parent.name[0] != "."]
    return sorted(whole, key=lambda path: _progress_of(path).policy_version)


def read_checkpoint(folder: Path) -> Progress:
    """The progress of a checkpoint whose files are all as its manifest says.

    Raises:
        DataError: a file is missing or was changed since.
    """
    try:
        hashes = json.loads((folder / MANIFEST).read_text())
        wrong = [name for name, digest in hashes.items() if _hash(folder / name) != digest]
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{folder} is not a checkpoint: {error}") from error
    if wrong:
        raise DataError(
            f"checkpoint {folder}: {', '.join(wrong)} changed since it was written; delete the "
            "folder to resume from the one before"
        )
    return _progress_of(folder)


def load_policy(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and the tokenizer of a checkpoint, or of any folder with a causal LM.

    Raises:
        DataError: the folder holds none, its files are not as its manifest says, or the tokenizer
            does not fit the weights.
    """
    if not (folder / "config.json").exists():
        raise DataError(f"{folder} holds no model; name a folder such as RUN/checkpoints/rl-000060")
    if (folder / MANIFEST).exists():
        read_checkpoint(folder)
    model = load_model(folder)
    return model, load_tokenizer(folder, model)


def restore(folder: Path, updater: Updater) -> None:
    """Put a checkpoint's weights, optimiser state and step count into `updater`."""
    saved = type(updater.model).from_pretrained(folder, dtype=torch.float32)
    updater.model.load_state_dict(saved.state_dict())
    tensors = load_file(folder / "optimizer.safetensors")
    _load_optimizer(updater.optimizer, tensors)
    updater.steps = int(json.loads((folder / "optimizer.json").read_text())["steps"])


def read_methods(folder: Path) -> dict[str, Any]:
    """What methods remembered when the checkpoint was written.

    Raises:
        DataError: the checkpoint does not say.
    """
    try:
        methods: dict[str, Any] = json.loads((folder / METHODS).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(
            f"checkpoint {folder}: {METHODS} cannot be read ({type(error).__name__}: {error}); "
            "delete the folder to resume from the one before"
        ) from error
    return methods


def _save_updater(updater: Updater, folder: Path) -> None:
    updater.model.save_pretrained(folder)
    save_file(_optimizer_tensors(updater.optimizer), folder / "optimizer.safetensors")
    (folder / "optimizer.json").write_text(json.dumps({"steps": updater.steps}) + "\n")


def _progress_of(folder: Path) -> Progress:
    try:
        state = json.loads((folder / "progress.json").read_text())
        return Progress(**state)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"checkpoint {folder}: progress.json cannot be read ({type(error).__name__}: {error}); "
            "delete the folder to resume from the one before"
        ) from error


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value.clone()
        for index, entry in state.items()
        for name, value in entry.items()
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
