"""Asynchronous rollouts: groups are played in a thread of their own while the policy is trained.

The trainer draws groups, up to `staleness` iterations ahead of what it needs, and takes whole ones
as they come, the oldest first. An update of the policy reaches the sampler between two of its
passes, and the episodes go on. The update that would leave a group more than `staleness` policy
versions behind waits for it; with `overdue = "drop"` the group is given up and counted.

Whatever was drawn is trained, dropped or still outstanding. A checkpoint keeps what is outstanding,
as far as it was played, and a resumed run goes on with it: a long episode is no less likely to be
learnt from than a short one because the run was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from longstep_agents.rollout import EpisodeRequest
from longstep_agents.types import Group
from longstep_envs.types import LongstepError
from longstep_training.distributed import World
from longstep_training.engines import Sampler
from longstep_training.episode_thread import EpisodeThread, Order, Stage, tell_orders
from longstep_training.interruption import Interruption
from longstep_training.reinforcement import ReinforcementConfig
from longstep_training.staleness import Account


class ProducerError(LongstepError, RuntimeError):
    """The producer was asked for groups that nobody has drawn."""


class Producer:
    """The trainer's side. Each process has its own, and plays its share of what all have drawn."""

    def __init__(
        self,
        world: World,
        config: ReinforcementConfig,
        sampler: Sampler,
        stage: Stage,
        concurrency: int,
        interruption: Interruption | None = None,
    ) -> None:
        self._interruption = interruption or Interruption(world)
        self._world, self._config, self._sampler = world, config, sampler
        self._outstanding: list[Order] = []
        self._account = Account()
        self._lent: list[Order] = []  # taken, and not learnt from until the next version
        self._start = partial(EpisodeThread, sampler, stage, concurrency, self._interruption)
        self._thread: EpisodeThread | None = None
        self._version = 0

    def short_of(self, count: int, iterations_left: int) -> int:
        """How many groups to draw, over all processes, before `count` are taken.

        As many are kept ahead as the next `staleness` iterations will take. So what a policy has
        begun can be learnt from within the bound, unless it is overtaken by what was begun later.
        """
        ahead = min(self._config.staleness, iterations_left) * self._config.tasks
        missing = self._share(count + ahead) - len(self._outstanding)
        return self._world.size * max(0, *self._world.gather(missing))

    def begin(
        self, requests: Sequence[EpisodeRequest], siblings: int, turns: int | None = None
    ) -> None:
        """Play a group for each of this process's requests."""
        orders = [Order(request, siblings, turns) for request in requests]
        self._outstanding += orders
        if self._thread is not None:
            self._thread.begin(orders)

    def take(self, count: int) -> list[Group]:
        """This process's share of `count` groups, as soon as so many are whole.

        Raises:
            ProducerError: not so many were drawn.
            Exception: whatever has ended an episode that neither environment nor agent is to blame
                for.
        """
        began, count = time.perf_counter(), self._share(count)
        if count > len(self._outstanding):
            raise ProducerError(f"{count} groups to take, {len(self._outstanding)} were drawn")
        if self._thread is None:
            self._thread, self._account = self._start(), Account()
            self._thread.version = self._version
            self._thread.begin(self._outstanding)
        while len(whole := self._whole()) < count or self._is_due():
            self._thread.wait()
            if self._interruption.asked:
                break
        self._interruption.leave()
        self._account.trainer_waited += time.perf_counter() - began
        taken = whole[:count]
        self._lent += taken
        self._outstanding = [order for order in self._outstanding if order not in taken]
        groups = [order.group for order in taken if order.group is not None]
        self._account.learn_from(groups, self._version)
        return groups

    def refresh(self, version: int) -> None:
        """The policy has new weights: sample from them, and give up what is now too old."""
        began = time.perf_counter()
        if self._thread is None:
            self._sampler.refresh(version)
        else:
            self._account += self._thread.change(version)
        self._version, self._lent = version, []
        self._account.sync_seconds += time.perf_counter() - began
        self._account.sync_bytes += self._sampler.copied_bytes
        for order in self._outstanding:
            order.given_up = self._behind(order) > self._config.staleness
        self._account.dropped += sum(order.given_up for order in self._outstanding)
        self._outstanding = [order for order in self._outstanding if not order.given_up]

    def measured(self) -> dict[str, float]:
        """What was measured since this was asked last, over all processes."""
        account, self._account = self._account, Account()
        return account.row(self._world)

    def state(self) -> list[list[dict[str, Any]]]:
        """What every process has drawn, and neither learnt from nor dropped, as far as played."""
        return self._world.gather(self.mine())

    def load(self, state: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """Go on with what was outstanding; another number of processes deals it anew."""
        if len(state) == self._world.size:
            self.load_mine(state[self._world.rank])
        else:
            self.load_mine(self._world.share([told for share in state for told in share]))

    def mine(self) -> list[dict[str, Any]]:
        """What this process has drawn, and neither learnt from nor dropped."""
        orders = [*self._lent, *self._outstanding]
        return tell_orders(orders) if self._thread is None else self._thread.tell(orders)

    def load_mine(self, told: Sequence[Mapping[str, Any]]) -> None:
        """Go on with that, in place of whatever was loaded before."""
        self._outstanding = [Order.read(one) for one in told]

    def close(self) -> None:
        """End the thread; what it plays is given up. Harmless when done twice."""
        if self._thread is not None:
            self._thread.close()

    def _share(self, count: int) -> int:
        return len(range(self._world.rank, count, self._world.size))

    def _behind(self, order: Order) -> int:
        return 0 if order.begun is None else self._version - order.begun

    def _whole(self) -> list[Order]:
        """The groups that are whole, the oldest first."""
        whole = [order for order in self._outstanding if order.group is not None]
        return sorted(whole, key=self._behind, reverse=True)

    def _is_due(self) -> bool:
        """Whether a group has to be waited for, since after this iteration it would be too old."""
        return self._config.overdue == "wait" and any(
            order.group is None and self._behind(order) >= self._config.staleness
            for order in self._outstanding
        )
