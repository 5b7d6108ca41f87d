"""Running a command: what comes back, and that nothing of it is left."""

import time

import pytest
from tests.envs.sandbox.conftest import Open, processes_with

from longstep_envs.sandbox import Sandbox, SandboxLimits
from longstep_envs.types import BadValueError


def test_a_command_gives_its_output_and_exit_code(sandbox: Sandbox) -> None:
    result = sandbox.run("echo out; echo err >&2; exit 3", timeout=10)
    assert (result.exit_code, result.output, result.output_bytes) == (3, "out\nerr\n", 8)
    assert not result.timed_out
    assert not result.out_of_memory
    assert 0 < result.seconds < 10


def test_a_signal_is_told_as_a_shell_does(sandbox: Sandbox) -> None:
    assert sandbox.run("kill -SEGV $$", timeout=10).exit_code == 139


def test_it_runs_in_the_workspace_or_where_it_is_told(sandbox: Sandbox) -> None:
    assert "run.sh" in sandbox.run("ls", timeout=10).output
    assert sandbox.run("./run.sh", timeout=10).output == "ran\n"
    assert sandbox.run("ls", timeout=10, cwd="/testbed/pkg").output == "code.py\n"
    assert sandbox.run("ls", timeout=10, cwd="pkg").output == "code.py\n"


def test_a_folder_that_is_missing_is_said(sandbox: Sandbox) -> None:
    result = sandbox.run("true", timeout=10, cwd="/testbed/nowhere")
    assert result.exit_code == 126
    assert "No such file" in result.output


def test_variables_and_input_are_passed(open_one: Open) -> None:
    sandbox = open_one(environment={"A": "1", "B": "2"})
    result = sandbox.run('read x; echo "$A$B$x"', timeout=10, environment={"B": "3"}, stdin=b"4\n")
    assert result.output == "134\n"
    big = b"x" * 1_000_000
    assert sandbox.run("wc -c", timeout=10, stdin=big).output.strip() == "1000000"
    assert sandbox.run("true", timeout=10, stdin=big).exit_code == 0


@pytest.mark.case(37)
def test_no_variable_of_the_host_is_seen(open_one: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGSTEP_SECRET", "hunter2")
    printed = open_one().run("env; cat /proc/self/environ /proc/$PPID/environ", timeout=10).output
    assert "hunter2" not in printed
    names = {line.partition("=")[0] for line in printed.splitlines() if "\0" not in line}
    assert {"PATH", "HOME", "LANG", "TMPDIR"} <= names


@pytest.mark.case(33)
def test_bytes_that_are_no_text_are_replaced(sandbox: Sandbox) -> None:
    output = sandbox.run(r"printf 'a\000b\377c\303'", timeout=10).output
    assert output == "a\ufffdb\ufffdc\ufffd"


@pytest.mark.case(33)
def test_a_flood_of_output_is_cut_in_the_middle(open_one: Open) -> None:
    sandbox = open_one(limits=SandboxLimits(output_kb=8))
    result = sandbox.run("echo first; yes | head -c 50000000; echo last", timeout=30)
    assert result.output_bytes == 50_000_011
    assert len(result.output) < 8_300
    assert result.output.startswith("first\n")
    assert result.output.endswith("last\n")
    assert f"[... {50_000_011 - 8_192} bytes left out ...]" in result.output


@pytest.mark.case(33, 36)
@pytest.mark.parametrize(
    "command",
    [
        "sleep 600",
        "trap '' TERM INT HUP; while true; do sleep 600; done",
        "(setsid nohup sleep 600 &) ; sleep 600",
        "yes",
        "while true; do :; done",
        "cat > /dev/null; sleep 600",
    ],
)
def test_what_takes_too_long_is_killed(sandbox: Sandbox, command: str) -> None:
    began = time.monotonic()
    result = sandbox.run(f"echo before; {command}", timeout=0.4)
    assert time.monotonic() - began < 5
    assert result.timed_out
    assert result.exit_code == 124
    assert result.output.startswith("before\n")


DETACHED = [
    "sleep {}",
    "setsid sleep {}",
    "nohup sleep {} > /dev/null 2>&1",
    "setsid sh -c 'sleep {} & setsid sleep {} & exit'",
    "setsid sh -c \"trap '' TERM HUP; while true; do sleep {}; done\"",
]


@pytest.mark.case(36)
@pytest.mark.parametrize("command", DETACHED)
def test_what_a_command_leaves_behind_is_dead_when_it_returns(
    sandbox: Sandbox, command: str, seconds: str
) -> None:
    began = time.monotonic()
    text = f"({command.format(seconds, seconds)} &) & sleep 0.2; echo done"
    assert sandbox.run(text, timeout=30).output == "done\n"
    assert time.monotonic() - began < 10
    assert not processes_with(seconds)


def test_a_command_that_cannot_be_started_says_so(sandbox: Sandbox) -> None:
    for command in ("a\0b", ": " + "x" * 200_000):
        result = sandbox.run(command, timeout=10)
        assert result.exit_code == 126
        assert "cannot start" in result.output


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_time_that_makes_no_sense_is_refused(sandbox: Sandbox, timeout: float) -> None:
    with pytest.raises(BadValueError, match="timeout is"):
        sandbox.run("true", timeout=timeout)


@pytest.mark.case(34)
def test_a_file_above_the_limit_is_not_written(open_one: Open) -> None:
    sandbox = open_one(limits=SandboxLimits(file_mb=1))
    result = sandbox.run("head -c 2000000 /dev/zero > big; wc -c < big", timeout=10)
    assert result.output.splitlines()[-1].strip() == str(1 << 20)
    assert sandbox.run("truncate -s 1T sparse", timeout=10).exit_code != 0


def test_a_program_that_takes_too_much_memory_fails_alone(open_one: Open) -> None:
    sandbox = open_one(limits=SandboxLimits(memory_mb=200))
    result = sandbox.run("python3 -c 'x = bytearray(400 << 20)'; echo after", timeout=20)
    assert "MemoryError" in result.output
    assert result.output.endswith("after\n")
    assert not result.out_of_memory


def test_programs_that_take_too_much_memory_together_are_killed(open_one: Open) -> None:
    sandbox = open_one(limits=SandboxLimits(memory_mb=200))
    hog = "python3 -c 'import time; x = bytearray(b\"1\") * (120 << 20); time.sleep(60)'"
    result = sandbox.run(f"{hog} & {hog} & wait", timeout=30)
    assert result.out_of_memory
    assert result.exit_code == 137
    assert result.seconds < 20
    assert sandbox.run("echo alive", timeout=10).output == "alive\n"


def test_memory_that_is_shared_counts_once(open_one: Open) -> None:
    sandbox = open_one(limits=SandboxLimits(memory_mb=200))
    program = (
        "import os, time; x = bytearray(b'1') * (90 << 20)\n"
        "for _ in range(4):\n    os.fork() or (time.sleep(0.4), os._exit(0))\n"
        "time.sleep(0.4); print('done')"
    )
    assert sandbox.run(f'python3 -c "{program}"', timeout=20).output == "done\n"
