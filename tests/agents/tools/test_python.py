"""Programs of a policy: what they print comes back, and nothing of them stays."""

import asyncio
from pathlib import Path

import pytest

from longstep_agents.messages import ToolCall
from longstep_agents.tools import Toolbox, ToolFault, read_tools
from longstep_agents.tools.types import ToolResult
from longstep_envs.sandbox.registry import sandbox_class
from longstep_envs.types import BadValueError

pytestmark = pytest.mark.filterwarnings("ignore:sandbox 'subprocess' shuts nothing off")


@pytest.fixture(params=["bubblewrap", "subprocess"])
def backend(request: pytest.FixtureRequest) -> str:
    if reason := sandbox_class(request.param).missing():
        pytest.skip(reason)
    return str(request.param)


def called(code: str, backend: str, **options: object) -> ToolResult:
    tools = read_tools({"python": {"sandbox": backend, **options}})()
    return asyncio.run(Toolbox(tools).run(ToolCall("python", {"code": code})))


def test_what_a_program_prints_comes_back(backend: str) -> None:
    assert called("print(6 * 7)", backend).text == "42\n"
    assert called("x = 1", backend).text == "(the program printed nothing)"


def test_an_error_is_the_programs_own_traceback(backend: str) -> None:
    told = called("print('first')\n1 / 0", backend)
    assert told.fault is None
    assert told.text.startswith("first\nTraceback (most recent call last):\n")
    assert 'program.py", line 2' in told.text
    assert told.text.endswith("ZeroDivisionError: division by zero\n[exit code 1]")


def test_a_program_that_hangs_is_stopped_and_what_it_printed_is_told(backend: str) -> None:
    code = "import time; print('started', flush=True); time.sleep(4321)"
    told = called(code, backend, seconds=2)
    assert told.fault is ToolFault.TIMEOUT
    assert "stopped after 2 s. It had printed:\nstarted" in told.text


def test_memory_files_and_input_are_bounded(backend: str) -> None:
    assert "MemoryError" in called("x = 'a' * (3 << 30)", backend).text
    assert (
        "File too large"
        in called("open('f', 'wb').write(b'x' * (2 << 20))", backend, file_mb=1).text
    )
    assert "EOFError" in called("input()", backend).text


@pytest.mark.case(37)
def test_a_program_gets_an_empty_folder_and_no_secrets(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    code = "import os; print(sorted(os.listdir()), 'SECRET_KEY' in os.environ)"
    assert called(code, backend).text == "['program.py'] False\n"


def test_nothing_is_kept_between_programs_and_the_same_prints_the_same(backend: str) -> None:
    tools = read_tools({"python": {"sandbox": backend}})()
    box = Toolbox(tools)
    code = "import os; print(os.listdir(), {'a', 'b', 'c'}); open('kept', 'w').close()"
    texts = [asyncio.run(box.run(ToolCall("python", {"code": code}))).text for _ in range(2)]
    assert texts[0] == texts[1]
    assert "kept" not in texts[1]


def test_packages_that_are_given_can_be_imported(backend: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "given.py").write_text("value = 41\n")
    code = "import given; print(given.value + 1)"
    assert called(code, backend, packages=str(tmp_path)).text == "42\n"


def test_text_that_is_no_unicode_is_only_an_error(backend: str) -> None:
    told = called("print('\\ud800 ok')", backend)
    assert told.fault is None
    assert "UnicodeEncodeError" in told.text


@pytest.mark.case(35)
def test_without_a_network_nothing_can_be_reached() -> None:
    if reason := sandbox_class("bubblewrap").missing():
        pytest.skip(reason)
    code = "import socket; print(socket.if_nameindex())"
    assert called(code, "bubblewrap").text == "[(1, 'lo')]\n"


def test_a_sandbox_that_does_not_work_is_told_before_anything_is_played(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox_class("bubblewrap"), "missing", lambda: "no bwrap")
    make = read_tools({"python": {"sandbox": "bubblewrap"}})
    with pytest.raises(BadValueError, match=r"tool 'python': no sandbox works here.*no bwrap"):
        make()
