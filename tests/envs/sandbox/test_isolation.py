"""What hostile code inside cannot reach, and what it cannot use up."""

import os
import socket
import stat
import time
from pathlib import Path

import pytest
from tests.envs.sandbox.conftest import Open

from longstep_envs.sandbox import CommandResult, Sandbox, SandboxLimits


def python(sandbox: Sandbox, program: str, timeout: float = 20) -> CommandResult:
    """The output of a Python program that runs inside."""
    sandbox.write("/tmp/program.py", program.encode())
    return sandbox.run("python3 /tmp/program.py", timeout=timeout)


CONNECT = """
import socket
def tried(family, address, kind=socket.SOCK_STREAM):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(2)
            s.connect(address)
            if kind == socket.SOCK_DGRAM:
                s.send(b"x")
            return "REACHED"
    except OSError as error:
        return type(error).__name__
"""


@pytest.mark.case(35)
def test_no_network_is_reached(shut: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = python(
            shut,
            CONNECT + f"print(tried(socket.AF_INET, ('127.0.0.1', {port})))\n"
            "print(tried(socket.AF_INET, ('169.254.169.254', 80)))\n"
            "print(tried(socket.AF_INET, ('8.8.8.8', 53), socket.SOCK_DGRAM))\n"
            "print(tried(socket.AF_INET6, ('::1', 22)))\n"
            "print(tried(getattr(socket, 'AF_VSOCK', 40), (2, 1024)))\n"
            "try:\n    socket.getaddrinfo('example.com', 80); print('REACHED')\n"
            "except OSError: print('no name')\n",
        )
    assert result.exit_code == 0, result.output
    assert "REACHED" not in result.output
    assert result.output.endswith("no name\n")


@pytest.mark.case(35)
def test_no_socket_of_the_host_is_reached(shut: Sandbox, tmp_path: Path) -> None:
    name = f"\0longstep-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as named:
        abstract.bind(name)
        abstract.listen()
        named.bind(str(tmp_path / "s"))
        named.listen()
        result = python(
            shut,
            CONNECT + f"print(tried(socket.AF_UNIX, {name!r}))\n"
            f"print(tried(socket.AF_UNIX, {str(tmp_path / 's')!r}))\n",
        )
    assert result.output.split() == ["ConnectionRefusedError", "FileNotFoundError"]


@pytest.mark.case(37)
def test_no_file_of_the_host_is_seen_but_its_programs(shut: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    hidden = [secret, Path(__file__), "/etc/shadow", "/etc/hostname", "/root"]
    hidden += ["/var/run/docker.sock", "/home"]
    if shut.backend != "docker":  # whose containers see /sys, read only
        hidden.append("/sys/kernel")
    listed = shut.run("ls -d " + " ".join(f"'{path}/.'" for path in hidden), timeout=10).output
    assert all("cannot access" in line or line == "/home/." for line in listed.splitlines())
    assert shut.run(f"cat {secret}", timeout=10).exit_code != 0
    assert "hunter2" not in shut.run("cat /proc/*/environ; cat /proc/1/cmdline", timeout=10).output


@pytest.mark.case(34)
def test_nothing_but_the_workspace_and_temporary_files_is_written(shut: Sandbox) -> None:
    written = shut.run(
        "for d in / /usr /usr/bin /bin /etc /lib /dev /run /proc /proc/sys/kernel /var /opt; do"
        " touch $d/longstep-was-here && echo WROTE $d; done;"
        " echo x > /proc/sys/kernel/core_pattern && echo WROTE pattern;"
        " touch /testbed/x /tmp/x && echo fine",
        timeout=10,
    ).output
    assert "WROTE" not in written
    assert written.endswith("fine\n")


@pytest.mark.case(37)
def test_only_processes_of_its_own_are_seen(shut: Sandbox) -> None:
    pids = shut.run("ls /proc | grep -E '^[0-9]+$' | wc -l", timeout=10).output
    assert int(pids) <= 6
    inside = shut.run("id -u; grep -E 'CapEff|CapPrm|NoNewPrivs' /proc/self/status", timeout=10)
    user, *rights = inside.output.splitlines()
    assert user != "0"
    assert {line.split()[-1] for line in rights} == {"0" * 16, "1"}


@pytest.mark.case(37)
def test_the_supervisor_is_out_of_reach(shut: Sandbox) -> None:
    result = python(
        shut,
        "import os, resource, signal\n"
        "def tried(action):\n"
        "    try:\n        action(); print('DONE')\n"
        "    except OSError as error:\n        print(type(error).__name__)\n"
        "tried(lambda: os.listdir('/proc/1/fd') and os.open('/proc/1/fd/0', os.O_RDWR))\n"
        "tried(lambda: open('/proc/1/mem', 'rb'))\n"
        "tried(lambda: open('/proc/1/environ', 'rb').read())\n"
        "tried(lambda: open('/proc/1/oom_score_adj', 'w'))\n"
        "tried(lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)))\n"
        "tried(lambda: os.setpriority(os.PRIO_PROCESS, 1, 19))\n"
        "tried(lambda: os.setpriority(os.PRIO_USER, 0, 19))\n"
        "tried(lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)))\n"
        "for number in range(1, 65):\n"
        "    try:\n        os.kill(1, number)\n"
        "    except OSError:\n        pass\n"
        "print('alive')\n",
    )
    assert result.output.split() == ["PermissionError"] * 8 + ["alive"]
    assert shut.run("echo alive", timeout=10).output == "alive\n"


def test_no_namespace_and_no_mount_can_be_made(shut: Sandbox) -> None:
    result = python(
        shut,
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def tried(name, *arguments):\n"
        "    done = getattr(libc, name)(*arguments)\n"
        "    print(name, done)\n"
        "for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000):\n"
        "    tried('unshare', flag)\n"
        "tried('mount', b'tmpfs', b'/tmp', b'tmpfs', 0, None)\n"
        "tried('ptrace', 16, 1, 0, 0)\n"
        "tried('chroot', b'/tmp')\n"
        "tried('setuid', 0)\n"
        "tried('syscall', 425, 8, None)\n"  # io_uring_setup
        "tried('syscall', 321, 0, None, 0)\n",  # bpf
    )
    assert result.exit_code == 0, result.output
    assert {line.split()[1] for line in result.output.splitlines()} == {"-1"}


@pytest.mark.case(32)
def test_a_fork_bomb_is_bounded_and_dies(open_shut: Open) -> None:
    sandbox = open_shut(limits=SandboxLimits(processes=40, memory_mb=512))
    bomb = (
        "import os, time\n"
        "while True:\n    try:\n        os.fork()\n    except OSError:\n        time.sleep(0.01)\n"
    )
    began = time.monotonic()
    result = python(sandbox, bomb, timeout=1)
    assert result.timed_out or result.out_of_memory
    assert time.monotonic() - began < 8
    assert sandbox.run("ls /proc | grep -E '^[0-9]+$' | wc -l", timeout=10).exit_code == 0
    threads = (
        "import threading, time\nn = 0\n"
        "try:\n    while True:\n"
        "        threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); n += 1\n"
        "except RuntimeError:\n    print(n, flush=True)\n    import os; os._exit(0)\n"
    )
    assert int(python(sandbox, threads).output) < 40


@pytest.mark.case(34)
def test_a_full_disk_is_full_inside_only(open_shut: Open) -> None:
    sandbox = open_shut(limits=SandboxLimits(disk_mb=16, file_mb=64))
    for folder in ("/testbed", "/tmp", "/dev/shm"):
        result = sandbox.run(f"cat /dev/zero > {folder}/full", timeout=20)
        assert "No space left" in result.output or result.exit_code != 0
        assert not result.timed_out
    assert sandbox.run("echo alive; rm /testbed/full /tmp/full", timeout=10).output == "alive\n"


@pytest.mark.case(34)
def test_a_hundred_thousand_files_do_no_harm(shut: Sandbox) -> None:
    program = (
        "import os\nos.mkdir('many'); os.chdir('many')\n"
        "for i in range(100_000):\n    os.close(os.open(str(i), os.O_CREAT | os.O_WRONLY))\n"
        "print('made')\n"
    )
    assert python(shut, program, timeout=60).output.endswith("made\n")
    assert shut.run("ls many | wc -l", timeout=30).output.strip() == "100000"


@pytest.mark.case(34)
@pytest.mark.slow
def test_a_million_files_are_not_made(shut: Sandbox) -> None:
    program = (
        "import os\nos.mkdir('many'); os.chdir('many')\n"
        "for i in range(1_000_000):\n    os.close(os.open(str(i), os.O_CREAT | os.O_WRONLY))\n"
        "print('MADE')\n"
    )
    result = python(shut, program, timeout=120)
    assert "MADE" not in result.output
    assert not result.timed_out
    assert "[killed: more than 200000 files" in result.output or "No space" in result.output


def test_memory_that_belongs_to_no_process_is_refused(shut: Sandbox) -> None:
    result = python(
        shut,
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None)\n"
        "print(libc.shmget(0, 1 << 30, 0o1600) < 0)\n"
        "try:\n    os.memfd_create('x'); print('MADE')\nexcept OSError: print(True)\n",
    )
    assert result.output.split() == ["True", "True"]


@pytest.mark.case(32)
def test_sockets_do_not_take_the_memory_of_the_kernel(shut: Sandbox) -> None:
    result = python(
        shut,
        "import os, socket, time\n"
        "for _ in range(12):\n"
        "    if os.fork() == 0:\n"
        "        kept = [socket.socketpair() for _ in range(450)]\n"
        "        time.sleep(60)\n"
        "time.sleep(60)\n",
    )
    assert result.output.endswith("[killed: more than 4096 sockets]\n")
    assert result.exit_code == 137


@pytest.mark.case(34)
def test_devices_are_not_made(shut: Sandbox) -> None:
    result = python(
        shut,
        "import os, stat\n"
        "try:\n    os.mknod('disk', stat.S_IFBLK | 0o600, os.makedev(254, 0)); print('MADE')\n"
        "except OSError as error: print(type(error).__name__)\n",
    )
    assert result.output == "PermissionError\n"
    disks = [d for d in Path("/dev").iterdir() if stat.S_ISBLK(d.stat().st_mode)]
    seen = shut.run("ls /dev", timeout=10).output.split()
    assert not {disk.name for disk in disks} & set(seen)
