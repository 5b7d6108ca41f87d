"""The words of the runtime: what one episode leaves behind. Read this file first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Outcome(StrEnum):
    """How an episode counts. Only `ok` and `truncated` enter statistics or a loss."""

    OK = "ok"
    """The environment ended the task, solved or not."""
    TRUNCATED = "truncated"
    """A limit of ours ended the episode."""
    ENV_ERROR = "env_error"
    """The environment failed, after all retries."""
    AGENT_ERROR = "agent_error"
    """The agent's own code failed."""
    INFRA_ERROR = "infra_error"
    """An engine, an endpoint or the machine failed."""
    CANCELLED = "cancelled"
    """The caller gave the episode up."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model sampled for one prompt, token by token as sampled."""

    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    """Under the distribution that was sampled from: after temperature and constraint."""
    text: str = ""
    stop: str = "end"
    """`end` (the end token), `length`, or the text of a stop string."""
    policy_version: int = 0
    """Of the weights that sampled the first token."""
    versions: tuple[int, ...] = ()
    """Per token, of the weights that sampled it; empty where they did not change on the way."""
    allowed: tuple[tuple[int, ...] | None, ...] | None = None
    """Per token, the ids that a constraint admitted; None where sampling was free."""
    entropies: tuple[float, ...] = ()
    """Per token, of the distribution it was sampled from. This and what follows is there only where
    a method needs it, and then the trainer has recorded it."""
    collisions: tuple[float, ...] = ()
    """Per token, the chance that a second sample had been the same: the sum of squares."""
    trainer_logprobs: tuple[float, ...] = ()
    """Per token, as the trainer computes what the sampler told in `logprobs`."""
    reference_logprobs: tuple[float, ...] = ()
    """Per token, under the reference policy."""
    values: tuple[float, ...] = ()
    """Per token, what the critic expected when it was chosen."""

    @property
    def choices(self) -> Sequence[int]:
        """The tokens, by number, where the policy had a choice; a constraint forced the others."""
        if self.allowed is None:
            return range(len(self.ids))
        return [j for j, ids in enumerate(self.allowed) if ids is None or len(ids) > 1]


Target = Literal["environment", "tool", "memory", "nobody"]
"""What an action is given to: the environment, a tool of the agent's own, its memory, or nobody,
since it could not be read."""


@dataclass(frozen=True, slots=True)
class Step:
    """One agent turn: what the agent saw, what it did, what came of it."""

    observation: str = ""
    action: str = ""
    reward: float = 0.0
    state_key: str = ""
    """Hash of the state in which the action was chosen: the anchor of step groups. Empty where the
    environment was not acted on."""
    bridge_ids: tuple[int, ...] = ()
    """Tokens put before this step's completion and after the one before it."""
    begins_row: bool = False
    """Whether `bridge_ids`, or `shown`, are a whole prompt, which does not extend what was before
    it."""
    completion: Completion = field(default_factory=Completion)
    action_valid: bool = True
    reward_parts: Mapping[str, float] = field(default_factory=dict)
    record: Mapping[str, str] = field(default_factory=dict)
    """Texts that the environment tells for rewards to be read from, such as a right answer; the
    agent never sees them."""
    admissible: tuple[str, ...] = ()
    """The commands that the environment listed when the action was chosen."""
    target: Target = "environment"
    fault: str = ""
    """The kind of what was wrong with the reply or its call; empty where it was carried out."""
    reasoning: str = ""
    """What an endpoint told of the policy's thinking, apart from the text; long ones lack the
    middle."""
    shown: str = ""
    """What the policy was given, where an endpoint keeps its tokens to itself; else `bridge_ids`
    tells it."""
    unsayable: int = 0
    """Listed commands that could not be chosen under the constraint, since the policy, which does
    not know their words, writes a later one in the same tokens."""

    @property
    def in_admissible(self) -> bool:
        """Whether the action is one of the listed commands; what was no command is not."""
        return self.action in self.admissible


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The steps of one episode."""

    steps: tuple[Step, ...] = ()
    task_id: str = ""
    env_id: str = ""
    seed: int = 0
    split: str = ""
    task_type: str = ""
    provenance: str = ""
    """Which data the task is made of, as the environment tells it."""
    outcome: Outcome = Outcome.OK
    stop_reason: str = ""
    success: bool = False
    score: float = 0.0
    seconds: float = 0.0
    attempts: int = 1
    error: str | None = None
    final_observation: str = ""

    @property
    def total_reward(self) -> float:
        """The sum of the steps' rewards."""
        return sum(step.reward for step in self.steps)

    @property
    def counts(self) -> bool:
        """Whether the episode may enter statistics and losses."""
        return self.outcome in (Outcome.OK, Outcome.TRUNCATED)

    def _repr_html_(self) -> str:
        from longstep_agents.notebook import trajectory_html

        return trajectory_html(self)


@dataclass(frozen=True, slots=True)
class Group:
    """Trajectories of the same task and seed."""

    trajectories: tuple[Trajectory, ...] = ()

    @property
    def counted(self) -> tuple[Trajectory, ...]:
        """The trajectories that may enter statistics and losses."""
        return tuple(t for t in self.trajectories if t.counts)
