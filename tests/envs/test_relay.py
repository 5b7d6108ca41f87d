"""What an actor does for a pool, without Ray: it runs a worker and passes frames on."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from longstep_envs.link import hello
from longstep_envs.relay import Relay
from longstep_envs.types import Limits
from longstep_envs.wire import Decoder, FrameCounter, encode
from longstep_envs.worker import Recipe


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "faults"))
    recipe = Recipe("faults/Faulty-v0", "faulty_env:FaultyEnv", {}, Limits())
    first = hello(recipe)
    sys.path.pop(0)  # where this process, the node's, finds no such module
    found = Relay(first)
    yield found
    found.end(b"", 0.0)


def ask(relay: Relay, *requests: list[Any]) -> list[Any]:
    """The answers to all requests, however many calls they take."""
    data, words = relay.exchange(b"".join(map(encode, requests)), len(requests))
    answers = Decoder().feed(data)
    while words is None and len(answers) < len(requests):
        data, words = relay.exchange(b"", len(requests) - len(answers))
        answers += Decoder().feed(data)
    return answers


def test_many_requests_are_answered_in_their_order(relay: Relay) -> None:
    opened = [[n, "open", n] for n in range(4)]
    begun = [[4 + n, "reset", n, "a", 0, False] for n in range(4)]
    answers = ask(relay, *opened, *begun)
    assert [number for number, *_ in answers] == list(range(8))
    assert all(succeeded for _, succeeded, *_ in answers)


def test_an_answer_does_not_wait_for_a_slow_one(relay: Relay) -> None:
    ask(relay, [0, "open", 0], [1, "open", 1])
    ask(relay, [2, "reset", 0, "a", 0, False], [3, "reset", 1, "a", 0, False])
    data, _ = relay.exchange(encode([4, "step", 0, "look"]) + encode([5, "step", 1, "late"]), 2)
    assert [number for number, *_ in Decoder().feed(data)] == [4]  # "late" takes 1.5 s
    assert [number for number, *_ in Decoder().feed(relay.exchange(b"", 1)[0])] == [5]


def test_a_worker_that_dies_leaves_its_last_words(relay: Relay) -> None:
    relay.exchange(encode([0, "open", 0]), 1)
    os.kill(relay.pid(), signal.SIGKILL)
    answers, words = relay.exchange(encode([1, "reset", 0, "a", 0, False]), 1)
    assert answers == b""
    assert words is not None
    assert (words["type"], words["message"]) == ("WorkerDied", "the worker ended (SIGKILL)")


def test_a_worker_that_outgrows_its_limit_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(Path(__file__).parents[1] / "faults")
    monkeypatch.syspath_prepend(folder)
    limits = Limits(worker_mb=250)
    relay = Relay(hello(Recipe("faults/Faulty-v0", "faulty_env:FaultyEnv", {}, limits)))
    relay.exchange(encode([0, "open", 0]), 1)
    relay.exchange(encode([1, "reset", 0, "a", 0, False]), 1)
    _, words = relay.exchange(encode([2, "step", 0, "grow"]), 1)
    relay.end(b"", 0.0)
    assert words is not None
    assert words["type"] == "OutOfMemory"


def test_a_call_that_hangs_is_ended_from_another_thread(relay: Relay) -> None:
    relay.exchange(encode([0, "open", 0]), 1)
    relay.exchange(encode([1, "reset", 0, "a", 0, False]), 1)
    threading.Timer(0.2, relay.end, (b"", 0.0)).start()
    _, words = relay.exchange(encode([2, "step", 0, "hang"]), 1)
    assert words is not None
    assert "SIGKILL" in words["message"]


def test_frames_are_counted_whatever_the_parts_they_come_in() -> None:
    data = b"".join(encode({"text": "x" * n}) for n in range(5))
    for size in (1, 3, 1000):
        counter = FrameCounter()
        for start in range(0, len(data), size):
            counter.feed(data[start : start + size])
        assert counter.whole == 5
