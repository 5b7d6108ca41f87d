"""One reinforcement-learning update: the loss of a batch of scored trajectories."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

import torch
from pydantic import NonNegativeInt, PositiveInt, field_validator, model_validator
from torch import Tensor
from transformers import PreTrainedModel

from longstep_agents.strategies import AnyStrategyConfig
from longstep_training.batch import AGGREGATIONS, Batch
from longstep_training.config import Config, key_of, refusal
from longstep_training.credit import AnyCreditConfig
from longstep_training.credit.step import GiGPOConfig
from longstep_training.critic import CriticConfig
from longstep_training.entropy import (
    ENTROPY,
    AnyEntropyConfig,
    BonusConfig,
    EntropyControl,
    TurnTally,
)
from longstep_training.loss import LOSSES, AnyLossConfig, Tokens
from longstep_training.loss.corrections import (
    AnyCorrectionConfig,
    TruncateConfig,
    check_corrections,
    correction_weights,
)
from longstep_training.loss.kl import KLConfig, kl_loss
from longstep_training.loss.token import ClipConfig
from longstep_training.loss.unit import UNITS, Unit
from longstep_training.rewards import REWARDS, RewardConfig
from longstep_training.sampling import SamplingConfigs
from longstep_training.scores import score
from longstep_training.updater import OptimizerConfig, Schedule
from longstep_training.weights import AnyWeightsConfig


class ReinforcementConfig(Config):
    """How trajectories are collected and what is learnt from them."""

    iterations: NonNegativeInt = 0
    tasks: PositiveInt = 32
    """Tasks of one iteration."""
    siblings: PositiveInt = 8
    """Trajectories of each task."""
    strategy: AnyStrategyConfig | None = None
    """How a task's trajectories come about: a key of `STRATEGIES`; None plays plain siblings."""
    sampling: SamplingConfigs = ()
    """Which tasks are played and which trajectories are learnt from, by strategies in this order;
    without any, tasks are drawn at random and everything is learnt from once."""
    quarantine: PositiveInt | None = 3
    """Episodes of a task that may fail in a row before it is played no more; None plays it on."""
    outages: NonNegativeInt = 2
    """How often in a row all episodes may fail, and nothing be learnt, before the run ends."""
    staleness: NonNegativeInt = 0
    """How many policy versions behind a token may be that is learnt from. 0 plays, then learns;
    else episodes go on while the policy is trained, those of so many iterations ahead."""
    overdue: Literal["drop", "wait"] = "wait"
    """What becomes of a group that an update would leave too far behind: the update waits for it,
    or it is dropped, which long episodes are more often than short ones."""
    schedule: Schedule = Schedule()
    rewards: RewardConfig = RewardConfig()
    credit: AnyCreditConfig = GiGPOConfig()
    critic: CriticConfig | None = None
    """The model that tells what an episode will still earn; for the methods that need one."""
    weights: tuple[AnyWeightsConfig, ...] = ()
    """What reshapes credit once it is assigned, in this order: keys of `TOKEN_WEIGHTS`."""
    loss: AnyLossConfig = ClipConfig()
    corrections: tuple[AnyCorrectionConfig, ...] | None = None
    """Factors on the loss, applied in order: keys of `CORRECTIONS`. Without it, `truncate` where
    sampler and trainer differ: with staleness, or an engine that computes otherwise."""
    kl: KLConfig | None = None
    """A term that holds the policy to the reference policy; None leaves it free."""
    reference: str | None = None
    """The reference policy: `start`, the policy that this phase starts from, or a folder in Hugging
    Face format. Methods that compare with it need it set."""
    aggregation: Annotated[str, key_of(lambda: AGGREGATIONS)] | None = None
    """What the loss is a mean of: a key of `AGGREGATIONS`. None takes what the loss's paper takes:
    the unit of `gspo` and `gmpo`, else the token."""
    entropy: AnyEntropyConfig = BonusConfig()
    optimizer: OptimizerConfig = OptimizerConfig()

    @field_validator("corrections")
    @classmethod
    def _go_together(
        cls, corrections: tuple[AnyCorrectionConfig, ...] | None
    ) -> tuple[AnyCorrectionConfig, ...] | None:
        check_corrections(corrections or ())
        return corrections

    def corrected(self, sampler_differs: bool) -> Self:
        """These options, with the corrections chosen where they were left open."""
        if self.corrections is not None:
            return self
        unit: Unit = getattr(self.loss, "unit", "token") if self.loss.couples_tokens else "token"
        needed = sampler_differs or self.staleness > 0
        return self.model_copy(
            update={"corrections": (TruncateConfig(unit=unit),) if needed else ()}
        )

    @property
    def needs(self) -> frozenset[str]:
        """What the methods need recorded of a rollout."""
        parts = (
            self.strategy,
            self.rewards,
            self.credit,
            *self.weights,
            *(self.corrections or ()),
            self.kl,
            self.entropy,
        )
        return frozenset[str]().union(*(getattr(part, "needs", ()) for part in parts))

    @model_validator(mode="after")
    def _records_what_is_needed(self) -> Self:
        needs = self.needs
        if "values" in needs and self.critic is None:
            raise refusal(f"a critic, which {self.credit.name} needs: add a table [rl.critic]")
        if "values" not in needs and self.critic is not None:
            raise refusal(f"no critic, which {self.credit.name} has no use for: remove [rl.critic]")
        self.credit.check_terms({name: t.weight for name, t in self.rewards.chosen.items()})
        named = {part for term in self.rewards.chosen.values() for part in term.reads}
        if "process" in needs and "process" not in {*named, *self.rewards.chosen}:
            raise refusal(
                f"rewards of the process, for {self.credit.name} needs them: in rl.rewards.terms "
                "put parts = { weights = { process = 0.0 } } where the environment names them, or "
                "process = { weight = 0.0, rubric = …, judge = … } where a judge gives them"
            )
        if "reference" in needs and self.reference is None:
            raise refusal(
                'a reference policy, which a method compares with: add reference = "start" to [rl]'
            )
        if "reference" not in needs and self.reference is not None:
            raise refusal(
                "no rl.reference, for no method compares with it; remove it or add [rl.kl]"
            )
        return self

    @model_validator(mode="after")
    def _names_parts_that_there_are(self) -> Self:
        terms = self.rewards.chosen
        read = [part for term in terms.values() for part in term.reads]
        given = [*terms, *read, *(strategy.name for strategy in self.sampling)]
        for part in self.credit.parts:
            if any(fnmatchcase(part, name) for name in given):
                continue
            # The environment may name others, but hardly as our terms are called, or almost so.
            near = difflib.get_close_matches(part, given, n=1, cutoff=0.75)
            if near or part in REWARDS:
                asked = f"; did you mean '{near[0]}'?" if near else "."
                raise refusal(
                    f"parts of the reward that something gives, for {self.credit.name} weighs "
                    f"'{part}', which is no term of rl.rewards.terms{asked} Name it there; if the "
                    f"environment gives it, as parts = {{ weights = {{ {part} = 0.0 }} }}"
                )
        return self

    @model_validator(mode="after")
    def _can_learn(self) -> Self:
        credit = self.credit
        if self.siblings < credit.siblings:
            raise refusal(
                f"siblings of {credit.siblings} or more, for {credit.name} compares the "
                "trajectories of a task with each other: raise rl.siblings, or choose a credit "
                "that does not, such as reinforce_pp"
            )
        idle = [weights.name for weights in self.weights if self.siblings < weights.siblings]
        if idle:
            raise refusal(
                f"siblings of 2 or more for the weights {idle[0]}, which leave groups of one as "
                "they are: raise rl.siblings, or remove them from rl.weights"
            )
        weighed = any(term.weight for term in self.rewards.chosen.values())
        if not weighed and not credit.reads_parts:
            raise refusal(
                f"a reward, for {credit.name} learns from nothing else: in rl.rewards.terms give "
                "one term a weight that is not 0"
            )
        return self

    @model_validator(mode="after")
    def _plays_beside_others(self) -> Self:
        if self.staleness and self.strategy is not None:
            raise refusal(
                f"rl.staleness = 0 beside the strategy {self.strategy.name}, whose branches are "
                "played together and not beside others; or remove [rl.strategy]"
            )
        return self

    @model_validator(mode="after")
    def _acts_on_single_tokens(self) -> Self:
        bound = getattr(self.entropy, "clip_high", None)
        if bound is not None and not self.loss.clips_tokens:
            raise refusal(
                "a loss that clips each token by its own ratio, for entropy.clip_high gives back "
                f"what was clipped, and {self.loss.name} clips no such token: set rl.loss to clip, "
                "or remove entropy.clip_high"
            )
        if bound not in (None, getattr(self.loss, "clip_high", bound)):
            raise refusal(
                f"one bound for loss and entropy: set entropy.clip_high, {bound}, to the loss's"
            )
        if not self.loss.couples_tokens:
            return self
        shared = f"for the tokens of a sequence share one loss in {self.loss.name}"
        if self.entropy.scales_tokens:
            raise refusal(
                f"no {self.entropy.name}, {shared}, and it acts on single tokens: choose another "
                "loss or another entropy control"
            )
        unit = getattr(self.loss, "unit", "token")
        for correction in self.corrections or ():
            if UNITS.index(correction.unit) < UNITS.index(unit):
                raise refusal(
                    f'unit = "{unit}" or more for the correction {correction.name}, {shared}'
                )
        return self


def policy_loss(
    model: PreTrainedModel,
    batch: Batch,
    config: ReinforcementConfig,
    temperature: float = 1.0,
    control: EntropyControl | None = None,
    tally: TurnTally | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The policy loss, the KL and the entropy term of a batch, summed over its chosen tokens.

    `temperature` is the one at which the batch was sampled; `control` is the entropy control of the
    run, which remembers earlier iterations, and `tally` is what the entropy by turn is counted in.
    """
    control = control or ENTROPY[config.entropy.name](config.entropy)
    scores = score(model, batch, temperature=temperature, measure=control.own_measure)
    tokens = Tokens(
        scores.logprobs_T,
        batch.old_logprobs_T,
        batch.advantages_T,
        batch.rows_T,
        batch.steps_T,
        turns_T=batch.turns_T,
        sampled_T=batch.sampled_T,
        reference_T=batch.reference_T,
        marked_T=batch.marked_T,
    )
    loss_T, clipped_T = LOSSES[config.loss.name](tokens, config.loss)
    correction_T = correction_weights(tokens, config.corrections or ())
    kl_T = kl_loss(tokens, config.kl) if config.kl else torch.zeros_like(loss_T)
    term = control.term(tokens, scores.measured_T)
    fresh_T = ~batch.replayed_T
    if tally is not None:
        tally.add(fresh_T, batch.turns_T, scores.entropy_T, term.watched_T)
    if term.scale_T is not None:
        loss_T = term.scale_T * loss_T
    weighted_T = batch.weights_T * (correction_T * loss_T + kl_T)
    return (weighted_T + batch.weights_T * term.loss_T).sum(), {
        "loss": float(weighted_T.detach().sum()),
        "entropy": float(scores.entropy_T.detach().sum()),
        "fresh_tokens": float(fresh_T.sum()),
        "clip_fraction": float(clipped_T.sum()),
        "correction": float(correction_T.sum()),
        "reference_kl": float(kl_T.detach().sum()) / (config.kl.coefficient if config.kl else 1.0),
        "ratio_deviation": float((tokens.log_ratio_T.detach().exp() - 1.0).abs()[fresh_T].sum()),
        "sampler_kl": float((batch.old_logprobs_T - scores.logprobs_T.detach())[fresh_T].sum()),
    }
