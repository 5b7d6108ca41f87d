"""MCP servers as tools: good ones work, bad ones cost one clear error."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from longstep_agents.messages import ToolCall
from longstep_agents.tools import Toolbox, ToolboxConfig, ToolFault, ToolResult
from longstep_agents.tools.mcp import McpConfig, McpError, McpServer, mount
from longstep_envs.types import BadValueError

Mount = Callable[..., McpServer]


def run(server: McpServer, *names: str) -> list[ToolResult]:
    """Each run has an event loop of its own, as each batch of a rollout has."""
    box = Toolbox(server.tools, ToolboxConfig(end_repeats=None))
    calls = [ToolCall(name, {"text": "hello"}) for name in names]
    return [asyncio.run(box.run(call)) for call in calls]


def test_a_server_made_with_the_sdk_is_mounted() -> None:
    program = str(Path(__file__).with_name("sdk_server.py"))
    server = mount(McpConfig(command=(sys.executable, program), prefix="sum_"))
    assert [tool.spec.name for tool in server.tools] == ["sum_add"]
    assert server.tools[0].spec.description == "Add two numbers."
    assert server.tools[0].spec.parameters["required"] == ["a", "b"]
    assert server.instructions == "Ask me for sums."
    box = Toolbox(server.tools)
    good, bad = asyncio.run(
        box.run_all([ToolCall("sum_add", {"a": 2, "b": 3}), ToolCall("sum_add", {"a": "x"})])
    )
    assert (good.text, good.fault) == ("5", None)
    assert bad.fault is ToolFault.FAILED
    assert "b" in bad.text


def test_one_server_serves_all_episodes_and_event_loops(mount_raw: Mount) -> None:
    server = mount_raw("good")
    assert mount_raw("good") is server
    results = run(server, "echo", "echo", "fail")
    assert results[0].text == results[1].text == "hello\n[image, image/png, 3 bytes]"
    assert (results[2].text, results[2].fault) == ("Error: hello", ToolFault.FAILED)


def test_calls_of_several_episodes_overlap(mount_raw: Mount) -> None:
    server = mount_raw("good")

    async def play() -> list[ToolResult]:
        boxes = [Toolbox(server.tools) for _ in range(8)]
        return await asyncio.gather(
            *(box.run(ToolCall("echo", {"text": str(i)})) for i, box in enumerate(boxes))
        )

    texts = [result.text.partition("\n")[0] for result in asyncio.run(play())]
    assert texts == [str(i) for i in range(8)]


def test_only_allowed_tools_are_mounted_in_the_order_asked_for(mount_raw: Mount) -> None:
    server = mount_raw("good", allow=("slow", "echo"), prefix="x_")
    assert [tool.spec.name for tool in server.tools] == ["x_slow", "x_echo"]
    with pytest.raises(McpError, match=r"has no tool 'ecko'; did you mean 'echo'\? it has echo"):
        mount_raw("good", allow=("ecko",))


@pytest.mark.case(23)
def test_garbage_slowness_and_floods_cost_no_more_than_the_call(mount_raw: Mount) -> None:
    server = mount_raw("good", call_seconds=1)
    garbage, slow, flood, hang, echo = run(server, "garbage", "slow", "flood", "hang", "echo")
    assert garbage.fault is ToolFault.FAILED
    assert "not MCP" in garbage.text
    assert slow.text == "hello"
    assert flood.fault is None
    assert len(flood.text) <= 8_000
    assert (hang.fault, hang.text) == (ToolFault.TIMEOUT, "Error: no answer within 1 s")
    assert echo.fault is None


@pytest.mark.case(23)
def test_a_server_that_dies_is_started_again(mount_raw: Mount) -> None:
    server = mount_raw("good")
    faults = [result.fault for result in run(server, "die", "echo", "die", "echo")]
    assert faults == [ToolFault.UNAVAILABLE, None, ToolFault.UNAVAILABLE, None]


@pytest.mark.case(23)
def test_a_server_that_only_dies_is_left_alone_for_a_while(
    mount_raw: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = mount_raw("good")
    results = run(server, "die", "die", "echo")
    assert {result.fault for result in results} == {ToolFault.UNAVAILABLE}
    assert "died 2 times without an answer" in results[2].text
    monkeypatch.setattr("longstep_agents.tools.mcp.servers._REST_SECONDS", 0.0)
    assert run(server, "echo")[0].fault is None


@pytest.mark.case(23)
def test_a_server_that_does_not_start_again_is_unavailable(
    mount_raw: Mount, tmp_path: Path
) -> None:
    server = mount_raw("once", str(tmp_path / "mark"))
    _, down = run(server, "die", "echo")
    assert down.fault is ToolFault.UNAVAILABLE
    assert "I start only once" in down.text


@pytest.mark.case(23)
def test_a_server_that_hangs_is_replaced(mount_raw: Mount) -> None:
    server = mount_raw("good", call_seconds=0.3)
    results = run(server, "hang", "hang", "hang", "echo")
    assert [result.fault for result in results] == [ToolFault.TIMEOUT] * 3 + [None]


@pytest.mark.case(23)
@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("refuse", "It wrote: cannot find my own config"),
        ("babble", "no list of tools within 1.5 s"),
        ("silent", "no list of tools within 1.5 s"),
        ("endless", "list of tools does not end"),
        ("many", "lists 10,000 tools"),
        ("hostile", "a tool is called '../../evil name'"),
    ],
)
def test_a_bad_server_is_refused_with_one_clear_error(
    mount_raw: Mount, mode: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    bounded = {"start_seconds": 1.5} if mode in ("babble", "silent") else {}
    started = time.perf_counter()
    with pytest.raises(McpError) as caught:
        mount_raw(mode, **bounded)
    assert told in str(caught.value)
    assert time.perf_counter() - started < 15
    assert capfd.readouterr() == ("", "")


@pytest.mark.case(23)
def test_what_a_hostile_server_says_is_cleaned_and_capped(mount_raw: Mount) -> None:
    spec = mount_raw("hostile", allow=("echo",)).tools[0].spec
    assert len(spec.description) <= 2_000
    assert "\x1b" not in spec.description
    assert "\u202e" not in spec.description
    with pytest.raises(McpError, match="schema of tool 'huge' is refused"):
        mount_raw("hostile", allow=("huge",))


@pytest.mark.case(23)
def test_of_ten_thousand_tools_one_can_be_had(mount_raw: Mount) -> None:
    server = mount_raw("many", allow=("tool_777",))
    assert [tool.spec.name for tool in server.tools] == ["tool_777"]


@pytest.mark.case(23)
def test_a_server_that_changes_its_list_changes_nothing_of_what_was_mounted(
    mount_raw: Mount,
) -> None:
    """The policy goes on with the tools that it was told of; one that is gone is a failed call."""
    server = mount_raw("change")
    before = server.tools
    first, *later = run(server, "echo", "echo", "slow")
    assert first.fault is None
    assert [result.fault for result in later] == [ToolFault.FAILED] * 2
    assert "refused" in later[0].text
    assert server.tools == before
    assert len(before) == 7


def test_what_cannot_be_reached_is_told() -> None:
    with pytest.raises(McpError, match="No such file or directory"):
        mount(McpConfig(command=("/no/such/program",)))
    with pytest.raises(McpError, match="ConnectError"):
        mount(McpConfig(url="http://127.0.0.1:9/mcp"))


def test_variables_that_a_server_needs_must_be_set(mount_raw: Mount) -> None:
    with pytest.raises(BadValueError, match="variable LONGSTEP_NO_SUCH is not set"):
        mount_raw("good", variables=("LONGSTEP_NO_SUCH",))
    with pytest.raises(BadValueError, match="variable LONGSTEP_NO_SUCH is not set"):
        mount(McpConfig(url="http://127.0.0.1:9/mcp", token_variable="LONGSTEP_NO_SUCH"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"command": ("x",), "url": "http://x"},
        {"url": "ftp://x"},
        {"command": ("x",), "prefix": "a b"},
        {"command": ("x",), "call_seconds": 0},
        {"command": ("x",), "alow": ("y",)},
    ],
)
def test_a_config_that_makes_no_sense_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        McpConfig(**options)  # type: ignore[arg-type]


@pytest.mark.case(23)
def test_a_process_ends_with_its_servers() -> None:
    program = """
import sys
from longstep_agents.tools.mcp import McpConfig, mount
from pathlib import Path
server = mount(McpConfig(command=(sys.executable, "-m", "longstep_agents.faulty.mcp_server")))
print(len(server.tools))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


def test_without_the_package_one_line_says_what_to_install() -> None:
    program = """
import sys
sys.modules["mcp"] = None
from longstep_agents.tools.mcp import McpConfig, mount
from longstep_envs import LongstepError
try:
    mount(McpConfig(command=("x",)))
except LongstepError as error:
    print(error)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == "the package 'mcp' is needed here; pip install 'longstep[mcp]'\n"
