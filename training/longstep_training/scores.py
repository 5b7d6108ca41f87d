"""What the policy says of chosen tokens: log-probabilities, entropies, and more where asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from longstep_agents.attention import Documents
from longstep_training.batch import Batch
from longstep_training.entropy.control import Measure, shannon
from longstep_training.head import Head, decode, has_head
from longstep_training.policy import computing

MOST_LOGITS = {"cpu": 2**26, "cuda": 2**28}
"""The most that a device holds at a time. More are computed in parts, which gives the same numbers:
memory is then that of a part, and the head is computed once more on the way back."""


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


class _Chosen(NamedTuple):
    """Chosen tokens, and where among some logits the distribution is that each was sampled from."""

    place_T: Tensor
    targets_T: Tensor
    free_T: Tensor
    admitted_TA: Tensor | None

    def among(self, tokens: Tensor, start: int) -> _Chosen:
        """Only these tokens; their places are counted from `start` on."""
        admitted_TA = None if self.admitted_TA is None else self.admitted_TA[tokens]
        place_T, targets_T, free_T = (part[tokens] for part in self[:3])
        return _Chosen(place_T - start, targets_T, free_T, admitted_TA)


class _Asked(NamedTuple):
    """What else is asked about logits."""

    temperature: float
    measure: Measure | None
    targets_K: Tensor | None
    """What is to be foretold, -100 where nothing is; None where nothing is anywhere."""


_Told = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of chosen tokens log-probability, entropy and measure, [T] each; and the summed context loss."""


def score(
    model: PreTrainedModel,
    batch: Batch,
    *,
    context: bool = False,
    temperature: float = 1.0,
    measure: Measure | None = None,
) -> Scores:
    """Log-probability and entropy of every chosen token, [T], at the sampling temperature.

    Logits are computed at chosen tokens only, or at every token when `context` is set, and at most
    `MOST_LOGITS` at a time. `measure` is what entropy control wants to know of the distribution of
    each token (see `EntropyControl`).
    """
    # Rows that share a beginning choose after the same token.
    kept_K, place_T = batch.before_T.unique(return_inverse=True)
    rows = len(batch.ids_N) if context else len(kept_K)
    targets_K = _context_targets(batch) if context else None
    asked = _Asked(temperature, measure, targets_K)
    chosen = _Chosen(
        batch.before_T if context else place_T, batch.targets_T, batch.free_T, batch.admitted_TA
    )
    with computing(model):
        if has_head(model) and rows > (most := _most_rows(model)):
            states_NH, head = decode(model, batch)
            states_KH = states_NH if context else states_NH[kept_K]
            told = _tell_by_parts(states_KH, head, most, chosen, asked)
        else:
            logits = model(
                input_ids=batch.ids_N[None],
                position_ids=batch.positions_N[None],
                packing=batch.packing,
                use_cache=False,
                logits_to_keep=0 if context else kept_K,
                wanted=None if context else kept_K,
            ).logits[0]
            told = _tell(logits, chosen, asked)
    return Scores(*told, 0 if targets_K is None else int((targets_K >= 0).sum()))


def _most_rows(model: PreTrainedModel) -> int:
    """The rows of logits that may be held at a time."""
    vocabulary: int = model.config.get_text_config().vocab_size
    return max(1, MOST_LOGITS.get(model.device.type, MOST_LOGITS["cpu"]) // vocabulary)


def _tell_by_parts(
    states_KH: Tensor, head: Head, most: int, chosen: _Chosen, asked: _Asked
) -> _Told:
    """What is asked, of `most` states at a time; on the way back, logits are computed again."""

    def tell(states_KH: Tensor, chosen: _Chosen, asked: _Asked) -> _Told:
        return _tell(head(states_KH), chosen, asked)

    order_T = chosen.place_T.argsort(stable=True)
    cuts = torch.arange(0, len(states_KH) + most, most, device=order_T.device)
    ends = torch.searchsorted(chosen.place_T[order_T], cuts).tolist()
    told = []
    for part, states in enumerate(states_KH.split(most)):
        start = part * most
        mine = chosen.among(order_T[ends[part] : ends[part + 1]], start)
        targets = None if asked.targets_K is None else asked.targets_K[start : start + most]
        given = states, mine, asked._replace(targets_K=targets)
        told.append(checkpoint(tell, *given, use_reentrant=False, preserve_rng_state=False))
    *found, losses = zip(*told, strict=True)
    places = order_T.argsort()
    logprobs_T, entropy_T, measured_T = (torch.cat(values)[places] for values in found)
    return logprobs_T, entropy_T, measured_T, torch.stack(losses).sum()


def _tell(logits_KV: Tensor, chosen: _Chosen, asked: _Asked) -> _Told:
    """What is asked of these logits."""
    if asked.targets_K is None:
        return *_score_chosen(logits_KV, chosen, asked), logits_KV.new_zeros(())
    kept, place_T = chosen.place_T.unique(return_inverse=True)
    found = _score_chosen(logits_KV[kept], chosen._replace(place_T=place_T), asked)
    loss = cross_entropy(logits_KV.float(), asked.targets_K, ignore_index=-100, reduction="sum")
    return *found, loss


def _score_chosen(
    logits_KV: Tensor, chosen: _Chosen, asked: _Asked
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each chosen token: its log-probability, the entropy, and what is measured."""
    logits_KV = logits_KV.float() / asked.temperature
    place_T, targets_T, free_T, admitted_TA = chosen
    parts = []
    if free_T.any():
        free = free_T.nonzero()[:, 0]
        kept, row = place_T[free].unique(return_inverse=True)
        distribution = logits_KV[kept].log_softmax(-1)
        parts.append((free, *_look_up(distribution, row, targets_T[free], asked.measure)))
    if admitted_TA is not None:
        bound = (~free_T).nonzero()[:, 0]
        admitted = admitted_TA[bound]
        distribution = logits_KV[place_T[bound]].gather(1, admitted.clamp(min=0))
        distribution = distribution.masked_fill(admitted < 0, -torch.inf).log_softmax(-1)
        column = (admitted == targets_T[bound, None]).int().argmax(1)
        row = torch.arange(len(bound), device=bound.device)
        parts.append((bound, *_look_up(distribution, row, column, asked.measure)))
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


def _context_targets(batch: Batch) -> Tensor:
    """The next token of each token; -100 at row ends and before chosen tokens."""
    assert isinstance(batch.packing, Documents), "rows that share nothing have a context each"
    targets = batch.ids_N.roll(-1)
    ends = torch.tensor(batch.packing.lengths).cumsum(0) - 1
    targets[ends] = -100
    targets[batch.before_T] = -100
    return targets
