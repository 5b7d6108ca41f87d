"""The environment contract: a gymnasium environment over text, with tasks and snapshots."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import gymnasium

from longstep_envs.spaces import Unicode
from longstep_envs.types import (
    EpisodeOverError,
    Info,
    Snapshot,
    SnapshotError,
    StopReason,
    ToolSpec,
    UnknownNameError,
    text_hash,
)


class TextEnv(gymnasium.Env[str, str]):
    """Base of every longstep environment.

    A subclass writes four things: `task_ids`, `_begin`, `_act` and `_make_copy`. With metadata
    `snapshot: native` it also writes `_get_state` and `_set_state`. This class keeps the
    episode's bookkeeping: task choice, turn count, score, action log, snapshots.

    Rewards are changes of score, so that an episode's rewards sum to its final score.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "concurrency": "process",  # thread | process | pinned
        "snapshot": "replay",  # native | pickle | replay | container | none
        "render_modes": ["ansi"],
    }
    tools: tuple[ToolSpec, ...] = ()

    def __init__(self, render_mode: str | None = None) -> None:
        self.observation_space = Unicode()
        self.action_space = Unicode()
        self.render_mode = render_mode
        self._task_id: str | None = None
        self._seed: int | None = None
        self._actions: list[str] = []
        self._observation = ""
        self._score = 0.0
        self._over = True

    # What a subclass writes

    @property
    @abstractmethod
    def task_ids(self) -> Sequence[str]:
        """The tasks that this environment can be reset to, in a fixed order."""

    @abstractmethod
    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        """Start `task_id`; with `expert`, `expert_plan` is in the info. Randomness: np_random."""

    @abstractmethod
    def _act(self, action: str) -> tuple[str, bool, Info]:
        """Apply one action: observation, terminated, info with `score` (cumulative, 0..1)."""

    @abstractmethod
    def _make_copy(self) -> Self:
        """A new environment built like this one, which may share its read-only data."""

    def _get_state(self) -> Any:
        """The native state: an immutable value, or a copy that nothing else holds."""
        return None

    def _set_state(self, state: Any) -> Info:
        """Return to a value that `_get_state` gave, possibly on another instance."""
        raise NotImplementedError

    # What a user calls

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, Info]:  # type: ignore[override]
        """Start an episode. `options`: {"task": id, "expert": bool}; a task is drawn if absent.

        Raises:
            UnknownNameError: `options["task"]` is not one of `task_ids`.
        """
        super().reset(seed=seed)
        chosen = options or {}
        task_id = chosen.get("task")
        if task_id is None:
            task_id = self.task_ids[int(self.np_random.integers(len(self.task_ids)))]
        self._seed = seed if seed is not None else self._seed
        observation, info = self._begin(task_id, expert=bool(chosen.get("expert", False)))
        self._task_id, self._actions, self._over = task_id, [], False
        self._observation, self._score = observation, float(info.get("score", 0.0))
        return observation, self._complete(info)

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:  # type: ignore[override]
        """Apply one action; the reward is the change of score.

        Raises:
            EpisodeOverError: before the first `reset`, or after the end of the episode.
            TypeError: the action is not a `str`.
        """
        if self._over:
            raise EpisodeOverError(f"{self._name}: no episode is running; call reset() first")
        if not isinstance(action, str):
            raise TypeError(f"{self._name}: an action is a str, got {type(action).__name__}")
        observation, terminated, info = self._act(action)
        self._actions.append(action)
        score = float(info.get("score", self._score))
        reward, self._score = score - self._score, score
        self._observation, self._over = observation, terminated
        if terminated:
            solved = bool(info.get("success", False))
            info.setdefault("stop_reason", StopReason.SUCCESS if solved else StopReason.FAILURE)
        return observation, reward, terminated, False, self._complete(info)

    def snapshot(self) -> Snapshot:
        """The present point of the episode; cheap where metadata says `snapshot: native`."""
        if self._task_id is None:
            raise SnapshotError(f"{self._name}: nothing to snapshot; call reset() first")
        return Snapshot(
            env_id=self._name,
            task_id=self._task_id,
            seed=self._seed,
            actions=tuple(self._actions),
            observation_hash=text_hash(self._observation),
            state=(self._get_state(), self._observation, self._score, self._over)
            if self.metadata["snapshot"] == "native"
            else None,
        )

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Return to a snapshot: from its native state, else by replaying its actions.

        Raises:
            SnapshotError: the snapshot is of another environment, or the replay led elsewhere.
        """
        if snapshot.env_id != self._name:
            raise SnapshotError(f"{self._name} cannot restore a snapshot of {snapshot.env_id}")
        if snapshot.state is None:
            return self._replay(snapshot)
        state, self._observation, self._score, self._over = snapshot.state
        self._task_id, self._seed = snapshot.task_id, snapshot.seed
        self._actions = list(snapshot.actions)
        return self._observation, self._complete(self._set_state(state))

    def fork(self) -> Self:
        """A second environment at the same point; neither sees the other's later steps."""
        twin = self._make_copy()
        twin.restore(self.snapshot())
        return twin

    def render(self) -> str:  # type: ignore[override]
        """The last observation."""
        return self._observation

    # Bookkeeping

    @property
    def _name(self) -> str:
        return self.spec.id if self.spec is not None else type(self).__name__

    def _check_task(self, task_id: object) -> str:
        """`task_id` if it is known, else an error that shows what is."""
        if isinstance(task_id, str) and task_id in self.task_ids:
            return task_id
        shown = ", ".join(self.task_ids[:3])
        raise UnknownNameError(
            f"{self._name}: unknown task {task_id!r}; there are {len(self.task_ids)}, "
            f"for example {shown}"
        )

    def _complete(self, info: Info) -> Info:
        info["task_id"] = self._task_id or ""
        info["turn"] = len(self._actions)
        info.setdefault("score", self._score)
        info.setdefault("state_key", text_hash(self._observation))
        return info

    def _replay(self, snapshot: Snapshot) -> tuple[str, Info]:
        observation, info = self.reset(seed=snapshot.seed, options={"task": snapshot.task_id})
        for action in snapshot.actions:
            observation, _, _, _, info = self.step(action)
        if text_hash(observation) != snapshot.observation_hash:
            raise SnapshotError(
                f"{self._name}: replaying {len(snapshot.actions)} actions of task "
                f"{snapshot.task_id} led to another observation; is the environment deterministic?"
            )
        return observation, info
