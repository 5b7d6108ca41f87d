"""Tasks that break whoever plays them are left out after a while."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from longstep_agents.types import Group, Outcome
from longstep_envs.types import DataError
from longstep_training.distributed import World
from longstep_training.sampling.strategy import Plan


class Quarantine:
    """Draws another task where one has failed too often; the run goes on and tells of it.

    What counts are episodes that ended as `env_error`, each after all tries of the pool, without
    one in between that could be played. Where more than half of all episodes fail at once, it is
    not the tasks' fault, and nothing counts. Another task takes the place of one that is left out.
    """

    def __init__(self, failures: int | None, world: World = World()) -> None:  # noqa: B008
        self._most, self._world = failures, world
        self._failures: dict[str, int] = {}
        """Of each task, the latest episodes in a row that failed."""

    @property
    def tasks(self) -> list[str]:
        """What is left out, in the order of its names."""
        if self._most is None:
            return []
        return sorted(task for task, count in self._failures.items() if count >= self._most)

    def plan(self, plan: Plan, rng: random.Random) -> Plan:
        """The same plan without what is left out. It draws only where a task has to be replaced.

        Raises:
            DataError: no task is left.
        """
        out = set(self.tasks)
        if out.isdisjoint(plan.tasks):
            return plan
        good = [task for task in plan.pool if task not in out]
        if not good:
            raise DataError(
                f"all {len(out)} training tasks have failed {self._most} times in a row, the first "
                f"is {self.tasks[0]!r}; see the episodes' errors, or set rl.quarantine higher"
            )
        tasks = (task if task not in out else good[rng.randrange(len(good))] for task in plan.tasks)
        return replace(plan, tasks=tuple(tasks))

    def observe(self, groups: Sequence[Group]) -> list[str]:
        """Take in what came of the groups of all ranks; gives the tasks that are newly left out."""
        before = set(self.tasks)
        mine = [(t.task_id, t.outcome.value) for group in groups for t in group.trajectories]
        played = [episode for share in self._world.gather(mine) for episode in share]
        failed = sum(outcome == Outcome.ENV_ERROR for _, outcome in played)
        outage = 2 * failed > len(played)
        for task, outcome in played:
            if outcome == Outcome.ENV_ERROR and not outage:
                self._failures[task] = self._failures.get(task, 0) + 1
            elif outcome in (Outcome.OK, Outcome.TRUNCATED):
                self._failures.pop(task, None)
        return [task for task in self.tasks if task not in before]

    def state(self) -> dict[str, int]:
        """The failures, as JSON can say them; they are the same on every rank."""
        return dict(self._failures)

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._failures = {str(task): int(count) for task, count in state.items()}
