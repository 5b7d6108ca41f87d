"""A model's forward pass in two: states of its decoder, then a head that makes logits of some.

Both are the model's own, so what it does around its head (a scale, a soft cap) is done here, too,
whatever the family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from longstep_training.batch import Batch

Head = Callable[[Tensor], Tensor]
"""From states [K, H] to logits [K, V]."""


def has_head(model: PreTrainedModel) -> bool:
    """Whether the model is of transformers, and has a decoder apart from its head."""
    bare = _bare(model)
    if not isinstance(bare, PreTrainedModel):
        return False
    return bare.base_model is not bare and bare.get_output_embeddings() is not None


def decode(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Head]:
    """The states of all tokens of the batch, [N, H], and the head that goes with them."""
    bare = _bare(model)
    decoder: nn.Module = bare.base_model
    ended: list[Any] = []
    hook = decoder.register_forward_hook(lambda _module, _given, output: ended.append(output))
    try:
        # The whole model is called, and not its decoder alone, because whoever shards a model
        # gathers what belongs to no block when the whole is called.
        model(
            input_ids=batch.ids_N[None],
            position_ids=batch.positions_N[None],
            packing=batch.packing,
            use_cache=False,
            logits_to_keep=batch.before_T[:0],
        )
    finally:
        hook.remove()
    output = ended[0]

    def head(states_KH: Tensor) -> Tensor:
        with _ends_in(decoder, type(output)(last_hidden_state=states_KH[None])):
            logits: Tensor = bare.forward(use_cache=False).logits
        return logits[0]

    return output.last_hidden_state[0], head


@contextmanager
def _ends_in(decoder: nn.Module, output: Any) -> Iterator[None]:
    """Let the decoder give `output` without computing anything."""
    set_before = decoder.__dict__.get("forward")
    decoder.forward = lambda *_args, **_options: output
    try:
        yield
    finally:
        del decoder.forward
        if set_before is not None:
            decoder.forward = set_before


def _bare(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
