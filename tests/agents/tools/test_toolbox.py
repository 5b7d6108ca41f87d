"""Calls through a toolbox: whatever happens in a tool, the policy gets a bounded answer."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from longstep_agents.messages import ToolCall
from longstep_agents.tools import (
    Tool,
    Toolbox,
    ToolboxConfig,
    ToolFault,
    ToolLoopError,
    ToolResult,
    threads,
    tool,
)
from longstep_envs.types import BadValueError


def echo(text: str) -> str:
    """Say it again."""
    return text


def fail(text: str) -> str:
    """Fail."""
    raise ValueError(text)


def leave() -> str:
    """End the process."""
    sys.exit("bye")


async def leave_async() -> str:
    """End the process."""
    sys.exit("bye")


async def cancel_itself() -> str:
    """Await what was cancelled."""
    raise asyncio.CancelledError


def hang() -> str:
    """Hang."""
    time.sleep(3_600)
    return ""


async def wait(seconds: float) -> str:
    """Wait."""
    await asyncio.sleep(seconds)
    return f"waited {seconds}"


TOOLS = [tool(one) for one in (echo, fail, leave, leave_async, cancel_itself)]


def call(
    name: str, tools: list[Tool] = TOOLS, config: ToolboxConfig | None = None, **arguments: Any
) -> ToolResult:
    return asyncio.run(Toolbox(tools, config).run(ToolCall(name, arguments, id="7")))


def test_a_good_call_is_answered() -> None:
    result = call("echo", text="hello")
    assert (result.name, result.text, result.fault, result.call_id) == ("echo", "hello", None, "7")


@pytest.mark.case(20)
def test_an_unknown_name_is_told_the_nearest_one() -> None:
    box = Toolbox(TOOLS, elsewhere=["search"])
    results = asyncio.run(
        box.run_all([ToolCall("ecko"), ToolCall("serch"), ToolCall("x\x1b" * 500)])
    )
    assert {result.fault for result in results} == {ToolFault.UNKNOWN}
    assert "did you mean 'echo'? There are: echo, fail" in results[0].text
    assert "did you mean 'search'?" in results[1].text
    assert len(results[2].text) < 300
    assert "\x1b" not in results[2].text
    assert "echo" in box
    assert "search" not in box


def test_a_failure_is_told_by_its_type_and_never_by_a_traceback() -> None:
    result = call("fail", text="no " * 10_000)
    assert result.fault is ToolFault.FAILED
    assert result.text.startswith("Error: ValueError: no no")
    assert len(result.text) < 1_000
    assert "Traceback" not in result.text


@pytest.mark.parametrize("name", ["leave", "leave_async", "cancel_itself"])
def test_no_tool_ends_the_episode_or_the_process(name: str) -> None:
    assert call(name).fault is ToolFault.FAILED


@pytest.mark.case(20)
def test_arguments_are_checked_and_capped() -> None:
    assert call("echo", text=3).fault is ToolFault.ARGUMENTS
    result = call("echo", config=ToolboxConfig(argument_chars=100), text="x" * 101)
    assert result.fault is ToolFault.ARGUMENTS
    assert "at most 100" in result.text


@pytest.mark.parametrize("function", [hang, wait])
def test_a_call_that_hangs_is_given_up(function: Any) -> None:
    started = time.perf_counter()
    arguments = {"seconds": 3_600.0} if function is wait else {}
    box = Toolbox([tool(function, seconds=0.1)])
    result = asyncio.run(box.run(ToolCall(function.__name__, arguments)))
    assert time.perf_counter() - started < 5
    assert result.fault is ToolFault.TIMEOUT
    assert "no answer within 0.1 s" in result.text


def test_a_process_ends_while_a_call_hangs() -> None:
    program = """
import asyncio, time
from longstep_agents.messages import ToolCall
from longstep_agents.tools import Toolbox, tool
def hang() -> str:
    "Hang."
    time.sleep(3600)
    return ""
print(asyncio.run(Toolbox([tool(hang, seconds=0.1)]).run(ToolCall("hang"))).fault)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "timeout\n", "")


@pytest.fixture
def stuck() -> Iterator[Callable[[], str]]:
    """A function that hangs until the test ends, or sets its event."""
    release = threading.Event()

    def stuck() -> str:
        """Hang."""
        release.wait(60)
        return "back"

    stuck.release = release  # type: ignore[attr-defined]
    yield stuck
    release.set()


def test_an_episode_that_makes_a_tool_hang_loses_this_tool_alone(
    stuck: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_left", [])
    box = Toolbox([tool(stuck, seconds=0.02), tool(echo)])
    results = [asyncio.run(box.run(ToolCall("stuck"))) for _ in range(threads.MOST_OF_A_TOOL + 1)]
    assert {result.fault for result in results} == {ToolFault.TIMEOUT}
    assert "4 earlier calls of it still hang" in results[-1].text
    assert asyncio.run(box.run(ToolCall("echo", {"text": "here"}))).text == "here"
    other = Toolbox([tool(stuck, seconds=0.02)])  # of another episode
    assert "no answer within" in asyncio.run(other.run(ToolCall("stuck"))).text
    stuck.release.set()
    time.sleep(0.2)
    assert asyncio.run(box.run(ToolCall("stuck"))).text == "back"


def test_threads_that_hang_are_not_made_without_end(
    stuck: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "MOST_OF_ALL", 2)
    monkeypatch.setattr(threads, "_left", [])
    calls = [Toolbox([tool(stuck, seconds=0.02)]).run(ToolCall("stuck")) for _ in range(3)]
    faults = [asyncio.run(call).fault for call in calls]
    assert faults == [ToolFault.TIMEOUT, ToolFault.TIMEOUT, ToolFault.UNAVAILABLE]


def test_an_episode_that_is_given_up_takes_its_call_with_it() -> None:
    async def play() -> None:
        await asyncio.wait_for(Toolbox([tool(wait)]).run(ToolCall("wait", {"seconds": 60.0})), 0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(play())


def test_output_is_capped_with_head_and_tail_and_cleaned() -> None:
    text = "START" + "é" * 100_000 + "\x1b[31m\x00\u202e\ud800" + "END"
    result = call("echo", config=ToolboxConfig(output_chars=1_000), text="x")
    assert result.text == "x"

    def big() -> str:
        """Say much."""
        return text

    shown = call("big", [tool(big)], ToolboxConfig(output_chars=1_000)).text
    assert len(shown) <= 1_000
    assert shown.startswith("START")
    assert shown.endswith("\ufffd\ufffd\ufffdEND")
    assert "characters left out" in shown
    shown.encode("utf-8")


@pytest.mark.case(20)
def test_identical_failing_calls_are_told_and_then_end_the_episode() -> None:
    box = Toolbox(TOOLS, ToolboxConfig(warn_repeats=3, end_repeats=4))
    same = ToolCall("fail", {"text": "x"})
    texts = [asyncio.run(box.run(same)).text for _ in range(3)]
    assert ["3 times in a row" in text for text in texts] == [False, False, True]
    with pytest.raises(ToolLoopError, match="the same failing call 4 times in a row") as caught:
        asyncio.run(box.run_all([same, same]))
    assert len(caught.value.results) == 1
    assert caught.value.results[0].fault is ToolFault.FAILED


@pytest.mark.case(20)
def test_another_call_or_a_success_begins_the_count_anew() -> None:
    box = Toolbox(TOOLS, ToolboxConfig(end_repeats=2))
    calls = [
        ToolCall("fail", {"text": "x"}),
        ToolCall("fail", {"text": "y"}),
        ToolCall("fail", {"text": "x"}),
        ToolCall("echo", {"text": "x"}),
        ToolCall("fail", {"text": "x"}),
    ]
    assert len(asyncio.run(box.run_all(calls))) == 5


def test_calls_run_in_order_and_only_reading_ones_at_the_same_time() -> None:
    log: list[str] = []

    async def read(name: str) -> str:
        """Read."""
        log.append(f"+{name}")
        await asyncio.sleep(0.05 if name == "a" else 0.01)
        log.append(f"-{name}")
        return name

    async def write(name: str) -> str:
        """Write."""
        return await read(name)

    box = Toolbox([tool(read, readonly=True), tool(write)])
    names = [("read", "a"), ("read", "b"), ("write", "c"), ("write", "d"), ("read", "e")]
    calls = [ToolCall(kind, {"name": name}) for kind, name in names]
    results = asyncio.run(box.run_all(calls))
    assert [result.text for result in results] == ["a", "b", "c", "d", "e"]
    assert log == ["+a", "+b", "-b", "-a", "+c", "-c", "+d", "-d", "+e", "-e"]


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(BadValueError, match="two tools are called 'echo'"):
        Toolbox([*TOOLS, tool(echo)])
    with pytest.raises(BadValueError, match="two tools are called 'echo'"):
        Toolbox(TOOLS, elsewhere=["echo"])
