"""Which engine samples while training goes on, and how it gets the new weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from transformers import PreTrainedModel

from longstep_agents.config import Config, choice_of
from longstep_agents.model import Model
from longstep_agents.models.endpoint import VLLMServerConfig
from longstep_agents.models.engine import EngineConfig, Statistics
from longstep_agents.models.hf import HFModel
from longstep_agents.models.lanes import CacheState
from longstep_agents.models.vllm import VLLMConfig, VLLMModel
from longstep_agents.suspension import session_of
from longstep_envs.types import BadValueError
from longstep_training.distributed import World
from longstep_training.handed import Handed, Shared
from longstep_training.shards import whole_state

if TYPE_CHECKING:
    from longstep_agents.models.weight_group import Group

_MOST_KEPT = 2**30
"""Bytes of keys and values that are kept where a run is left; more are computed again."""


class Sampler(Protocol):
    """An engine that samples from the policy that is trained."""

    @property
    def engine(self) -> Model:
        """What is asked for tokens."""
        ...

    @property
    def context(self) -> int:
        """Tokens of the longest row."""
        ...

    @property
    def statistics(self) -> Statistics:
        """What it has done so far."""
        ...

    @property
    def copied_bytes(self) -> int:
        """The weights that each new policy is copied to; 0 where the policy samples itself."""
        ...

    def refresh(self, policy_version: int) -> None:
        """The policy's weights have changed: sample from the new ones."""
        ...

    async def change(self, policy_version: int) -> None:
        """The same, in the event loop of episodes that go on."""
        ...

    def pause(self) -> None:
        """Sample nothing any more: episodes get a `PausedError`."""
        ...

    def state(self) -> CacheState | None:
        """What a paused engine needs to go on bit for bit; None where it cannot, or need not."""
        ...

    def load(self, state: CacheState) -> None:
        """Go on with that."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class SamplerConfig(Config):
    """Base of the options of each engine."""

    name: str

    @property
    def differs(self) -> bool:
        """Whether its probabilities are not quite the trainer's."""
        return True

    @property
    def needs_cluster(self) -> bool:
        """Whether it runs on Ray."""
        return False

    @property
    def cluster_cpus(self) -> float:
        """Processors that it takes of the cluster, for each process that trains."""
        return 0.0


class HFEngineConfig(EngineConfig, SamplerConfig):
    """Options of `hf`: the model that is trained samples itself."""

    name: Literal["hf"] = "hf"

    @property
    def differs(self) -> bool:
        """In another precision only."""
        return self.dtype != "policy"


class VLLMEngineConfig(VLLMConfig, SamplerConfig):
    """Options of `vllm`: vLLM samples beside the trainer, and is handed each new policy."""

    name: Literal["vllm"] = "vllm"


class VLLMServerEngineConfig(VLLMServerConfig, SamplerConfig):
    """Options of `vllm_server`: a vLLM server samples, and is handed each new policy."""

    name: Literal["vllm_server"] = "vllm_server"
    sync: Literal["folder", "nccl"] = "folder"
    """How it is handed over: through `exchange`, or from the trainer's GPU to the server's."""

    @model_validator(mode="after")
    def _exchanges_in_folders_only(self) -> Self:
        if self.sync != "folder" and self.exchange is not None:
            raise ValueError('exchange is a folder, which only sync = "folder" uses; leave one out')
        return self


@dataclass(frozen=True, slots=True)
class Use:
    """What a run wants of its engine."""

    lanes: int
    """Episodes at a time."""
    own_weights: bool = False
    """Whether it samples while the model is trained."""
    world: World = World()  # noqa: RUF009 - it is frozen
    """The processes that have an engine each, or share a server."""


class Embedded:
    """The model that is trained, or a copy of it, as its own sampler."""

    def __init__(
        self,
        config: HFEngineConfig,
        model: PreTrainedModel,
        folder: Path,
        use: Use,
    ) -> None:
        """Plan the cache.

        Raises:
            BadValueError: the machine has no room for it.
        """
        self.engine = HFModel(model, config, lanes=use.lanes, own_weights=use.own_weights)
        self._lanes = use.lanes
        self.context = self.engine.context

    @property
    def copied_bytes(self) -> int:
        """Those of the copy."""
        return self.engine.copied_bytes

    @property
    def statistics(self) -> Statistics:
        """What it has done so far."""
        return self.engine.statistics

    def refresh(self, policy_version: int) -> None:
        """Forget what was computed with the old weights."""
        self.engine.refresh(policy_version)

    async def change(self, policy_version: int) -> None:
        """Take the new weights between two passes, in the middle of completions too."""
        self.engine.refresh(policy_version)

    def pause(self) -> None:
        """End after the pass that is under way, in the middle of completions too."""
        self.engine.pause()

    def state(self) -> CacheState | None:
        """What was read so far, if that is not too much."""
        return self.engine.state(_MOST_KEPT)

    def load(self, state: CacheState) -> None:
        """Go on with what was read, unless it does not fit: then it is read again."""
        if max(state.fed, default=-1) < self._lanes:
            self.engine.load(state, session_of)

    def close(self) -> None:
        """It ends with the model."""


def vllm(
    config: VLLMEngineConfig,
    model: PreTrainedModel,
    folder: Path,
    use: Use,
) -> Sampler:
    """vLLM, started on the policy's folder.

    Raises:
        MissingPackageError: vLLM is not installed.
        EngineError: vLLM cannot run this model here.
        BadValueError: several processes would start one each on the same GPU.
    """
    if use.world.size > 1 and use.world.device.type == "cuda":
        raise BadValueError(
            'engine.name = "vllm" is for one process on GPUs, because each would start it on the '
            'first GPU of its machine; use "ray", which gives each engine a GPU, or "vllm_server"'
        )
    return Handed(VLLMModel(folder, config), model, config.context)


def vllm_server(
    config: VLLMServerEngineConfig,
    model: PreTrainedModel,
    folder: Path,
    use: Use,
) -> Sampler:
    """A vLLM server that all processes share.

    It gets the policy's weights before it is asked for anything.

    Raises:
        EngineError: the server does not take them.
        BadValueError: they are to go between GPUs, and the trainer has none.
    """
    from longstep_agents.models.vllm_server import VLLMServer

    group = GROUPS[config.sync](use.world)
    handed = Shared(VLLMServer(config, group), model, config.context, use.world)
    handed.refresh(0)
    return handed


def _nccl(world: World) -> Group:
    from longstep_agents.models.weight_group import NCCLGroup

    if world.device.type != "cuda":
        raise BadValueError(
            'engine.sync = "nccl" brings weights from GPU to GPU, and run.device is '
            f'{world.device.type}; set run.device = "cuda", or engine.sync = "folder"'
        )
    return NCCLGroup(world.device)


GROUPS: dict[str, Callable[[World], Group | None]] = {"folder": lambda world: None, "nccl": _nccl}
"""Of the processes that weights are broadcast in, if they are, by `engine.sync`."""

REPLICATED: dict[str, Callable[..., Sampler]] = {"hf": Embedded, "vllm": vllm}
"""What actors can run."""

if TYPE_CHECKING:
    ReplicaConfig = SamplerConfig
else:
    ReplicaConfig = choice_of(REPLICATED)


class RayEngineConfig(SamplerConfig):
    """Options of `ray`: engines in actors of the run's cluster sample, and get each new policy."""

    name: Literal["ray"] = "ray"
    replicas: PositiveInt = 1
    """Engines of each process that trains."""
    each: ReplicaConfig = HFEngineConfig()
    """What each of them is: `hf` or `vllm`, and its options."""
    gpus: NonNegativeFloat = 0.0
    """Accelerators of each; without one it runs on CPUs."""
    cpus: NonNegativeFloat = 1.0
    resources: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """What else each takes, as nodes were started with `ray start --resources`."""
    start_seconds: PositiveFloat = 300.0
    """How long they may take to find a place and to start."""
    silent_seconds: PositiveFloat = 120.0
    """How long one may neither answer nor say that it lives, before another takes its place."""

    @property
    def differs(self) -> bool:
        """As each of them; an accelerator rounds otherwise than the trainer's processor."""
        return self.each.differs or self.gpus > 0

    @property
    def needs_cluster(self) -> bool:
        """It does."""
        return True

    @property
    def cluster_cpus(self) -> float:
        """Those of all of them."""
        return self.replicas * self.cpus


def ray(
    config: RayEngineConfig,
    model: PreTrainedModel,
    folder: Path,
    use: Use,
) -> Sampler:
    """Engines in actors, which have the policy's weights before they are asked for anything.

    Raises:
        MissingPackageError: Ray is not installed.
        EngineError: there is no cluster, or no room on it, or an engine does not start.
    """
    from longstep_agents.models.replica import Engine, HFReplica, VLLMReplica
    from longstep_agents.models.replicas import Demand, Replicas

    lanes_each = -(-use.lanes // config.replicas)
    make: Callable[[], Engine]
    if isinstance(config.each, VLLMEngineConfig):
        make = partial(VLLMReplica, folder.resolve(), config.each)
    else:
        assert isinstance(config.each, HFEngineConfig)
        make = partial(HFReplica, model.config, config.each, lanes_each)
    patience = config.start_seconds, config.silent_seconds
    demand = Demand(config.cpus, config.gpus, config.resources, *patience)
    replicas = Replicas(make, config.replicas, whole_state(model), demand)
    return Handed(replicas, model, replicas.context)


ENGINES: dict[str, Callable[..., Sampler]] = {
    **REPLICATED,
    "ray": ray,
    "vllm_server": vllm_server,
}

if TYPE_CHECKING:
    AnyEngineConfig = SamplerConfig
else:
    AnyEngineConfig = choice_of(ENGINES)
    """The options of one engine, chosen by `name`."""


def make_sampler(
    config: SamplerConfig,
    model: PreTrainedModel,
    folder: Path,
    use: Use,
) -> Sampler:
    """The engine of a run, for `model`, which was read from `folder`.

    Raises:
        LongstepError: the engine cannot be had, or cannot run this policy here.
    """
    return ENGINES[config.name](config, model, folder, use)
