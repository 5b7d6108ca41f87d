"""The critic: a copy of the policy's transformer that tells what an episode will still earn."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoModelForTokenClassification,
    PreTrainedModel,
)
from transformers.utils.logging import disable_progress_bar

from longstep_agents.attention import ATTENTION
from longstep_agents.types import Completion, Group
from longstep_envs.types import BadValueError
from longstep_training.adapters import copy_adapters, has_adapters, unmerged
from longstep_training.batch import Batch, Row, build_row
from longstep_training.config import Config
from longstep_training.credit.gae import GAEConfig, value_targets
from longstep_training.loss.value import ValueLossConfig, clipped_value_loss
from longstep_training.policy import ONLY_DATA, computing
from longstep_training.shards import own_state
from longstep_training.updater import OptimizerConfig, Schedule


class CriticConfig(Config):
    """How the critic of `gae` is trained."""

    loss: ValueLossConfig = ValueLossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: Schedule = Schedule()


def new_critic(policy: PreTrainedModel) -> PreTrainedModel:
    """The policy's transformer with a scalar head in place of its words; all values are 0.

    It shares no weights with the policy, and has no dropout. Where the policy has adapters it has
    some of its own, which begin as those; they and the head are what is trained.

    Raises:
        BadValueError: transformers has no such model with a head for numbers.
    """
    config = copy.deepcopy(policy.config)
    config.num_labels = 1
    config.classifier_dropout = 0.0
    if type(config) not in MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING:
        raise BadValueError(
            f"there is no critic for a {config.model_type} policy: transformers has no token "
            "classifier of it; choose a method of rl.credit that needs no critic"
        )
    critic: PreTrainedModel = AutoModelForTokenClassification.from_config(
        config, attn_implementation=ATTENTION, dtype=torch.float32
    )
    state = own_state(policy)
    prefix = f"{policy.base_model_prefix}."
    decoder = {
        n.removeprefix(prefix): t for n, t in unmerged(state).items() if n.startswith(prefix)
    }
    critic.base_model.load_state_dict(decoder)
    if has_adapters(policy):
        copy_adapters(policy, state, critic)
    nn.Module.to(critic, policy.device)
    for name, module in critic.named_children():
        if name != critic.base_model_prefix:
            for parameter in module.parameters():
                nn.init.zeros_(parameter).requires_grad_(True)
    critic.eval()
    return critic


def load_critic(folder: Path) -> PreTrainedModel:
    """A critic from a folder that `save_critic` wrote."""
    disable_progress_bar()
    critic: PreTrainedModel = AutoModelForTokenClassification.from_pretrained(
        folder, attn_implementation=ATTENTION, dtype=torch.float32, **ONLY_DATA
    )
    critic.eval()
    return critic


def save_critic(critic: PreTrainedModel, folder: Path) -> None:
    """Write the critic in Hugging Face format, its weights as safetensors."""
    critic.save_pretrained(folder)


def values(critic: PreTrainedModel, batch: Batch) -> Tensor:
    """What the critic expects when each token of the batch is chosen, [T], with gradient."""
    with computing(critic):
        outputs = critic(
            input_ids=batch.ids_N[None],
            position_ids=batch.positions_N[None],
            packing=batch.packing,
            use_cache=False,
        )
    values_N: Tensor = outputs.logits[0, :, 0]
    return values_N[batch.before_T].float()


def value_rows(groups: Sequence[Group], config: GAEConfig) -> list[Row]:
    """A row for every counted trajectory with tokens, whatever it earned.

    Its `advantages` are what the critic should say, and its `logprobs` what it said: the values
    that were recorded.

    Raises:
        DataError: no values were recorded of a completion.
    """
    rows = []
    for group, targets in zip(groups, value_targets(groups, config), strict=True):
        for trajectory, targets_S in zip(group.trajectories, targets, strict=True):
            if not trajectory.counts:
                continue
            row = build_row(trajectory, targets_S)
            said = [value for step in trajectory.steps for value in _recorded(step.completion)]
            if row.positions:
                rows.append(replace(row, logprobs=said, reference=[], sampled=[]))
    return rows


def value_loss(
    critic: PreTrainedModel, batch: Batch, config: ValueLossConfig
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch of `value_rows`, summed over its chosen tokens; an `Objective`."""
    values_T = values(critic, batch)
    loss_T, clipped_T = clipped_value_loss(
        values_T, batch.old_logprobs_T, batch.advantages_T, config
    )
    summed = (batch.weights_T * loss_T).sum()
    return summed, {
        "value_loss": float(summed.detach()),
        "value_clip_fraction": float(clipped_T.sum()),
    }


def explained_variance(rows: Sequence[Row]) -> float:
    """The share of the returns' variance that the critic foresaw: 1 is all, 0 as much as a guess.

    0 where the returns do not differ.
    """
    targets_T = torch.tensor([value for row in rows for value in row.advantages])
    said_T = torch.tensor([value for row in rows for value in row.logprobs])
    variance = float(targets_T.var(correction=0)) if len(targets_T) else 0.0
    if variance == 0.0:
        return 0.0
    return 1.0 - float((targets_T - said_T).var(correction=0)) / variance


def _recorded(completion: Completion) -> list[float]:
    return [completion.values[j] for j in completion.choices]
