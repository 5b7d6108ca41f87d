"""What the policy says of chosen tokens: log-probabilities, entropies, and more where asked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from longstep_agents.attention import Documents
from longstep_training.batch import Batch
from longstep_training.entropy.control import Measure, shannon
from longstep_training.policy import computing


@dataclass(frozen=True, slots=True)
class Scores:
    """The policy's view of a batch's chosen tokens, under the distribution sampled from."""

    logprobs_T: Tensor
    entropy_T: Tensor
    """Without gradient where something else was measured."""
    measured_T: Tensor
    """What `measure` said of the distribution; the entropy unless one was given."""
    context_loss: Tensor
    """Summed cross-entropy of the tokens that were not chosen; 0 unless asked for."""
    context_tokens: int = 0


def score(
    model: PreTrainedModel,
    batch: Batch,
    *,
    context: bool = False,
    temperature: float = 1.0,
    measure: Measure | None = None,
) -> Scores:
    """Log-probability and entropy of every chosen token, [T], at the sampling temperature.

    Logits are computed at chosen tokens only, or at every token when `context` is set. `measure` is
    what entropy control wants to know of the distribution of each token (see `EntropyControl`).
    """
    # Rows that share a beginning choose after the same token.
    kept_K, place_T = batch.before_T.unique(return_inverse=True)
    with computing(model):
        logits = model(
            input_ids=batch.ids_N[None],
            position_ids=batch.positions_N[None],
            packing=batch.packing,
            use_cache=False,
            logits_to_keep=0 if context else kept_K,
        ).logits[0]
    chosen_logits = logits[kept_K] if context else logits
    chosen = _score_chosen(chosen_logits.float() / temperature, place_T, batch, measure)
    if not context:
        return Scores(*chosen, logits.new_zeros(()))
    assert isinstance(batch.packing, Documents), "rows that share nothing have a context each"
    targets = _context_targets(batch, batch.packing)
    loss = cross_entropy(logits.float(), targets, ignore_index=-100, reduction="sum")
    return Scores(*chosen, loss, int((targets >= 0).sum()))


def _score_chosen(
    logits_KV: Tensor, place_T: Tensor, batch: Batch, measure: Measure | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each chosen token: its log-probability, the entropy, and what `measure` says.

    `place_T` is where in `logits_KV` the distribution is that each was sampled from.
    """
    parts = []
    if batch.free_T.any():
        free = batch.free_T.nonzero()[:, 0]
        kept, row = place_T[free].unique(return_inverse=True)
        distribution = logits_KV[kept].log_softmax(-1)
        parts.append((free, *_look_up(distribution, row, batch.targets_T[free], measure)))
    if batch.admitted_TA is not None:
        bound = (~batch.free_T).nonzero()[:, 0]
        admitted = batch.admitted_TA[bound]
        distribution = logits_KV[place_T[bound]].gather(1, admitted.clamp(min=0))
        distribution = distribution.masked_fill(admitted < 0, -torch.inf).log_softmax(-1)
        column = (admitted == batch.targets_T[bound, None]).int().argmax(1)
        row = torch.arange(len(bound), device=bound.device)
        parts.append((bound, *_look_up(distribution, row, column, measure)))
    if not parts:
        return (logits_KV.new_zeros(0),) * 3
    places, *found = (torch.cat(values) for values in zip(*parts, strict=True))
    logprobs_T, entropy_T, measured_T = (values[places.argsort()] for values in found)
    return logprobs_T, entropy_T, measured_T


def _look_up(
    distribution: Tensor, row: Tensor, column: Tensor, measure: Measure | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The log-probability at each `row` and `column`; of each row entropy and `measure`."""
    logprobs = distribution[row, column]
    if measure is None:
        entropy = shannon(distribution)[row]
        return logprobs, entropy, entropy
    return logprobs, shannon(distribution.detach())[row], measure(distribution)[row]


def _context_targets(batch: Batch, documents: Documents) -> Tensor:
    """The next token of each token; -100 at row ends and before chosen tokens."""
    targets = batch.ids_N.roll(-1)
    ends = torch.tensor(documents.lengths).cumsum(0) - 1
    targets[ends] = -100
    targets[batch.before_T] = -100
    return targets
