"""An environment in which another one fails as planned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from longstep_envs.env import TextEnv
from longstep_envs.faulty.kinds import KINDS, Kind
from longstep_envs.faulty.schedule import Ledger, Schedule, injected
from longstep_envs.types import BadValueError, Info, Snapshot, UnknownNameError

_NO_FAULT = Kind()


class FaultyEnv(TextEnv):
    """Another environment, with faults by a seeded schedule: to test trainers and harnesses with.

    A fault happens each time that its episode comes to it, retries included: a task that kills
    whoever plays it. With a `ledger`, a folder, it happens `times` times, as most real ones do.
    """

    metadata = TextEnv.metadata | {"concurrency": "process", "snapshot": "native"}

    def __init__(  # noqa: PLR0913 - an option each
        self,
        inner: str = "longstep/Treasure-v0",
        inner_kwargs: dict[str, Any] | None = None,
        rate: float = 0.0,
        kinds: Sequence[str] | None = None,
        seed: int = 0,
        within: int = 5,
        seconds: float = 600.0,
        ledger: str | None = None,
        times: int = 1,
        poisoned: Sequence[str] = (),
        render_mode: str | None = None,
    ) -> None:
        """Wrap the environment of the id `inner`.

        `rate` is the share of episodes with a fault, `kinds` are keys of `KINDS` (all of them by
        default), `within` is the last call that a fault may hit, `seconds` are those for which a
        call hangs, and every episode of a `poisoned` task has a fault.
        """
        from longstep_envs.registry import make  # which lists this class, too

        super().__init__(render_mode)
        kinds = list(KINDS) if kinds is None else list(kinds)
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds:
            raise UnknownNameError(f"Faulty: kinds={kinds}; wanted some of: {', '.join(KINDS)}")
        if not (0.0 <= rate <= 1.0 and within >= 0 and seconds > 0 and times >= 1):
            raise BadValueError(
                f"Faulty: rate={rate}, within={within}, seconds={seconds}, times={times}; wanted "
                "0..1, at least 0, above 0 and at least 1"
            )
        self.inner = make(inner, **(inner_kwargs or {}))
        self.tools, self.signals = self.inner.tools, self.inner.signals
        self._schedule = Schedule(seed, rate, tuple(kinds), within, frozenset(poisoned))
        self._ledger = None if ledger is None else Ledger(Path(ledger))
        self._seconds, self._times = seconds, times

    @property
    def task_ids(self) -> Sequence[str]:
        """Those of the environment inside."""
        return self.inner.task_ids

    @property
    def provenance(self) -> str:
        """That of the environment inside."""
        return self.inner.provenance

    def split_of(self, task_id: str) -> str:
        """That of the environment inside."""
        return self.inner.split_of(task_id)

    def task_type_of(self, task_id: str) -> str:
        """That of the environment inside."""
        return self.inner.task_type_of(task_id)

    def reset(  # type: ignore[override]
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, Info]:
        """Start an episode, unless it is the call that fails."""
        task = (options or {}).get("task")
        fault = self._due(str(task), seed, call=0) if isinstance(task, str) else _NO_FAULT
        if fault.before is not None:
            fault.before(self._seconds)
        result = super().reset(seed=seed, options=options)
        return result if fault.after is None else cast("tuple[str, Info]", fault.after(result))

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:  # type: ignore[override]
        """Apply one action, unless it is the call that fails."""
        fault = self._due(self._task_id or "", self._seed, call=len(self._actions) + 1)
        if fault.before is not None:
            fault.before(self._seconds)
        result = super().step(action)
        if fault.after is None:
            return result
        return cast("tuple[str, float, bool, bool, Info]", fault.after(result))

    def close(self) -> None:
        """Close the environment inside."""
        self.inner.close()

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        return self.inner.reset(seed=self._seed, options={"task": task_id, "expert": expert})

    def _act(self, action: str) -> tuple[str, bool, Info]:
        observation, _, terminated, _, info = self.inner.step(action)
        return observation, terminated, info

    def _get_state(self) -> Snapshot:
        return self.inner.snapshot()

    def _set_state(self, state: Snapshot) -> Info:
        return self.inner.restore(state)[1]

    def _due(self, task_id: str, seed: int | None, *, call: int) -> Kind:
        planned = self._schedule.of(task_id, seed)
        if planned is None or planned.call != call:
            return _NO_FAULT
        happening = injected(planned, task_id, seed)
        if self._ledger is not None and not self._ledger.enter(happening, self._times):
            return _NO_FAULT
        return KINDS[planned.kind]
