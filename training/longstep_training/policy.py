"""The trained model: how it is loaded, and what it computes in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from longstep_agents.attention import ATTENTION
from longstep_envs.types import DataError
from longstep_training.blocks import running

ONLY_DATA: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False}
"""For `from_pretrained`: a folder is data, whoever made it. It would otherwise unpickle weights,
and ask at the terminal whether to run code that lies beside them."""


def load_model(folder: Path) -> PreTrainedModel:
    """A causal LM from a folder in Hugging Face format, with longstep's packed attention.

    Raises:
        DataError: there is none, or it is pickled or brings code of its own, which is never run.
    """
    disable_progress_bar()
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation=ATTENTION, dtype=torch.float32, **ONLY_DATA
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(
            f"{folder} holds no policy that can be loaded: {str(error)[:500]} (wanted a model that "
            "transformers knows, its weights in safetensors)"
        ) from error
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


@contextmanager
def computing(model: PreTrainedModel) -> Iterator[None]:
    """The context in which training computes with the model."""
    precision = _PRECISIONS.get(model, "float32")
    rounding: AbstractContextManager[object] = nullcontext()
    if precision != "float32":
        # A pass uses each weight once, and rounded ones that were kept would be no part of what is
        # computed again on the way back.
        dtype = getattr(torch, precision)
        rounding = torch.autocast(model.device.type, dtype, cache_enabled=False)
    with rounding, running(model):
        yield


def load_tokenizer(folder: Path, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer in the folder of `model`.

    Raises:
        DataError: it does not fit the weights, or has no chat template.
    """
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, trust_remote_code=False
    )
    rows: int = model.config.vocab_size
    if len(tokenizer) > rows:
        raise DataError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens and the model {rows}; one of "
            "them is another policy's"
        )
    if not tokenizer.chat_template:
        raise DataError(f"{folder}: the tokenizer has no chat template; save chat_template.jinja")
    return tokenizer
