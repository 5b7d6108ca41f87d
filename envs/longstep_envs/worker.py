"""A worker process of the pool: hosts environments, answers requests in the order they came.

Started as `python -m longstep_envs.worker FD`. The first frame tells what to host; after it,
each request [id, op, place, ...] is answered by [id, true, value, seconds] or [id, false, error,
seconds], where `seconds` are those that it took.
"""

from __future__ import annotations

import base64
import contextlib
import faulthandler
import os
import pickle
import select
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from longstep_envs.contract import checked_reset
from longstep_envs.limits import Limited
from longstep_envs.registry import build, load_class
from longstep_envs.snapshots import pack, unpack
from longstep_envs.types import (
    EnvFaultError,
    ErrorInfo,
    Limits,
    LongstepError,
    PluginError,
)
from longstep_envs.wire import Decoder, encode, receive

AGENT_ERROR = "EpisodeOverError"
"""The error type by which the pool knows that the agent is at fault, not the environment."""


@dataclass(frozen=True)
class Recipe:
    """How a pool makes its environments: everything a worker needs to make them alike."""

    env_id: str
    entry_point: str
    kwargs: dict[str, Any]
    limits: Limits

    def make(self) -> Limited:
        """A new environment under the pool's limits."""
        cls = load_class(self.env_id, self.entry_point)
        return Limited(build(cls, self.env_id, self.kwargs), self.limits)


def describe_error(error: BaseException) -> ErrorInfo:
    """An exception of an environment as data. Our own errors would only happen again.

    A fault that an environment describes itself is taken at its word.
    """
    if isinstance(error, EnvFaultError):
        return error.error
    message = f"{error}"[:2000] or "no message"
    again = not isinstance(error, LongstepError) or isinstance(error, PluginError)
    return ErrorInfo(type=type(error).__name__, message=message, retryable=again)


@dataclass
class Host:
    """The environments of one worker, by place."""

    recipe: Recipe
    envs: dict[int, Limited] = field(default_factory=dict)

    def open(self, place: int) -> None:
        """Make the environment of a place."""
        self.envs[place] = self.recipe.make()

    def reset(self, place: int, task_id: str | None, seed: int | None, expert: bool | str) -> Any:
        """Start an episode."""
        options = {"task": task_id, "expert": expert}
        return self.envs[place].reset(seed=seed, options=options)

    def step(self, place: int, action: str) -> Any:
        """Apply one action."""
        return self.envs[place].step(action)

    def snapshot(self, place: int) -> Any:
        """The present point of an episode."""
        return pack(self.envs[place].snapshot())

    def restore(self, place: int, packed: Any) -> Any:
        """Go on from a snapshot."""
        return checked_reset(self.envs[place].restore(unpack(packed)))

    def close(self, place: int) -> None:
        """Close the environment of a place."""
        self.envs.pop(place).close()

    def answer(self, request: list[Any]) -> bytes:
        """Do what a request asks; whatever the environment raises becomes the answer."""
        number, op, *arguments = request
        began = time.monotonic()
        try:
            value = getattr(self, op)(*arguments)
            return encode([number, True, value, time.monotonic() - began])
        except BaseException as error:  # foreign code, which may even exit or cancel
            return encode([number, False, describe_error(error), time.monotonic() - began])


def die_with_parent(connection: socket.socket) -> None:
    """Kill this process group when the other end closes, even while an environment hangs."""
    poll = select.poll()
    poll.register(connection, 0)  # only hang-ups and errors, never data

    def watch() -> None:
        poll.poll()
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def receive_recipe(hello: dict[str, Any]) -> Recipe:
    """Take over the parent's import path, then the recipe, whose options may be any objects."""
    sys.path[:] = hello["path"]
    recipe: Recipe = pickle.loads(base64.b64decode(hello["recipe"]))
    return recipe


def serve(connection: socket.socket) -> None:
    """Answer requests until one says exit or the other side closes."""
    decoder = Decoder()
    hello, *requests = receive(connection, decoder)
    host = Host(receive_recipe(hello))
    die_with_parent(connection)
    while requests or (requests := receive(connection, decoder)):
        for request in requests:
            if request[1] == "exit":
                for env in host.envs.values():
                    with contextlib.suppress(Exception):  # foreign code, on its way out
                        env.close()
                return
            connection.sendall(host.answer(request))
        requests = []


def main(descriptor: int) -> None:
    """Run the worker on an inherited socket."""
    os.set_inheritable(descriptor, False)
    faulthandler.enable()
    with socket.socket(fileno=descriptor) as connection:
        serve(connection)


if __name__ == "__main__":
    main(int(sys.argv[1]))
