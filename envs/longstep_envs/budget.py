"""How long an episode may keep its environment busy, from its first reset to its last score."""

from __future__ import annotations

from longstep_envs.types import ErrorInfo

GRACE_SECONDS = 30.0
"""Of a call without a limit of its own, beyond the episode's time, or as long again as that."""
_SMALL = 0.1
"""The part of the time that is too little for one more try."""


class Budget:
    """The time of all calls of an episode's environment, over all its tries.

    It bounds tries that hang. An environment that is merely slow, but answers, spends it as well,
    and its episode ends by its own clock. The agent's own time is no part of it, nor are the
    making of the environment, the time in which a neighbour's call keeps the worker busy, and a
    try that a neighbour has ended: none of these is the environment's fault.
    """

    __slots__ = ("_before", "_reset", "_used", "seconds")

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._used = 0.0
        self._before = 0.0
        self._reset: float | None = None

    @property
    def spent(self) -> bool:
        """Whether too little is left for one more try, which would hardly get past its reset."""
        if self.seconds is None:
            return False
        return self.seconds - self._used <= max(_SMALL * self.seconds, self._reset or 0.0)

    def begin(self) -> None:
        """A try begins."""
        self._before, self._reset = self._used, None

    def forgive(self) -> None:
        """The try was ended by a neighbour's fault: what it took is given back."""
        self._used = self._before

    def within(self, seconds: float | None) -> float | None:
        """The time of a call: its own limit; without one, what is left, and a grace.

        An answer that comes after the episode's time still ends it as it stands.
        """
        if self.seconds is None or seconds is not None:
            return seconds
        return max(0.0, self.seconds - self._used) + max(self.seconds, GRACE_SECONDS)

    def spend(self, seconds: float) -> None:
        """A call has taken so long; the first one of a try is its reset."""
        if self._reset is None:
            self._reset = seconds
        self._used += seconds

    def fault(self, attempts: int, last: ErrorInfo) -> ErrorInfo:
        """What is reported of an episode that has spent it."""
        message = (
            f"the {self.seconds:g} s of Limits.episode_seconds are spent, after {attempts} "
            f"{'try' if attempts == 1 else 'tries'}; the last fault: {last['type']}: "
            f"{last['message']}"
        )
        return ErrorInfo(type="EpisodeTimeout", message=message, retryable=False)
