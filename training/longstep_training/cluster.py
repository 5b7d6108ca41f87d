"""The cluster of a run: where its environments, and its engines if they are to be, find room."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import (
    Field,
    JsonValue,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from longstep_envs.cluster import Cluster, connect, connected, disconnect
from longstep_envs.types import BadValueError
from longstep_training.config import Config, refusal
from longstep_training.distributed import World


class ClusterConfig(Config):
    """Where environments run, if not on this machine alone."""

    address: str | None = None
    """`auto` for the Ray cluster that this machine is a part of, `local` for one that is started
    here, or HOST:PORT; without it, environments run in this process and beside it."""
    workers: PositiveInt | None = None
    """Workers of each process that trains; without it, as many as the cluster has processors."""
    envs_per_worker: PositiveInt = 8
    """Environments that take turns in a worker. One that waits has a worker to itself."""
    cpus: NonNegativeFloat = 1.0
    """Processors of a worker; one that has a single environment, because that waits, takes its
    share of them."""
    resources: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """What else a worker takes, as nodes were started with `ray start --resources`."""
    start_seconds: PositiveFloat = 300.0
    """How long a worker, or an engine, may wait for a place."""
    runtime_env: dict[str, JsonValue] = Field(default_factory=dict)
    """What Ray brings to the nodes: `working_dir`, `py_modules`, `env_vars`, and so on."""

    @field_validator("address")
    @classmethod
    def _can_be_reached(cls, address: str | None) -> str | None:
        if address is not None:
            try:
                Cluster(address)
            except BadValueError:
                raise refusal("auto, local or HOST:PORT") from None
        return address

    def pool_settings(self) -> dict[str, Any]:
        """What an `EnvPool` is told of it."""
        if self.address is None:
            return {}
        return {
            "cluster": self._at(self.address),
            "workers": self.workers,
            "envs_per_worker": self.envs_per_worker,
        }

    def join(self, processes: int = 1, engines: float = 0.0) -> None:
        """Connect to the cluster, before anything else of the run needs it.

        One on this machine is started with room for the workers of so many processes, and for the
        processors that the `engines` of each take.

        Raises:
            MissingPackageError: Ray is not installed.
            ClusterError: no cluster answers.
        """
        if self.address is not None:
            asked = processes * ((self.workers or 1) * self.cpus + engines)
            connect(self._at(self.address), max(os.cpu_count() or 1, math.ceil(asked)))

    def share(self, world: World) -> None:
        """Connect all processes of a run to the cluster that rank 0 is connected to."""
        if self.address is not None and world.size > 1:
            found = ""
            if world.leads:
                found = connect(self._at(self.address)).get_runtime_context().gcs_address
            connect(self._at(world.gather(found)[0]))

    @contextmanager
    def left_at_end(self) -> Iterator[None]:
        """Leaves the cluster that is joined inside; a local one ends with it."""
        before = connected()
        try:
            yield
        finally:
            if not before:
                disconnect()

    def _at(self, address: str) -> Cluster:
        return Cluster(address, self.cpus, self.resources, self.start_seconds, self.runtime_env)
