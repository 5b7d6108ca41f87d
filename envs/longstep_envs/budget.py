"""How long an episode may keep its environment busy, from its making to its last score."""

from __future__ import annotations

from longstep_envs.types import ErrorInfo

_CLOSE_ENOUGH = 1e-3
"""Seconds by which a timer may come early."""


class Budget:
    """The time of all calls of an episode's environment, over all its tries.

    The agent's own time is no part of it, nor is the time in which a neighbour's call keeps the
    worker busy: neither is the environment's fault.
    """

    __slots__ = ("_used", "seconds")

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._used = 0.0

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return self.seconds is not None and self._used >= self.seconds - _CLOSE_ENOUGH

    def within(self, seconds: float | None) -> float | None:
        """The time of a call that may take so long: no more than is left."""
        if self.seconds is None:
            return seconds
        left = max(0.0, self.seconds - self._used)
        return left if seconds is None else min(left, seconds)

    def spend(self, seconds: float) -> None:
        """A call has taken so long."""
        self._used += seconds

    def fault(self, attempts: int, last: ErrorInfo) -> ErrorInfo:
        """What is reported of an episode that has spent it."""
        message = (
            f"the {self.seconds:g} s of Limits.episode_seconds are spent, after {attempts} "
            f"{'try' if attempts == 1 else 'tries'}; the last fault: {last['type']}: "
            f"{last['message']}"
        )
        return ErrorInfo(type="EpisodeTimeout", message=message, retryable=False)
