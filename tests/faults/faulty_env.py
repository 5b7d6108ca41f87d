"""An environment that fails on request: the action names the fault."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, cast

from longstep_envs import Info, TextEnv


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def cancel() -> None:
    raise asyncio.CancelledError("by the environment's own client")


def spawn() -> None:
    """Leave a process behind in the worker's group."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)  # longstep-stray"])


GROWN: list[bytearray] = []


def grow() -> None:
    """Take 300 MB, and keep them for a while."""
    GROWN.append(bytearray(b"x") * 300 * 2**20)
    time.sleep(600)


def grow_child() -> None:
    """Let a process of one's own take 300 MB."""
    code = "import time; kept = bytearray(b'x') * 300 * 2**20; time.sleep(600)"
    subprocess.run([sys.executable, "-c", code], check=False)


FAULTS: dict[str, Callable[[], object]] = {
    "raise": lambda: 1 / 0,
    "exit": lambda: sys.exit(3),
    "cancel": cancel,
    "kill": kill,
    "crash": lambda: ctypes.string_at(0),
    "hang": lambda: time.sleep(600),
    "late": lambda: time.sleep(1.5),
    "print": lambda: os.write(1, b"noise\x00" * 10_000),
    "spawn": spawn,
    "grow": grow,
    "grow_child": grow_child,
}
RESULTS: dict[str, Any] = {
    "observation": 7,
    "surprise": {"surprise": 1},
    "score": {"score": float("nan")},
    "error": {"error": {"type": "Down", "message": "engine is down", "retryable": True}},
    "final": {"error": {"type": "Gone", "message": "engine is gone", "retryable": False}},
}


class FaultyEnv(TextEnv):
    """Echoes; `FAULT` fails each time, `FAULT /PATH` fails while /PATH does not exist."""

    metadata = TextEnv.metadata | {"concurrency": "process", "snapshot": "replay"}

    def __init__(
        self,
        broken: str = "",
        slow_reset: float = 0.0,
        slow_close: float = 0.0,
        slow_make: float = 0.0,
    ) -> None:
        super().__init__()
        time.sleep(slow_make)
        if broken:
            raise RuntimeError(broken)
        self._slow_reset, self._slow_close = slow_reset, slow_close

    @property
    def task_ids(self) -> Sequence[str]:
        return ["a", "b"]

    def close(self) -> None:
        time.sleep(self._slow_close)

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        time.sleep(self._slow_reset)
        return f"{task_id} {os.getpid()}", {}

    def _act(self, action: str) -> tuple[str, bool, Info]:
        fault, _, path = action.partition(" ")
        if path.startswith("/"):
            fault = "" if Path(path).exists() else fault
            Path(path).touch()
        FAULTS.get(fault, lambda: None)()
        result = RESULTS.get(fault, {})
        observation = cast("str", result) if result == 7 else f"{os.getpid()} {action}"
        info = cast("Info", dict(result) if isinstance(result, dict) else {})
        return observation, action == "end", info

    def _make_copy(self) -> Self:
        return type(self)()


class FaultyInThread(FaultyEnv):
    metadata = FaultyEnv.metadata | {"concurrency": "thread"}
