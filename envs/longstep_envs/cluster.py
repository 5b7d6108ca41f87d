"""A Ray cluster, and what longstep takes of it."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from longstep_envs.packages import package
from longstep_envs.types import BadValueError, LongstepError

_HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/]+):\d{1,5}")


class ClusterError(LongstepError, RuntimeError):
    """The Ray cluster cannot be reached, or has no room."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a pool's workers run, and what each of them takes."""

    address: str = "auto"
    """`auto` for the cluster that this machine is a part of, or that RAY_ADDRESS names; `local` for
    one on this machine, which is started now; else HOST:PORT."""
    cpus: float = 1.0
    """Processors that a worker takes. Where an environment has a worker to itself, because it
    waits, it takes one part of as many as a worker has environments."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """What else it takes, as nodes were started with `ray start --resources`."""
    start_seconds: float = 300.0
    """How long a worker may wait for a place, that of a new node's start included."""
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    """What Ray brings to the nodes: `working_dir`, `py_modules`, `env_vars`, …"""

    def __post_init__(self) -> None:
        if self.address not in ("auto", "local") and not _HOST_AND_PORT.fullmatch(self.address):
            raise BadValueError(
                f"cluster address {self.address!r}; wanted 'auto', 'local' or HOST:PORT"
            )
        if self.cpus < 0 or self.start_seconds <= 0:
            raise BadValueError(
                f"cluster with cpus={self.cpus}, start_seconds={self.start_seconds}; wanted at "
                "least 0 and more than 0"
            )

    def worker_options(self, share: float = 1.0) -> dict[str, Any]:
        """A worker's demands, as Ray takes them."""
        resources = {name: share * amount for name, amount in self.resources.items()}
        return {"num_cpus": share * self.cpus, "resources": resources}

    def count_workers(self) -> int:
        """How many workers its processors allow."""
        processors = connect(self).cluster_resources().get("CPU", 1.0)
        return max(1, math.floor(processors / self.cpus)) if self.cpus else int(processors)


def connect(cluster: Cluster, processors: int | None = None) -> Any:
    """Ray, connected to this cluster, unless this process is connected already.

    A local cluster has so many `processors` to give; by default, as many as this machine.

    Raises:
        MissingPackageError: Ray is not installed.
        ClusterError: no cluster answers there.
    """
    ray = package("ray", "cluster")
    if ray.is_initialized():
        return ray
    options: dict[str, Any] = {"address": cluster.address, "runtime_env": dict(cluster.runtime_env)}
    if cluster.address == "local":
        options |= {"include_dashboard": False, "num_cpus": processors}
    try:
        ray.init(**options, configure_logging=False, log_to_driver=False)
    except Exception as error:  # Ray raises whatever its parts do
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise ClusterError(
            f"no Ray cluster at {cluster.address!r}: {told:.300}; start one with `ray start "
            "--head`, or name 'local'"
        ) from error
    return ray


def connected() -> bool:
    """Whether this process is connected to a cluster."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def disconnect() -> None:
    """Leave the cluster, if this process is connected to one; a local one ends."""
    if connected():
        sys.modules["ray"].shutdown()
