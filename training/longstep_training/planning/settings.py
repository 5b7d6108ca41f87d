"""What a plan reads: the keys of a run's config that cost time or memory, and what is assumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from longstep_training.config import (
    Config,
    ConfigError,
    build_config,
    one_of,
    parse_override,
    read_tree,
)


class _Part(Config):
    """Some keys of a config; the others cost nothing that a plan tells."""

    model_config = ConfigDict(extra="ignore")


class Source(_Part):
    """Of `[train]`."""

    turns: PositiveInt | None = 50
    tokens: PositiveInt | None = None


class Agent(_Part):
    """Of `[agent]`."""

    context: str = "append"
    max_tokens: PositiveInt = 64


class Sampling(_Part):
    """Of an engine, wherever it runs."""

    name: str = "hf"
    dtype: str = "policy"
    share_prefixes: bool = False
    context: PositiveInt | None = None
    devices: PositiveInt = 1

    @property
    def is_vllm(self) -> bool:
        """Whether vLLM samples: its cache has pages, not lanes."""
        return self.name != "hf"


class Each(Sampling):
    """Of `[engine.each]`."""

    name: Literal["hf", "vllm"] = "hf"


class Engine(Sampling):
    """Of `[engine]`."""

    name: Literal["hf", "vllm", "vllm_server", "ray"] = "hf"
    sync: Literal["folder", "nccl"] = "folder"
    memory: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    cache_gib: PositiveFloat | None = None
    replicas: PositiveInt = 1
    gpus: NonNegativeFloat = 0.0
    each: Each = Each()

    @property
    def broadcasts(self) -> bool:
        """Whether new weights go from accelerator to accelerator."""
        return self.name == "vllm_server" and self.sync == "nccl"


class Schedule(_Part):
    """Of `[rl.schedule]`."""

    updates: PositiveInt = 2
    passes: PositiveInt = 1


class Optimizer(_Part):
    """Of `[rl.optimizer]`."""

    token_budget: PositiveInt = 8192
    share: bool = False


class Learning(_Part):
    """Of `[rl]`."""

    tasks: PositiveInt = 32
    siblings: PositiveInt = 8
    staleness: NonNegativeInt = 0
    schedule: Schedule = Schedule()
    optimizer: Optimizer = Optimizer()
    critic: dict[str, Any] | None = None
    reference: str | None = None
    corrections: tuple[Any, ...] | None = None


class Computing(_Part):
    """Of `[run]`."""

    precision: Literal["float32", "bfloat16"] = "float32"
    concurrency: PositiveInt = 256
    shard: bool = False
    activation_checkpointing: Literal["none", "selective", "full"] = "none"


class Small(_Part):
    """Of `[policy.small]`."""

    hidden: PositiveInt = 64
    layers: PositiveInt = 3
    heads: PositiveInt = 4
    feed_forward: PositiveInt = 128
    context: PositiveInt = 2048


class LoRA(_Part):
    """Of `[policy.lora]`, whose adapters are taken to be in all layers."""

    rank: PositiveInt = 32


class Policy(_Part):
    """Of `[policy]`."""

    path: Path | None = None
    small: Small = Small()
    lora: LoRA | None = None


class Recipe(_Part):
    """What a plan reads of a run's config; defaults are those of the run's own."""

    train: Source = Source()
    agent: Agent = Agent()
    engine: Engine = Engine()
    rl: Learning = Learning()
    run: Computing = Computing()
    policy: Policy = Policy()

    @property
    def turn_limit(self) -> int:
        """Turns of the longest episode."""
        return self.train.turns or 1_000

    @property
    def sampling(self) -> Sampling:
        """What samples; with Ray, in each actor."""
        return self.engine.each if self.engine.name == "ray" else self.engine

    @property
    def samples_itself(self) -> bool:
        """Whether the processes that train are those that sample."""
        return self.engine.name == "hf"

    @property
    def copies_itself(self) -> bool:
        """Whether they then sample from a copy of the policy."""
        apart = self.run.shard or self.rl.staleness > 0 or self.engine.dtype != "policy"
        return self.samples_itself and apart

    @property
    def shares_prefixes(self) -> bool:
        """Whether siblings read their first prompt once, as vLLM lets them of itself."""
        return self.sampling.share_prefixes or self.sampling.is_vllm

    @property
    def scoring_passes(self) -> int:
        """Forward passes besides the update's own: trainer's log-probabilities, the reference."""
        rounded = self.run.precision != "float32"
        elsewhere = self.sampling.is_vllm or (self.engine.name == "ray" and self.engine.gpus > 0)
        differs = elsewhere or self.sampling.dtype != "policy" or rounded
        corrects = (differs or self.rl.staleness > 0) if self.rl.corrections is None else False
        return int(corrects or bool(self.rl.corrections)) + int(self.rl.reference is not None)


Share = Annotated[float, Field(gt=0.0, le=1.0)]


class Assumptions(Config):
    """What neither a config nor a data sheet tells. `--calibrate` measures most of it."""

    update_efficiency: Share = 0.40
    """Of peak operations, in an update: what trainers with packed rows report (MFU)."""
    read_efficiency: Share = 0.50
    """Of peak operations, where the engine reads prompts or is bound by arithmetic."""
    decode_efficiency: Share = 0.60
    """Of memory bandwidth, where the engine draws tokens."""
    link_efficiency: Share = 0.70
    """Of links between accelerators, in collectives."""
    handover_rate: PositiveFloat = 2e9
    """Bytes a second at which a machine brings whole float32 weights to an engine with weights of
    its own: out of the accelerator, through memory and a disk, an object store or a network."""
    server_devices: PositiveInt | None = None
    """Accelerators of the vLLM server that a config names; None tries 1, 2, 4 and 8."""
    pass_seconds: NonNegativeFloat | None = None
    """What a pass of the engine takes besides: launches, scheduling, drawing. None is 3 ms with
    vLLM, which records its launches, 0.7 ms a layer with `hf` on an accelerator, and 1 ms on a
    CPU."""
    host_seconds: NonNegativeFloat = 0.0005
    """Of each turn, in the process that plays it: the agent, its texts, a quick environment."""
    credit_seconds: NonNegativeFloat = 0.0005
    """Of each episode, between rollout and update."""
    latency: NonNegativeFloat = 0.1
    """Seconds that the environment takes for a turn, in the mean, others meanwhile going on."""
    latency_spread: NonNegativeFloat = 1.0
    """The deviation of its logarithm: with 1, one turn in a hundred takes six times the mean."""
    workers: PositiveInt | None = None
    """Environments that can answer at a time; None is as many as there are episodes."""
    turns: PositiveFloat | None = None
    """Turns of an episode, in the mean; None is 0.6 of the limit."""
    prompt_tokens: PositiveFloat = 512
    """Of the first prompt."""
    observation_tokens: NonNegativeFloat = 200
    """Read before each later reply."""
    reply_tokens: PositiveFloat = 150
    """Of a reply, at most `agent.max_tokens`."""
    reply_spread: NonNegativeFloat = 0.5
    """The deviation of its logarithm."""
    drawn: Share = 1.0
    """The share of a reply that is drawn; a constraint leaves no choice about the rest."""
    reserved: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.08
    """Of an accelerator's memory: the driver, fragments, workspaces."""


_PASSED = ("policy.lora", "rl.critic", "rl.corrections", "engine.each.", "cluster.")
"""Beginnings of keys that may be set too, though a plan does not read each of them."""


def read_recipe(path: Path, overrides: Sequence[str]) -> Recipe:
    """What a plan needs of a config file.

    Raises:
        ConfigError: the file cannot be read, a value is wrong, or an override is of no use here.
    """
    known = [*_paths(Recipe), "engine.cpus"]
    for override in overrides:
        key = ".".join(parse_override(override)[0])
        if key not in known and not key.startswith(_PASSED):
            raise ConfigError(f"--set {key}: a plan reads {one_of(key, known)}; leave it away")
    return build_config(Recipe, read_tree(path, overrides), str(path))


def read_assumptions(given: Sequence[str]) -> dict[str, Any]:
    """Of `--assume KEY=VALUE`, as a table.

    Raises:
        ConfigError: one is malformed.
    """
    return {".".join(key): value for key, value in map(parse_override, given)}


def _paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield from _paths(nested, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
