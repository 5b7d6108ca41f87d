"""Checkpoints: a folder that transformers and vLLM load, plus what an exact resume needs.

A checkpoint is a sealed folder (`sealed.py`); when it is at its place, the link `latest` points to
it.

All randomness of a run is a function of the seed, the phase and the iteration, so there are no
generators to keep: weights, optimiser, counters and what methods remember are the whole state, of
any number of processes. The weights are whole, since what samples loads them; of the optimiser's
state each process writes its part, and any number of processes can read it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longstep_agents.shares import whole
from longstep_envs.types import DataError
from longstep_envs.untrusted import parse_json
from longstep_training.adapters import has_adapters, load_adapters, save_adapters
from longstep_training.log import PHASES
from longstep_training.optimizer_state import read_optimizer, write_optimizer
from longstep_training.policy import load_model, load_tokenizer
from longstep_training.sealed import MANIFEST, remove, sealing, sync, verify
from longstep_training.shards import unsharded_class, whole_state
from longstep_training.updater import Updater

METHODS = "methods.json"
CRITIC = "critic"
LATEST = "latest"
_MEND = "delete the folder to resume from the one before"


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
    with sealing(final, world) as draft:
        _save_updater(parts.policy, draft)
        if parts.critic is not None:
            _save_updater(parts.critic, draft / CRITIC)
        if world.leads:
            parts.tokenizer.save_pretrained(draft)
            (draft / "progress.json").write_text(json.dumps(asdict(progress), indent=1) + "\n")
            (draft / METHODS).write_text(json.dumps(parts.methods) + "\n")
    if world.leads:
        _link(final)
        _prune(final, keep, every)
    world.wait()
    return final


def find_checkpoints(root: Path) -> list[Path]:
    """The checkpoints under `root`, oldest first: every one was whole when it was written."""
    folders = [path.parent for path in root.glob(f"*/{MANIFEST}")]
    return sorted((path for path in folders if _place_of(path)[0] >= 0), key=_place_of)


def newest_checkpoint(root: Path, tell: Callable[[str], object]) -> Path | None:
    """The newest checkpoint under `root` that is as it was written; tells of those after it.

    Raises:
        DataError: there are some, and none is.
    """
    found = find_checkpoints(root)[::-1]
    for folder, before in zip_longest(found, found[1:]):
        then = f"{before.name} is taken instead" if before else "there is none before it to take"
        try:
            verify(folder, then)
        except DataError as error:
            if before is None:
                raise
            tell(str(error))
        else:
            return folder
    return None


def read_checkpoint(folder: Path) -> Progress:
    """The progress of a checkpoint whose files are all as its manifest says.

    Raises:
        DataError: a file is missing or was changed since.
    """
    verify(folder, _MEND)
    try:
        state = parse_json((folder / "progress.json").read_bytes())
        return Progress(**state)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"checkpoint {folder}: progress.json cannot be read ({type(error).__name__}: {error}); "
            f"{_MEND}"
        ) from error


def load_policy(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and the tokenizer of a checkpoint, or of any folder with a causal LM.

    Raises:
        DataError: the folder holds none, its files are not as its manifest says, or the tokenizer
            does not fit the weights.
    """
    if not (folder / "config.json").exists():
        raise DataError(f"{folder} holds no model; name a folder such as RUN/checkpoints/rl-000060")
    if (folder / MANIFEST).exists():
        verify(folder, "name another")
    model = load_model(folder)
    return model, load_tokenizer(folder, model)


def restore(folder: Path, updater: Updater) -> None:
    """Put a checkpoint's weights, optimiser state and step count into `updater`.

    All processes together; another number of them than wrote it will do.

    Raises:
        DataError: the optimiser's state is not there, or of another model.
    """
    adapted = has_adapters(updater.model)
    state: dict[str, Any]
    if adapted:  # the other weights are as they were
        state = dict(load_adapters(list(updater.parameters), folder))
    else:
        kind = unsharded_class(updater.model)
        saved = kind.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        state = saved.state_dict()
    options = StateDictOptions(full_state_dict=True, strict=not adapted)
    set_model_state_dict(updater.model, state, options=options)
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
            f"{_MEND}"
        ) from error
    return methods


def _save_updater(updater: Updater, folder: Path) -> None:
    leads = updater.world.leads
    weights = whole_state(updater.model, kept=leads)
    if leads:
        updater.model.save_pretrained(folder, state_dict=weights)
    if has_adapters(updater.model):
        trained = {name: whole(share.detach()) for name, share in updater.parameters.items()}
        if leads:
            save_adapters(updater.model, trained, folder)
    updater.world.wait()
    write_optimizer(updater, folder)


def _link(final: Path) -> None:
    """Let it be the latest; the link never points to what is not whole."""
    draft = final.with_name(f".{LATEST}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(final.name)
    draft.replace(final.with_name(LATEST))
    sync(final.parent)


def _prune(final: Path, keep: int, every: int | None) -> None:
    """Of this one and those before it in its phase; later ones are damaged, or of another way."""
    rank, newest = _place_of(final)
    found = {path: _place_of(path) for path in find_checkpoints(final.parent)}
    known = [path for path, place in found.items() if place[0] == rank and place[1] <= newest]
    for old in known[:-keep]:
        if every is None or found[old][1] % every:
            remove(old)


def _place_of(folder: Path) -> tuple[int, int]:
    """Where in a run a checkpoint of this name stands; (-1, 0) where it is no such name."""
    phase, _, iteration = folder.name.partition("-")
    if phase not in PHASES or not iteration.isdecimal():
        return -1, 0
    return PHASES.index(phase), int(iteration)
