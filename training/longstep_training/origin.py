"""What a run began with, which it has to go on with: its config, model and tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from longstep_envs.types import BadValueError
from longstep_training.config import load_config
from longstep_training.recipe import TrainConfig
from longstep_training.sealed import MANIFEST, verify

POLICY = "policy"
"""The folder of a run that holds it, sealed."""
CONFIG = "training.toml"
_MACHINE = {"run", "cluster"}
"""How the machine is used, which may change."""
_LENGTH = "rl.iterations"
"""How long it goes on, which may, too."""
_SHOWN = 20


def check_origin(run: Path, config: TrainConfig) -> None:
    """Refuse what would go on as another run than it began.

    Raises:
        LongstepError: the model or tokenizer in the run's folder, or its config, were changed.
    """
    folder = run / POLICY
    anew = f"put it back, or begin another run with policy.path set to a checkpoint of {run}"
    if (folder / MANIFEST).exists():  # earlier versions sealed none
        verify(folder, anew)
    if not (folder / CONFIG).exists():
        return
    before, now = _values(load_config(TrainConfig, folder / CONFIG)), _values(config)
    changes = [
        f"{key}: {before.get(key)!r}, now {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key != _LENGTH
    ]
    if changes:
        shown = "\n".join(changes[:_SHOWN])
        raise BadValueError(f"{run} was begun with another config; {anew}:\n{shown}")


def _values(config: TrainConfig) -> dict[str, Any]:
    """By dotted keys, without how the machine is used."""
    tree = config.model_dump(mode="json", exclude=_MACHINE)
    found: dict[str, Any] = {}
    places = list(tree.items())
    while places:
        key, value = places.pop()
        if isinstance(value, dict):
            places += [(f"{key}.{name}", below) for name, below in value.items()]
        else:
            found[key] = value
    return found
