"""What accelerators reach at most, by their vendors' data sheets, and this machine by measuring."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longstep_training.config import Config, ConfigError, build_config, one_of

_GEMM, _COPIED = 1024, 2**26
_MEMORY = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """One accelerator, or one process of a machine without any."""

    name: str
    flops: float
    """Operations a second of dense matrix products in bfloat16."""
    flops32: float
    """The same in float32."""
    memory: float
    """Bytes."""
    bandwidth: float
    """Bytes a second between memory and arithmetic."""
    link: float
    """Bytes a second, in one direction, to others of its node."""
    network: float
    """Bytes a second, in one direction, to other nodes: its own share."""
    node: int = 8
    """How many share a node."""
    accelerator: bool = True
    source: str = "its data sheet"

    def rate(self, bytes_each: int) -> float:
        """Operations a second with numbers of this size."""
        return self.flops if bytes_each == 2 else self.flops32

    def bus(self, count: int) -> float:
        """Bytes a second at which each of `count` takes part in a collective.

        Rings cross between nodes over all network cards of a node at once.
        """
        return self.link if count <= self.node else min(self.link, self.node * self.network)


class Ceilings(Config):
    """A file of measured ceilings, as `--gpu FILE` takes it; all per process, in SI units."""

    flops: float
    flops32: float
    bandwidth: float
    memory: float
    accelerator: bool = False
    link: float = 1e10
    network: float = 1e9
    node: int = 8


_T, _G = 1e12, 1e9
MACHINES: dict[str, Machine] = {
    "a100": Machine("a100", 312 * _T, 19.5 * _T, 80 * _G, 2.039 * _T, 300 * _G, 25 * _G),
    "h100": Machine("h100", 989 * _T, 67 * _T, 80 * _G, 3.35 * _T, 450 * _G, 50 * _G),
    "h200": Machine("h200", 989 * _T, 67 * _T, 141 * _G, 4.8 * _T, 450 * _G, 50 * _G),
    "b200": Machine("b200", 2250 * _T, 75 * _T, 180 * _G, 8.0 * _T, 900 * _G, 50 * _G),
    "l40s": Machine("l40s", 362 * _T, 91.6 * _T, 48 * _G, 0.864 * _T, 32 * _G, 25 * _G),
}
"""SXM boards (PCIe for l40s): dense bfloat16, float32, memory, its bandwidth, NVLink or PCIe in one
direction, and a network card for each as vendors' eight-GPU servers have it."""


def find_machine(name: str) -> Machine:
    """A machine by its name in `MACHINES`, `cpu` for this one, or a JSON file of ceilings.

    Raises:
        ConfigError: it is none of these.
    """
    if name == "cpu":
        return measure()
    path = Path(name)
    if path.suffix == ".json":
        return _read(path)
    if name.lower() not in MACHINES:
        wanted = one_of(name, ["cpu", *MACHINES])
        raise ConfigError(f"--gpu: wanted a .json file of ceilings, or {wanted}; got {name!r}")
    return MACHINES[name.lower()]


def _read(path: Path) -> Machine:
    try:
        told: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    found = build_config(Ceilings, told, str(path))
    return Machine(path.stem, **found.model_dump(), source=str(path))


def measure() -> Machine:
    """One process of this machine: float32 products, a copy, and the memory that is free.

    Products in bfloat16 are taken for as fast, since numpy has none to measure.
    """
    import numpy as np

    left, right = (np.ones((_GEMM, _GEMM), np.float32) for _ in range(2))
    flops = 2 * _GEMM**3 / _best(lambda: left @ right)
    source = np.ones(_COPIED, np.uint8)
    target = np.empty_like(source)
    bandwidth = 2 * _COPIED / _best(lambda: np.copyto(target, source))
    return Machine(
        name="cpu",
        flops=flops,
        flops32=flops,
        memory=_free(),
        bandwidth=bandwidth,
        link=bandwidth,
        network=1e9,
        accelerator=False,
        source="measured here",
    )


def _best(compute: Callable[[], object]) -> float:
    """CPU seconds of the fastest of five."""
    compute()
    seconds = []
    for _ in range(5):
        begin = time.process_time()
        compute()
        seconds.append(time.process_time() - begin)
    return max(min(seconds), 1e-6)


def _free() -> float:
    if not _MEMORY.exists():
        return 16 * _G
    rows = (line.split() for line in _MEMORY.read_text().splitlines())
    return next((1024.0 * int(row[1]) for row in rows if row[0] == "MemAvailable:"), 16 * _G)
