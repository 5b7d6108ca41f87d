"""The lanes of the embedded engine: who samples in which, and how they are kept over a pause."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Self

from torch import Tensor

from longstep_agents.attention import LaneCache
from longstep_agents.model import SamplingParams
from longstep_agents.models.prefixes import PrefixIndex
from longstep_agents.types import Completion


@dataclass(slots=True, eq=False)
class Lane:
    """One session's place in the cache."""

    index: int
    random: Random = field(default_factory=Random)
    fed: list[int] = field(default_factory=list)
    """The tokens whose keys and values the cache holds."""
    pending: list[int] = field(default_factory=list)
    """The tokens after these that the model is to read next."""


@dataclass(slots=True, eq=False)
class LaneRequest:
    """One completion under way."""

    params: SamplingParams
    lane: Lane
    future: asyncio.Future[Completion]
    node: dict[int, dict] | None  # type: ignore[type-arg]
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    allowed: list[tuple[int, ...] | None] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    forced: int = 0

    def completion(self, stop: str) -> Completion:
        """What was sampled so far."""
        if not self.ids:
            return Completion()
        changed = self.versions[0] != self.versions[-1]
        return Completion(
            ids=tuple(self.ids),
            logprobs=tuple(self.logprobs),
            stop=stop,
            policy_version=self.versions[0],
            versions=tuple(self.versions) if changed else (),
            allowed=None if self.node is None else tuple(self.allowed),
        )

    def account(self) -> dict[str, int]:
        """What to count where it is broken off, for it to count once when it has gone on."""
        return {
            "useful": len(self.ids) - self.forced,
            "forced": self.forced,
            "kept": -len(self.lane.fed),
            "computed": -len(self.lane.pending),
        }


@dataclass(frozen=True, slots=True)
class CacheState:
    """What a paused engine held."""

    places: Sequence[int]
    """For each completion that was broken off, its lane, or -1."""
    fed: Mapping[int, Sequence[int]]
    """What was read in each lane that holds anything, those of ended sessions among them."""
    holders: Mapping[int, int]
    """The lane of each prefix that can be copied."""
    counts: Mapping[str, int]
    tensors: Mapping[str, Tensor]
    """Keys and values of each lane that holds anything."""

    @classmethod
    def of(
        cls,
        lanes: Sequence[Lane],
        places: Sequence[int],
        cache: LaneCache,
        prefixes: PrefixIndex[Lane],
        counts: Counter[str],
    ) -> Self:
        """The state of these."""
        held = [lane for lane in lanes if lane.fed]
        return cls(
            places=list(places),
            fed={lane.index: list(lane.fed) for lane in held},
            holders={key: lane.index for key, lane in prefixes.holders.items()},
            counts=dict(counts),
            tensors={str(lane.index): cache.read(lane.index, len(lane.fed)) for lane in held},
        )

    def put(self, lanes: Sequence[Lane], cache: LaneCache, prefixes: PrefixIndex[Lane]) -> None:
        """Bring lanes and cache to this state."""
        for index, fed in self.fed.items():
            lanes[index].fed = list(fed)
            cache.write(index, self.tensors[str(index)])
        prefixes.holders.update({key: lanes[index] for key, index in self.holders.items()})

    def told(self) -> dict[str, Any]:
        """All but the tensors, as JSON can say it."""
        return {
            "places": self.places,
            "fed": list(self.fed.items()),
            "holders": list(self.holders.items()),
            "counts": self.counts,
        }

    @classmethod
    def read(cls, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """The state that was told so."""
        fed, holders = dict(told["fed"]), dict(told["holders"])
        return cls(told["places"], fed, holders, told["counts"], tensors)
