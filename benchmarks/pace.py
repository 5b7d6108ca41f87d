"""How two trainers take turns: each stops every so many iterations, and its clocks with it.

A trainer prints a line of JSON each time it stops, and reads whether to go on. Needs nothing but
Python, since another trainer's environment runs this too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path


class Pace:
    """Counts the time of one trainer's iterations, and nothing of what is done between them."""

    def __init__(self, folder: Path, every: int) -> None:
        self._folder, self._every = folder, every
        self._wall = self._cpu = 0.0
        # What the trainer itself prints must not come between the lines.
        self._out, sys.stdout = sys.stdout, sys.stderr

    def begin(self) -> None:
        """Everything is loaded: wait for the start."""
        self._stop(0)

    def done(self, iteration: int, save: Callable[[Path], object]) -> bool:
        """Whether to go on after this iteration; the policy is saved where it is time to stop."""
        if iteration % self._every:
            return True
        self._wall += time.perf_counter() - self._began[0]
        self._cpu += time.process_time() - self._began[1]
        save(self._folder / f"{iteration:04d}")
        return self._stop(iteration)

    def _stop(self, iteration: int) -> bool:
        told = {"iteration": iteration, "wall": self._wall, "cpu": self._cpu}
        self._out.write(json.dumps(told) + "\n")
        self._out.flush()
        goes_on = sys.stdin.readline().strip() == "go"
        self._began = time.perf_counter(), time.process_time()
        return goes_on
