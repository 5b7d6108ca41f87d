"""One run writes to a folder at a time."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from longstep_envs.types import BadValueError

_FILE = ".lock"


class RunLock:
    """Keeps other runs out of a folder; the system ends it with this process, however that ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / _FILE, timeout=0)

    def acquire(self) -> None:
        """Make the folder where there is none, and keep it.

        Raises:
            BadValueError: another process writes to it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise BadValueError(
                f"another process trains in {self._folder}; wait until it has ended, or name "
                "another --out"
            ) from None

    def close(self) -> None:
        """Let others write to it. Harmless when it was never kept."""
        self._lock.release()
