"""Low-rank adapters (LoRA): what is trained beside weights that stay as they are.

LoRA: Low-Rank Adaptation of Large Language Models, Hu et al., 2021, https://arxiv.org/abs/2106.09685

The adapters are put into the model's own layers by peft, so the model is called, sharded and copied
as without them; dropout they have none. Whoever samples gets the weights that they amount to.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from longstep_envs.packages import needed
from longstep_envs.types import BadValueError, DataError
from longstep_training.config import Config

if TYPE_CHECKING:
    from peft import LoraConfig

FOLDER = "adapter"
_FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""Before each name, in the files of peft."""
_NAME = ".default"
_BASE = ".base_layer.weight"
ModelT = TypeVar("ModelT", bound=PreTrainedModel)
TensorT = TypeVar("TensorT", bound=Tensor)


class LoRAConfig(Config):
    """Train low-rank changes of some layers, and leave the policy's own weights as they are."""

    rank: PositiveInt = 32
    alpha: PositiveFloat = 32.0
    """A change is `alpha / rank` times the product of the two matrices that are trained."""
    target_modules: tuple[str, ...] = Field(default=("all-linear",), min_length=1)
    """Layers with a change, by the ends of their names; `all-linear` are all but the head."""


def add_adapters(model: ModelT, config: LoRAConfig, seed: int) -> ModelT:
    """Put adapters that change nothing yet into the model; all but them is frozen. Returns it.

    Raises:
        MissingPackageError: peft is not installed.
        BadValueError: the model has no such layers.
    """
    with needed("lora"):
        from peft import LoraConfig
    names = list(config.target_modules)
    wanted = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # peft multiplies by it
        target_modules=names[0] if names == ["all-linear"] else names,
        task_type="CAUSAL_LM",
    )
    return _inject(model, wanted, seed)


def copy_adapters(source: nn.Module, state: Mapping[str, Tensor], target: ModelT) -> ModelT:
    """Give `target` the layers' adapters of `source`, whose whole state is `state`. Returns it."""
    _inject(target, config_of(source), seed=0)
    _fill(target, {name: tensor for name, tensor in state.items() if ".lora_" in name})
    return target


def config_of(model: Any) -> LoraConfig:
    """What peft was told of the model's adapters."""
    config: LoraConfig = model.peft_config["default"]
    return config


def has_adapters(model: nn.Module) -> bool:
    """Whether `add_adapters` has put some into the model."""
    return "peft_config" in model.__dict__


def merge(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of the model without adapters that this one amounts to."""
    if not has_adapters(model):
        return dict(state)
    config, merged = config_of(model), unmerged(state)
    for layer in (name.removesuffix(_BASE) for name in state if name.endswith(_BASE)):
        down, up = (state[f"{layer}.lora_{one}{_NAME}.weight"] for one in "AB")
        weight, scaling = f"{layer}.weight", config.lora_alpha / config.r
        merged[weight] = torch.addmm(merged[weight], up, down, alpha=scaling)
    return merged


def unmerged(state: Mapping[str, TensorT]) -> dict[str, TensorT]:
    """The frozen weights alone, by the names that they have in a model without adapters."""
    kept = {name: tensor for name, tensor in state.items() if ".lora_" not in name}
    return {name.replace(".base_layer.", "."): tensor for name, tensor in kept.items()}


def save_adapters(model: nn.Module, trained: Mapping[str, Tensor], folder: Path) -> None:
    """Write what is trained as peft reads it, in a folder of its own below `folder`."""
    place = folder / FOLDER
    place.mkdir()
    config_of(model).save_pretrained(str(place))
    tensors = {_PREFIX + name.replace(_NAME, ""): t.contiguous() for name, t in trained.items()}
    save_file(tensors, place / _FILE)


def load_adapters(names: list[str], folder: Path) -> dict[str, Tensor]:
    """What `save_adapters` wrote, by the `names` that the parameters have in the model.

    Raises:
        DataError: it is not there, or of other adapters.
    """
    path = folder / FOLDER / _FILE
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"checkpoint {folder} has no adapters that can be read ({error}); policy.lora must be "
            "what it was when the run began"
        ) from error
    known = {_PREFIX + name.replace(_NAME, ""): name for name in names}
    if tensors.keys() != known.keys():
        odd = sorted(tensors.keys() ^ known.keys())[0]
        raise DataError(f"{path} is of other adapters than policy.lora's: see {odd}")
    return {known[name]: tensor for name, tensor in tensors.items()}


def _inject(model: ModelT, config: LoraConfig, seed: int) -> ModelT:
    from peft import inject_adapter_in_model

    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, model)
        except ValueError as error:
            raise BadValueError(
                f"policy.lora.target_modules: {error}; wanted ends of names of linear layers, such "
                "as q_proj"
            ) from error
    for name, layer in model.named_modules():
        base = layer.get_base_layer() if hasattr(layer, "get_base_layer") else None
        if base is not None and (type(base) is not nn.Linear or base is head):
            kind = "the head" if base is head else f"of {type(base).__name__}"
            raise BadValueError(
                f"policy.lora.target_modules: {name} is {kind}; wanted linear layers, such as "
                "q_proj, the head left out"
            )
    assert config.target_modules is not None
    config.target_modules = sorted(config.target_modules)  # peft has resolved it to a set
    model.peft_config = {"default": config}  # type: ignore[dict-item]  # a mixin says less
    return model


def _fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    _, unknown = model.load_state_dict(dict(tensors), strict=False)
    assert not unknown, unknown
