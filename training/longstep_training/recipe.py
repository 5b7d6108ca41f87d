"""The config of a training run: what `longstep train CONFIG` reads."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from longstep_agents.language_agent import LanguageAgentConfig
from longstep_agents.small_policy import SmallPolicyConfig
from longstep_envs.types import DataError, Limits
from longstep_training.adapters import LoRAConfig
from longstep_training.blocks import ActivationCheckpointing
from longstep_training.cluster import ClusterConfig
from longstep_training.config import Config, key_of, refusal
from longstep_training.data import DataConfig
from longstep_training.distributed import Device
from longstep_training.engines import AnyEngineConfig, HFEngineConfig
from longstep_training.imitation import ImitationConfig
from longstep_training.policy import Precision
from longstep_training.reinforcement import ReinforcementConfig
from longstep_training.trackers import AnyTrackerConfig


def registered() -> Sequence[str]:
    """The ids of all environments."""
    from longstep_envs.registry import ENVS

    return list(ENVS)


class TaskSource(Config):
    """Where tasks come from: an environment, as `gymnasium.make` takes it, and its limits."""

    env_id: Annotated[str, key_of(registered)]
    env_kwargs: dict[str, Any] = Field(default_factory=dict)
    split: str | None = None
    """Only the environment's tasks of this split."""
    match: str | None = None
    """Only the tasks whose ids match this pattern, such as "train/parse*"."""
    turns: PositiveInt | None = 50
    """The turn limit."""
    tokens: PositiveInt | None = None
    """The token limit of a trajectory, environment text included."""
    step_seconds: PositiveFloat | None = 300.0
    """Wall time of one reset or step of the environment, after which its worker is replaced."""
    episode_seconds: PositiveFloat | None = None
    """Wall time of an episode, from its reset to its score; the policy's own time counts, too.
    What its environment alone may take is the same, over all tries."""
    worker_mb: PositiveInt | None = None
    """Memory of a worker process and what it started, in MB; beyond it, it is replaced."""
    worker_episodes: PositiveInt | None = None
    """Episodes after which a worker process is replaced."""

    @property
    def limits(self) -> Limits:
        """What ends an episode from outside."""
        return Limits(
            turns=self.turns,
            step_seconds=self.step_seconds,
            episode_seconds=self.episode_seconds,
            tokens=self.tokens,
            worker_mb=self.worker_mb,
            worker_episodes=self.worker_episodes,
        )

    def task_ids(self) -> tuple[str, ...]:
        """The environment's tasks, in its order.

        Raises:
            DataError: there are none of this split, or none that match.
        """
        return _task_ids(self.model_dump_json())


@lru_cache
def _task_ids(source: str) -> tuple[str, ...]:
    from longstep_envs import make

    parsed = TaskSource.model_validate_json(source)
    env = make(parsed.env_id, **parsed.env_kwargs)
    try:
        found = {task_id: env.split_of(task_id) for task_id in env.task_ids}
    finally:
        env.close()
    chosen = tuple(t for t, split in found.items() if parsed.split in (None, split))
    if not chosen:
        splits = ", ".join(dict.fromkeys(filter(None, found.values()))) or "none"
        raise DataError(f"{parsed.env_id}: no tasks of split {parsed.split!r}; it has: {splits}")
    matching = tuple(t for t in chosen if fnmatchcase(t, parsed.match or "*"))
    if not matching:
        raise DataError(
            f"{parsed.env_id}: no task matches {parsed.match!r}; there is {chosen[0]!r}, say"
        )
    return matching


class EvaluationConfig(Config):
    """One set of tasks that is played after each phase."""

    name: str
    tasks: TaskSource
    episodes: PositiveInt = 128
    """So many tasks, evenly spread over the set, once each; all of a smaller set."""
    temperature: NonNegativeFloat = 1.0

    def task_ids(self) -> list[str]:
        """The tasks to play, in the environment's order."""
        ids = self.tasks.task_ids()
        count = min(self.episodes, len(ids))
        return [ids[i * len(ids) // count] for i in range(count)]


class PolicyConfig(Config):
    """Where training starts from."""

    path: Path | None = None
    """A folder in Hugging Face format; without it a small model is made."""
    small: SmallPolicyConfig = SmallPolicyConfig()
    vocabulary_episodes: PositiveInt = 2048
    """Expert episodes from whose text the small model's tokenizer is made."""
    lora: LoRAConfig | None = None
    """Train adapters of this kind; the policy's own weights stay as they are."""

    @field_validator("lora")
    @classmethod
    def _has_something_to_keep(
        cls, lora: LoRAConfig | None, info: ValidationInfo
    ) -> LoRAConfig | None:
        if lora is not None and info.data.get("path") is None:
            raise refusal("policy.path beside it, for a small policy that is new knows nothing yet")
        return lora


class RunConfig(Config):
    """How the run uses the machine."""

    processes: PositiveInt = 1
    """Processes that train together, each with its share of the episodes. Left at 1 under torchrun,
    which has its own number."""
    device: Device = "cpu"
    """Where the policy is trained; on `cuda`, each process has a GPU of its own."""
    shard: bool = False
    """Each process holds its share of the weights, gradients and optimiser only (FSDP2)."""
    threads: PositiveInt = 1
    """Compute threads of each process."""
    precision: Precision = "float32"
    """What models compute in; weights, gradients and the optimiser stay float32."""
    activation_checkpointing: ActivationCheckpointing = "none"
    """What training computes again on the way back, rather than to hold it: with `full`, whole
    transformer blocks; with `selective`, what is not attention or a product of matrices."""
    compile: bool = False
    """Compile transformer blocks for training with torch.compile, which takes a minute or two."""
    lean: bool = False
    """Train a Llama, Qwen2 or Qwen3 in fewer passes over memory, and compute of the last layer only
    what is asked for; others are trained as they are. In float32 both agree within 1e-5."""
    concurrency: PositiveInt = 256
    """Episodes that a process plays at a time."""
    checkpoint_every: PositiveInt = 20
    keep_checkpoints: PositiveInt = 2
    """The newest of each phase."""
    keep_every: PositiveInt | None = None
    """Keep those of every so-manieth iteration as well, to look back at."""
    grace: PositiveFloat = 30.0
    """Seconds that a run has to end in when it gets SIGTERM or Ctrl-C."""
    log_groups: NonNegativeInt = 1
    """Groups of each iteration of which every episode is written out."""
    trackers: tuple[AnyTrackerConfig, ...] = ()
    """Where else the numbers of `metrics.jsonl` are shown: keys of `TRACKERS`, or tables with one
    as `name`, and options."""

    @field_validator("compile")
    @classmethod
    def _can_see_into_blocks(cls, compiled: bool, info: ValidationInfo) -> bool:
        if compiled and info.data.get("activation_checkpointing") == "selective":
            raise refusal(
                "activation_checkpointing full or none beside compile, for what a compiled block "
                "holds is for the compiler to choose"
            )
        return compiled

    @field_validator("lean")
    @classmethod
    def _is_alone(cls, lean: bool, info: ValidationInfo) -> bool:
        if lean and any(
            info.data.get(name) not in (None, False, "none")
            for name in ("shard", "activation_checkpointing", "compile")
        ):
            raise refusal(
                "lean = false beside shard, activation_checkpointing and compile, which take hold "
                "of transformer blocks as transformers runs them"
            )
        return lean

    @field_validator("trackers", mode="before")
    @classmethod
    def _as_tables(cls, given: Any) -> Any:
        if not isinstance(given, list | tuple):
            return given
        return tuple({"name": one} if isinstance(one, str) else one for one in given)


class TrainConfig(Config):
    """A whole run."""

    seed: int = 0
    data: tuple[DataConfig, ...] = ()
    train: TaskSource
    evaluation: tuple[EvaluationConfig, ...] = ()
    policy: PolicyConfig = PolicyConfig()
    agent: LanguageAgentConfig = LanguageAgentConfig()
    engine: AnyEngineConfig = HFEngineConfig()
    """What samples: a key of `ENGINES`."""
    cluster: ClusterConfig = Field(default=ClusterConfig(), validate_default=True)
    run: RunConfig = RunConfig()
    imitation: ImitationConfig = ImitationConfig()
    rl: ReinforcementConfig = ReinforcementConfig()

    @field_validator("evaluation")
    @classmethod
    def _have_own_names(cls, sets: tuple[EvaluationConfig, ...]) -> tuple[EvaluationConfig, ...]:
        names = [evaluation.name for evaluation in sets]
        if len(set(names)) < len(names):
            raise refusal(f"a name of its own for each evaluation set, not {', '.join(names)}")
        return sets

    @field_validator("cluster")
    @classmethod
    def _has_room_for_engines(cls, cluster: ClusterConfig, info: ValidationInfo) -> ClusterConfig:
        engine = info.data.get("engine")
        if engine is not None and engine.needs_cluster and cluster.address is None:
            raise refusal("cluster.address = auto, local or HOST:PORT for engines that run on Ray")
        return cluster

    @field_validator("rl")
    @classmethod
    def _can_differ(cls, rl: ReinforcementConfig, info: ValidationInfo) -> ReinforcementConfig:
        agent = info.data.get("agent")
        if rl.iterations and agent is not None and not agent.temperature > 0:
            raise refusal("agent.temperature above 0, for without chance all siblings are alike")
        engine, run = info.data.get("engine"), info.data.get("run")
        rounded = run is not None and run.precision != "float32"
        return rl.corrected(rounded or (engine is not None and engine.differs))
