"""The trained model: how it is loaded, and what it computes in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal, TypeVar
from weakref import WeakKeyDictionary

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from longstep_agents.attention import ATTENTION
from longstep_envs.types import DataError


def load_model(folder: Path) -> PreTrainedModel:
    """A causal LM from a folder in Hugging Face format, with longstep's packed attention."""
    disable_progress_bar()
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation=ATTENTION, dtype=torch.float32
    )
    return model


Precision = Literal["float32", "bfloat16"]
ModelT = TypeVar("ModelT", bound=PreTrainedModel)


_PRECISIONS: WeakKeyDictionary[PreTrainedModel, Precision] = WeakKeyDictionary()


def compute_in(precision: Precision, model: ModelT) -> ModelT:
    """Let training compute with the model in this precision; returns the model.

    Weights and gradients stay float32, and what samples has a precision of its own.
    """
    _PRECISIONS[model] = precision
    return model


def computing(model: PreTrainedModel) -> AbstractContextManager[object]:
    """The context in which training computes with the model."""
    precision = _PRECISIONS.get(model, "float32")
    if precision == "float32":
        return nullcontext()
    return torch.autocast(model.device.type, getattr(torch, precision))


def load_tokenizer(folder: Path, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer in the folder of `model`.

    Raises:
        DataError: it does not fit the weights, or has no chat template.
    """
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    rows: int = model.config.vocab_size
    if len(tokenizer) > rows:
        raise DataError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens and the model {rows}; one of "
            "them is another policy's"
        )
    if not tokenizer.chat_template:
        raise DataError(f"{folder}: the tokenizer has no chat template; save chat_template.jinja")
    return tokenizer
