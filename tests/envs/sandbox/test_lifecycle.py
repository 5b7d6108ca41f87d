"""Starting and ending: what a failure says, and that nothing is ever left behind."""

import gc
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from tests.envs.sandbox.conftest import Open, processes_with

import longstep_envs.sandbox as sandbox_package
from longstep_envs.sandbox import (
    Sandbox,
    SandboxError,
    SandboxLimits,
    SandboxSpec,
    choose_backend,
    open_sandbox,
)
from longstep_envs.sandbox.bubblewrap import BubblewrapSandbox
from longstep_envs.sandbox.guest.processes import descendants
from longstep_envs.types import DataError, UnknownNameError

HOST = """
import sys, time, warnings
warnings.simplefilter("ignore")
from longstep_envs.sandbox import SandboxSpec, open_sandbox
sandbox = open_sandbox(SandboxSpec(), sys.argv[1])
print("open", flush=True)
sandbox.run(f"setsid sleep {sys.argv[2]} & sleep {sys.argv[2]}", timeout=600)
"""


def gone(text: str, within: float = 10.0) -> bool:
    """Whether no process with this text is left, soon."""
    deadline = time.monotonic() + within
    while processes_with(text):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def traces(folder: Path) -> tuple[int, int, list[Path], int]:
    """What could be left of sandboxes whose temporary files go into a folder."""
    mounts = Path("/proc/self/mounts").read_text().count("testbed")
    files = len(list(Path("/proc/self/fd").iterdir()))
    return len(descendants(os.getpid())), mounts, sorted(folder.iterdir()), files


@pytest.mark.case(36)
def test_a_sandbox_dies_with_the_host(sandbox: Sandbox, seconds: str) -> None:
    command = [sys.executable, "-c", HOST, sandbox.backend, seconds]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "open\n"
        while not processes_with(f"sleep {seconds}"):
            time.sleep(0.05)
        host.kill()
    assert gone(seconds)


def test_a_supervisor_that_dies_is_an_error_of_the_sandbox(sandbox: Sandbox, seconds: str) -> None:
    if sandbox.backend == "docker":
        pytest.skip("its supervisor is no child of the host")
    thread_failed = []

    def run() -> None:
        try:
            sandbox.run(f"sleep {seconds}", timeout=60)
        except SandboxError as error:
            thread_failed.append(error)

    thread = threading.Thread(target=run)
    before = set(descendants(os.getpid()))
    thread.start()
    while not processes_with(f"sleep {seconds}"):
        time.sleep(0.05)
    for pid in sorted(before):
        if b"guest.loop" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    thread.join(20)
    assert len(thread_failed) == 1
    with pytest.raises(SandboxError, match="failed at 'run'"):
        sandbox.run("true", timeout=5)
    sandbox.close()


@pytest.mark.case(36)
def test_closing_ends_a_command_that_another_thread_waits_for(
    sandbox: Sandbox, seconds: str
) -> None:
    failed = []

    def run() -> None:
        with pytest.raises(SandboxError):
            sandbox.run(f"setsid sleep {seconds} & sleep {seconds}", timeout=60)
        failed.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    while not processes_with(f"sleep {seconds}"):
        time.sleep(0.05)
    sandbox.close()
    thread.join(10)
    assert failed
    assert gone(seconds)


def test_a_closed_sandbox_says_so_and_may_be_closed_again(sandbox: Sandbox) -> None:
    snapshot = sandbox.snapshot()
    sandbox.close()
    sandbox.close()
    with pytest.raises(SandboxError, match="the sandbox is closed"):
        sandbox.run("true", timeout=5)
    with pytest.raises(SandboxError, match="the sandbox is closed"):
        sandbox.restore(snapshot)


def test_a_child_of_the_host_does_not_keep_a_sandbox_alive(sandbox: Sandbox, seconds: str) -> None:
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    try:
        began = time.monotonic()
        assert sandbox.run("echo x > x", timeout=5).exit_code == 0
        sandbox.run(f"sleep {seconds}", timeout=0.2)
        sandbox.close()
        assert time.monotonic() - began < 4
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.case(36)
@pytest.mark.parametrize("times", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_many_sandboxes_leave_nothing(
    open_one: Open,
    tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: str,
    times: int,
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    open_one(tree=tree).close()
    gc.collect()
    before = traces(scratch)
    for _ in range(times):
        with open_one(tree=tree) as sandbox:
            sandbox.run(f"setsid sleep {seconds} & echo x > file", timeout=20)
            assert "+x" in sandbox.diff()
    gc.collect()
    assert traces(scratch) == before
    assert gone(seconds)


def test_many_sandboxes_live_beside_each_other(open_one: Open) -> None:
    sandboxes = [open_one() for _ in range(8)]
    for i, sandbox in enumerate(sandboxes):
        sandbox.write("own", str(i).encode())
    assert [sandbox.read("own") for sandbox in sandboxes] == [str(i).encode() for i in range(8)]


@pytest.mark.case(33)
def test_a_flood_of_output_takes_no_memory_of_the_host(sandbox: Sandbox) -> None:
    sandbox.run("true", timeout=5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = sandbox.run("head -c 1000000000 /dev/zero", timeout=60)
    assert result.output_bytes == 1_000_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@pytest.mark.case(34)
def test_a_tree_that_does_not_fit_is_refused(open_shut: Open, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 3_000_000)
    with pytest.raises(SandboxError, match=r"No space left.*disk_mb is 1\)"):
        open_shut(tree=tmp_path, limits=SandboxLimits(disk_mb=1))


def test_a_tree_that_is_not_there_is_bad_data(open_one: Open, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        open_one(tree=tmp_path / "nowhere")


def test_a_mount_that_is_not_there_is_named(tmp_path: Path) -> None:
    if choose_backend() != "bubblewrap":
        pytest.skip("bubblewrap does not work here")
    with pytest.raises(SandboxError, match=r"Can't find source path .*nowhere"):
        open_sandbox(SandboxSpec(mounts={"/opt/x": tmp_path / "nowhere"}), "bubblewrap")
    with pytest.raises(SandboxError, match="is no folder"):
        open_sandbox(SandboxSpec(image=str(tmp_path / "nowhere")), "bubblewrap")
    with pytest.raises(SandboxError, match=r"holds no usr/bin/python3"):
        open_sandbox(SandboxSpec(image=str(tmp_path)), "bubblewrap")


def test_mounts_are_seen_and_not_written(open_one: Open, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "x.py").write_text("value = 7\n")
    sandbox = open_one(
        mounts={"/opt/given/packages": tmp_path / "given"},
        environment={"PYTHONPATH": "/testbed:/opt/given/packages"},
    )
    result = sandbox.run("python3 -B -c 'import x; print(x.value)'", timeout=20)
    assert result.output == "7\n"
    if sandbox.backend != "subprocess":
        assert "Read-only" in sandbox.run("echo > /opt/given/packages/y", timeout=20).output
    assert sandbox.read("/opt/given/packages/x.py") == b"value = 7\n"


def test_an_unknown_backend_is_named_with_the_known() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'docker'"):
        open_sandbox(SandboxSpec(), "dokcer")


def test_the_subprocess_backend_is_never_chosen_and_warns() -> None:
    with pytest.warns(UserWarning, match="shuts nothing off"):
        open_sandbox(SandboxSpec(), "subprocess").close()


def test_where_nothing_works_the_reasons_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    program = "from longstep_envs.sandbox import choose_backend; choose_backend()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "bubblewrap is not installed" in done.stderr
    assert 'sandbox="subprocess" runs without any protection' in done.stderr


ORDINARY = """
import json, sys
from pathlib import Path
from longstep_envs.sandbox import SandboxLimits, SandboxSpec, open_sandbox
spec = SandboxSpec(tree=Path(sys.argv[1]), limits=SandboxLimits(processes=30))
with open_sandbox(spec, "bubblewrap") as sandbox:
    sandbox.write("a/b", b"1")
    snapshot = sandbox.snapshot()
    told = [
        sandbox.run("id -un; cat code.py a/b", timeout=9).output,
        sandbox.run("ls /home /root /srv", timeout=9).exit_code != 0,
        sandbox.run("touch /x /usr/x /dev/x", timeout=9).exit_code != 0,
        sandbox.run("cat /proc/1/environ; ls /proc/1/fd/", timeout=9).exit_code != 0,
        sandbox.run("unshare -U true", timeout=9).exit_code != 0,
        sandbox.run("for i in $(seq 60); do sleep 9 & done; wait", timeout=9).exit_code != 0,
        sandbox.run("setsid sleep SECONDS & sleep 9", timeout=0.3).timed_out,
        "+1" in sandbox.diff(),
    ]
    sandbox.restore(snapshot)
    told.append(sandbox.read("a/b") == b"1")
print(json.dumps(told))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_bubblewrap_does_the_same_for_an_ordinary_user(seconds: str) -> None:
    """As root everything else here runs as root."""
    python = Path("/usr/bin/python3")
    if choose_backend() != "bubblewrap" or not python.exists():
        pytest.skip("bubblewrap or a Python of the system is missing")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = folder / "longstep_envs"  # a copy, since the checkout may be closed to others
        shutil.copytree(Path(sandbox_package.__file__).parent, package / "sandbox")
        shutil.copy(Path(sandbox_package.__file__).parents[1] / "types.py", package)
        (folder / "tree").mkdir()
        (folder / "tree" / "code.py").write_text("one\n")
        subprocess.run(["chmod", "-R", "a+rX", name], check=True)
        done = subprocess.run(
            [python, "-c", ORDINARY.replace("SECONDS", seconds), f"{folder}/tree"],
            env={"PYTHONPATH": name, "PATH": os.environ["PATH"], "HOME": name},
            capture_output=True,
            text=True,
            user=65534,
            group=65534,
            extra_groups=[],
            cwd="/",
        )
    assert done.stdout.splitlines()[-1:] == [
        '["sandbox\\none\\n1", true, true, true, true, true, true, true, true]'
    ], done.stderr
    assert gone(seconds)


def test_a_mount_that_nobody_inside_could_enter_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0 or BubblewrapSandbox.missing():
        pytest.skip("only as root, sandboxes of bubblewrap run as somebody else")
    tmp_path.chmod(0o700)
    with pytest.raises(SandboxError, match=r"is closed to others than its owner.*chmod o\+rx"):
        BubblewrapSandbox(SandboxSpec(mounts={"/opt/packages": tmp_path}))
