"""Environments with one fault each: what `check_env` must find."""

import random
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, Self, cast

import numpy as np

from longstep_envs import Info, Snapshot, TextEnv


class Sound(TextEnv):
    """Count to three: a correct environment, on which the broken ones build."""

    metadata = TextEnv.metadata | {"concurrency": "thread", "snapshot": "native"}

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.count = 0
        self.turns = 0

    @property
    def task_ids(self) -> Sequence[str]:
        return ["a/0", "a/1", "b/0"]

    def info(self) -> Info:
        return Info(
            score=self.count / 3,
            success=self.count == 3,
            admissible_commands=["look", "count"],
            state_key=f"count {self.count}",
        )

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        self.count = self.turns = 0
        info = self.info()
        if expert:
            info["expert_plan"] = ["count"] * 3
        return f"Count to three, {task_id}.", info

    def _act(self, action: str) -> tuple[str, bool, Info]:
        self.turns += 1
        self.count += action == "count"
        info = self.info()
        info["action_valid"] = action in ("look", "count")
        return f"{self.count} after {self.turns}", self.count == 3, info

    def _get_state(self) -> Any:
        return self.count, self.turns

    def _set_state(self, state: Any) -> Info:
        self.count, self.turns = state
        return self.info()


class UnknownLevel(Sound):
    metadata = Sound.metadata | {"concurrency": "sometimes"}


class NoTasks(Sound):
    @property
    def task_ids(self) -> Sequence[str]:
        return []


class DiesInWorkers(Sound):
    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        if sys.argv[0].endswith(("worker.py", "nursery.py")):
            raise RuntimeError("only the main process may do this")


class Hangs(Sound):
    def _act(self, action: str) -> tuple[str, bool, Info]:
        time.sleep(600 if sys.argv[0].endswith(("worker.py", "nursery.py")) else 0)
        return super()._act(action)


class BadSpaces(Sound):
    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.observation_space = cast("Any", "text")


class StrayKey(Sound):
    def info(self) -> Info:
        return cast("Info", {**super().info(), "inventory": "a lamp"})


class AfraidOfText(Sound):
    def _act(self, action: str) -> tuple[str, bool, Info]:
        action.encode()
        return super()._act(action)


class FalseAdvice(Sound):
    def info(self) -> Info:
        return {**super().info(), "admissible_commands": ["look", "dance"]}


class Remembers(Sound):
    """Does not forget the last episode."""

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        turns = self.turns
        text, info = super()._begin(task_id, expert=expert)
        return f"{text} {turns}", info


class HashOrder(Sound):
    """Prints what Python's hash says, which differs between processes."""

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        text, info = super()._begin(task_id, expert=expert)
        return f"{text} {hash(task_id)}", info


class SharedState(Sound):
    """All instances count together."""

    shared = 0

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        SharedState.shared = 0
        return super()._begin(task_id, expert=expert)

    def _act(self, action: str) -> tuple[str, bool, Info]:
        SharedState.shared += 1
        text, terminated, info = super()._act(action)
        return f"{text} {SharedState.shared}", terminated, info


class GlobalRandom(Sound):
    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        random.seed(0)
        return super()._begin(task_id, expert=expert)


class GlobalNumpy(Sound):
    def _act(self, action: str) -> tuple[str, bool, Info]:
        np.random.seed(0)
        return super()._act(action)


class GoesOn(Sound):
    """Answers after the end."""

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:  # type: ignore[override]
        if self._over and self._task_id is not None:
            return "still here", 0.0, True, False, self._complete(self.info())
        return super().step(action)


class TruncatesItself(Sound):
    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:  # type: ignore[override]
        text, reward, terminated, _, info = super().step(action)
        return text, reward, terminated, not terminated and self.turns >= 2, info


class HalfSnapshot(Sound):
    """Forgets a part of its state."""

    def _get_state(self) -> Any:
        return self.count, 0


class ForgetsItsEnd(Sound):
    """Describes a restored point anew, as if it led nowhere."""

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        observation, info = super().restore(snapshot)
        return observation, {**info, "success": False}


class ForgetsItsSource(Sound):
    """Says only once what its tasks are made of."""

    provenance = "numbers"

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        observation, info = super().restore(snapshot)
        return observation, {**info, "extra": {}}


class GoesOnOnceRestored(Sound):
    """Takes a restored episode for one that runs."""

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        result = super().restore(snapshot)
        self._over = False
        return result


class BoundSnapshot(Sound):
    """Its snapshots cannot leave the process."""

    def snapshot(self) -> Snapshot:
        snapshot = super().snapshot()
        object.__setattr__(snapshot, "outer", lambda: self)
        return snapshot


class SharedFork(Sound):
    """A fork that is the same environment."""

    def fork(self) -> Self:
        return self


class WeakExpert(Sound):
    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        text, info = super()._begin(task_id, expert=expert)
        if expert:
            info["expert_plan"] = ["count", "count"]
        return text, info


class SolvesItself(Sound):
    """Doing nothing counts as well."""

    def _act(self, action: str) -> tuple[str, bool, Info]:
        return super()._act(action or "count")


class BonusReward(Sound):
    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:  # type: ignore[override]
        text, reward, terminated, truncated, info = super().step(action)
        return text, reward + 0.1, terminated, truncated, info


class WrongParts(Sound):
    def _act(self, action: str) -> tuple[str, bool, Info]:
        text, terminated, info = super()._act(action)
        return text, terminated, {**info, "reward_parts": {"counting": 0.5}}


class LeavesFilesOpen(Sound):
    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.file = tempfile.TemporaryFile()  # noqa: SIM115
