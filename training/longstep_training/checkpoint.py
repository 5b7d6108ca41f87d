"""Checkpoints: a folder that transformers and vLLM load, plus what an exact resume needs.

A checkpoint is written beside its final place, its manifest of hashes last, and then renamed; then
the link `latest` points to it. What has no valid manifest is not a checkpoint.

All randomness of a run is a function of the seed, the phase and the iteration, so there are no
generators to keep: weights, optimiser, counters and what methods remember are the whole state, of
any number of processes. The weights are whole, since what samples loads them; of the optimiser's
state each process writes its part, and any number of processes can read it.
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
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longstep_envs.types import DataError
from longstep_envs.untrusted import parse_json
from longstep_training.optimizer_state import read_optimizer, write_optimizer
from longstep_training.policy import load_model, load_tokenizer
from longstep_training.shards import unsharded_class, whole_state
from longstep_training.updater import Updater

MANIFEST = "manifest.json"
METHODS = "methods.json"
CRITIC = "critic"
LATEST = "latest"


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


def save_checkpoint(
    root: Path, parts: Parts, progress: Progress, keep: int, every: int | None = None
) -> Path:
    """Write the checkpoint of `progress` under `root`; keep the newest `keep` of its phase.

    All processes call this together. The last checkpoint of an earlier phase stays: it is what the
    later phase began from. So does each whose iteration is a multiple of `every`.
    """
    world = parts.policy.world
    final = root / f"{progress.phase}-{progress.iteration:06d}"
    partial = root / f".{final.name}.partial"
    if world.leads:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    world.wait()
    _save_updater(parts.policy, partial)
    if parts.critic is not None:
        _save_updater(parts.critic, partial / CRITIC)
    world.wait()
    if world.leads:
        parts.tokenizer.save_pretrained(partial)
        (partial / "progress.json").write_text(json.dumps(asdict(progress), indent=1) + "\n")
        (partial / METHODS).write_text(json.dumps(parts.methods) + "\n")
        _seal(partial)
        _put(partial, final)
        _prune(root, progress.phase, keep, every)
    world.wait()
    return final


def find_checkpoints(root: Path) -> list[Path]:
    """The whole checkpoints under `root`, oldest first."""
    folders = [path.parent for path in root.glob(f"*/{MANIFEST}")]
    whole = [path for path in folders if path.name[0] != "." and not path.is_symlink()]
    return sorted(whole, key=lambda path: _progress_of(path).policy_version)


def read_checkpoint(folder: Path) -> Progress:
    """The progress of a checkpoint whose files are all as its manifest says.

    Raises:
        DataError: a file is missing or was changed since.
    """
    try:
        hashes = dict(parse_json((folder / MANIFEST).read_bytes()))
        outside = [name for name in hashes if {"", "..", "/"} & set(Path(name).parts)]
        if outside:
            raise ValueError(f"{MANIFEST} names {outside[0]!r:.80}, which lies outside")
        wrong = [name for name, digest in hashes.items() if _hash(folder / name) != digest]
    except (OSError, ValueError, TypeError) as error:
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
    """Put a checkpoint's weights, optimiser state and step count into `updater`.

    All processes together; another number of them than wrote it will do.

    Raises:
        DataError: the optimiser's state is not there, or of another model.
    """
    saved = unsharded_class(updater.model).from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True
    )
    whole = StateDictOptions(full_state_dict=True)
    set_model_state_dict(updater.model, saved.state_dict(), options=whole)
    read_optimizer(updater, folder)


def read_methods(folder: Path) -> dict[str, Any]:
    """What methods remembered when the checkpoint was written.

    Raises:
        DataError: the checkpoint does not say.
    """
    try:
        methods: dict[str, Any] = dict(parse_json((folder / METHODS).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"checkpoint {folder}: {METHODS} cannot be read ({type(error).__name__}: {error}); "
            "delete the folder to resume from the one before"
        ) from error
    return methods


def _save_updater(updater: Updater, folder: Path) -> None:
    leads = updater.world.leads
    weights = whole_state(updater.model, kept=leads)
    if leads:
        updater.model.save_pretrained(folder, state_dict=weights)
    updater.world.wait()
    write_optimizer(updater, folder)


def _seal(folder: Path) -> None:
    """Write the manifest, when everything else is on the disk."""
    everything = sorted(folder.rglob("*"))
    paths = [path for path in everything if path.is_file()]
    hashes = {path.relative_to(folder).as_posix(): _hash(path) for path in paths}
    for path in everything:
        _sync(path)
    (folder / MANIFEST).write_text(json.dumps(hashes, indent=1) + "\n")
    _sync(folder / MANIFEST)
    _sync(folder)


def _put(partial: Path, final: Path) -> None:
    """Let it be a checkpoint, and the latest; the link never points to what is not whole."""
    root, link = final.parent, final.with_name(LATEST)
    if final.exists():  # of a run that went back to an earlier place
        link.unlink(missing_ok=True)
        _remove(final)
    partial.rename(final)
    _sync(root)
    draft = link.with_name(f".{LATEST}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(final.name)
    draft.replace(link)
    _sync(root)


def _prune(root: Path, phase: str, keep: int, every: int | None) -> None:
    found = [path for path in find_checkpoints(root) if _progress_of(path).phase == phase]
    for old in found[:-keep]:
        if every is not None and _progress_of(old).iteration % every == 0:
            continue
        _remove(old)


def _remove(folder: Path) -> None:
    """Half deleted, it must not be found."""
    doomed = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def _progress_of(folder: Path) -> Progress:
    try:
        state = parse_json((folder / "progress.json").read_bytes())
        return Progress(**state)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"checkpoint {folder}: progress.json cannot be read ({type(error).__name__}: {error}); "
            "delete the folder to resume from the one before"
        ) from error


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
