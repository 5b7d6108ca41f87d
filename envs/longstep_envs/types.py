"""The words of the environment contract: what passes between an environment and an agent."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, TypedDict


class LongstepError(Exception):
    """Base of every error that longstep raises on purpose; its text is meant for the user."""


class UnknownNameError(LongstepError, KeyError):
    """A registry was asked for a name that it does not hold."""

    def __str__(self) -> str:
        return str(self.args[0])


class MissingPackageError(LongstepError, ImportError):
    """An optional package is needed here and is not installed."""


class DataError(LongstepError, ValueError):
    """A data file is missing, corrupt or of another format than expected."""


class BadValueError(LongstepError, ValueError):
    """A setting or an argument is outside of what is allowed."""


class ContractError(LongstepError, TypeError):
    """An environment returned something that the contract does not allow."""


class PluginError(LongstepError, ImportError):
    """An environment is registered and its class cannot be loaded."""


class EpisodeOverError(LongstepError, RuntimeError):
    """`step` was called before `reset`, or after the episode had ended."""


class SnapshotError(LongstepError, RuntimeError):
    """A snapshot does not fit the environment, or its replay led somewhere else."""


class StopReason(StrEnum):
    """Why an episode ended."""

    SUCCESS = "success"
    """The task was solved."""
    FAILURE = "failure"
    """The environment ended the task without success."""
    TURN_LIMIT = "turn_limit"
    """`Limits.turns` was reached."""
    TOKEN_LIMIT = "token_limit"
    """`Limits.tokens` was reached."""
    CONTEXT_LIMIT = "context_limit"
    """The prompt filled the policy's context."""
    TOOL_LOOP = "tool_loop"
    """The agent repeated one failing call."""
    TIME_LIMIT = "time_limit"
    """`Limits.episode_seconds` was reached."""
    WORKING_TIME = "working_time"
    """The episode's time without waiting for endpoints was over."""
    COST = "cost"
    """What the episode may cost was spent."""
    INVALID_ACTIONS = "invalid_actions"
    """`Limits.invalid_actions` invalid actions came in a row."""
    ERROR = "error"
    """The environment or the agent failed; see `Info["error"]`."""
    CANCELLED = "cancelled"
    """The caller gave the episode up."""


class ErrorInfo(TypedDict):
    """An environment fault. A fault is never a reward: the trainer masks the episode."""

    type: str
    message: str
    retryable: bool


class EnvFaultError(LongstepError, RuntimeError):
    """The environment failed. `error` is what goes into `Info["error"]` and into reports."""

    def __init__(self, error: ErrorInfo) -> None:
        super().__init__(f"{error['type']}: {error['message']}")
        self.error = error


class Info(TypedDict, total=False):
    """Reserved `info` keys. What the agent must read is in the observation, never only here."""

    task_id: str
    split: str
    turn: int
    score: float
    """Cumulative score, 0..1."""
    score_raw: float
    max_score: float
    success: bool
    admissible_commands: list[str]
    action_valid: bool
    reward_parts: dict[str, float]
    stop_reason: str
    error: ErrorInfo
    expert_plan: list[str]
    state_key: str
    """Hash of the raw state, without history or counters: GiGPO's anchor."""
    extra: dict[str, Any]
    """Anything that is not one of the reserved keys."""


_MOST = 10**8
"""Of any limit; what is larger was a slip of the hand, and would limit nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one episode and of its worker, enforced outside the environment.

    None means unlimited.
    """

    turns: int | None = 50
    step_seconds: float | None = None
    """Wall time of one `reset` or `step`; the pool kills the worker that exceeds it."""
    episode_seconds: float | None = None
    """Wall time from the reset call to the final score, which ends the episode as it stands; and
    the time of its environment's calls after which a pool gives a fault no other try."""
    tokens: int | None = None
    """Tokens of one trajectory, environment text included; for the rollout, which counts them."""
    invalid_actions: int | None = None
    """Invalid actions in a row."""
    worker_mb: int | None = None
    """Resident memory of a worker process and of all that it started; the pool kills the worker
    that exceeds it."""
    worker_episodes: int | None = None
    """Episodes after which the pool replaces a worker process."""

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value is not None and not 0 < value <= _MOST:
                raise BadValueError(
                    f"Limits.{limit.name} is {value!r}; it must be above 0 and at most {_MOST:,}, "
                    "or None for no limit"
                )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A point of an episode that `TextEnv.restore` can return to.

    The action log and the observation hash make replay possible in every deterministic
    environment, and let `restore` verify itself. `state` is the environment's own fast form
    (metadata `snapshot: native`), None where replay is the only level.
    """

    env_id: str
    task_id: str
    seed: int | None
    actions: tuple[str, ...]
    observation_hash: str
    provenance: str = ""
    """Which data the environment played."""
    state: Any = field(default=None, repr=False, compare=False)
    outer: Any = field(default=None, repr=False, compare=False)
    """What a wrapper around the environment adds, such as the counters of `Limited`."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that the environment offers; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


class TaskIds(tuple[str, ...]):
    """Ids in a fixed order; asking whether one is among thousands costs no search."""

    @functools.cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._known


def text_hash(*parts: str) -> str:
    """A short stable hash of texts: 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass"))
        digest.update(b"\x00")
    return digest.hexdigest()
