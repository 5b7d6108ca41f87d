"""Treasure in slow rooms: every answer takes 200 ms in the mean, and now and then seconds."""

from __future__ import annotations

import random
import time

from longstep_envs.treasure import TreasureEnv
from longstep_envs.types import Info

MEAN, SPREAD = 0.2, 1.0
"""Seconds of an answer, and the deviation of their logarithm: one in a hundred takes 1.2 s."""
_CHANCE = random.Random(0)


class SlowTreasureEnv(TreasureEnv):
    """Treasure whose answers are waited for, as those of a web page or a container are."""

    metadata = TreasureEnv.metadata | {"waits": True}

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        _wait()
        return super()._begin(task_id, expert=expert)

    def _act(self, action: str) -> tuple[str, bool, Info]:
        _wait()
        return super()._act(action)


def _wait() -> None:
    time.sleep(MEAN * _CHANCE.lognormvariate(-(SPREAD**2) / 2, SPREAD))
