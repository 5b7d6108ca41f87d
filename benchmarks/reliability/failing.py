"""The environment of `training.py`, apart from it: workers import this without torch."""

from __future__ import annotations

import secrets
from typing import Any

from longstep_envs.faulty import FaultyEnv
from longstep_envs.types import Info


class FailingEnv(FaultyEnv):
    """Draws anew at every try; siblings of a task would otherwise fail together."""

    _try = 0

    def reset(  # type: ignore[override]
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, Info]:
        """Start an episode, unless it is the call that fails."""
        self._try = secrets.randbits(48)
        return super().reset(seed=seed, options=options)

    def _due(self, task_id: str, seed: int | None, *, call: int) -> Any:
        return super()._due(task_id, self._try, call=call)
