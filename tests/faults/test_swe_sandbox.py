"""Cases 32 to 37: what code may try in a sandbox, beyond `tests/envs/sandbox`.

Wanted: no host file touched, no survivor, nothing of the host or of a neighbour seen.
"""

import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.envs.sandbox.conftest import SHUTTING_OFF, Open, opener, processes_with

from longstep_envs.sandbox import CommandResult, Sandbox, SandboxFileError, SandboxLimits
from longstep_envs.swe.display import clean

SECRET = f"hunter{secrets.randbelow(10**9)}"


@pytest.fixture(scope="module", params=SHUTTING_OFF)
def open_one(request: pytest.FixtureRequest) -> Iterator[Open]:
    yield from opener(request.param)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the host that is mounted, and that anybody on the host may write."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "code.py").write_text("x = 1\n")
    (folder / "code.py").chmod(0o666)
    folder.chmod(0o777)
    return folder


@pytest.fixture(scope="module")
def shared(open_one: Open, given: Path) -> Sandbox:
    """One for all those attacks that leave nothing behind."""
    limits = SandboxLimits(processes=60, memory_mb=768, disk_mb=64)
    return open_one(mounts={"/opt/given": given}, limits=limits)


@pytest.fixture
def mark() -> str:
    """A time to sleep, by which survivors are found on the host."""
    return f"700.{secrets.randbelow(10**12):012}"


def python(sandbox: Sandbox, program: str, timeout: float = 30) -> CommandResult:
    return sandbox.run("python3 -", stdin=program.encode(), timeout=timeout)


BOMBS = {
    "a shell that forks": "bomb() {{ bomb | bomb & }}; bomb; sleep {0}",
    "children that leave their session": "while true; do setsid sleep {0} & done",
    "processes that start each other": "python3 -c '\nimport os, time\nwhile True:\n"
    "    try:\n        if os.fork() and os.fork(): os.setsid() if os.getpid() != os.getsid(0)"
    " else 0\n    except OSError: time.sleep(0.01)\n' {0}",
    "threads without end": "python3 -c '\nimport _thread, time\nwhile True:\n"
    "    try: _thread.start_new_thread(time.sleep, (60,))\n"
    "    except RuntimeError: time.sleep(0.01)\n' {0}",
}


@pytest.mark.case(32)
@pytest.mark.parametrize("bomb", BOMBS)
def test_case_32_a_bomb_is_over_with_its_command(shared: Sandbox, mark: str, bomb: str) -> None:
    began = time.monotonic()
    result = shared.run(BOMBS[bomb].format(mark), timeout=1.5)
    assert result.exit_code != 0
    assert time.monotonic() - began < 15
    assert not processes_with(mark)
    assert shared.run("echo alive", timeout=10).output == "alive\n"


CONTROLS = {
    "a clipboard (OSC 52)": "\x1b]52;c;aGk=\x07",
    "a title (OSC 0)": "\x1b]0;title\x1b\\",
    "a clear screen (CSI)": "\x1b[2J\x1b[H",
    "a control of eight bits (C1)": "\x9b2J",
    "an order from right to left": "\u202egnp.exe\u202c",
    "an isolate": "\u2066x\u2069",
    "backspaces": "bad\b\b\bok",
    "a carriage return": "hidden\rshown",
    "a device control string": "\x1bP+q544e\x1b\\",
    "nothing at all": "\0",
    "a tag": "\U000e0041",
}


@pytest.mark.case(33)
@pytest.mark.parametrize("control", CONTROLS)
def test_case_33_output_controls_no_terminal(shared: Sandbox, control: str) -> None:
    shared.write("out", CONTROLS[control].encode())
    shown = clean(shared.run("cat out; echo .", timeout=10).output)
    assert shown.endswith(".\n")
    assert all(one.isprintable() or one in "\n\t\N{REPLACEMENT CHARACTER}" for one in shown), shown


PLACES = {
    "the variables of process 1": "/proc/self/environ",
    "the memory of process 1": "/proc/self/mem",
    "the channel of process 1": "/proc/self/fd/0",
    "the root of process 1": "/proc/self/root/etc/passwd",
    "a process's own folder": "/proc/self/cwd/out",
    "the messages of the kernel": "/proc/kmsg",
    "the memory of the kernel": "/proc/kcore",
    "a device": "/dev/zero",
    "a terminal": "/dev/tty",
    "a folder of devices": "/dev/fd/0",
}


@pytest.mark.case(34)
@pytest.mark.parametrize("place", PLACES)
def test_case_34_the_host_reads_and_writes_for_nobody(shared: Sandbox, place: str) -> None:
    """The supervisor reads and writes files for tools: it must not do so with its own."""
    began = time.monotonic()
    with suppress(SandboxFileError):
        assert shared.read(PLACES[place]) == b""
    with pytest.raises(SandboxFileError):
        shared.write(PLACES[place], b"x")
    assert time.monotonic() - began < 5
    assert shared.run("echo alive", timeout=10).output == "alive\n"


ODD_FILES = {
    "a pipe": "mkfifo odd",
    "a link to itself": "ln -s odd odd",
    "a link to a file of the host": "ln -s /etc/passwd odd",
    "a folder that is a link": "ln -s / odd",
    "a socket": "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('odd')\"",
    "a hard link to a mounted file": "ln /opt/given/code.py odd; ln -s /opt/given odd",
    "a file without end": "truncate -s 60M odd",
    "a name that is no text": "touch \"$(printf 'odd\\377\\n+++ b/x')\"",
    "a folder nobody may enter": "mkdir odd; echo x > odd/x; chmod 0 odd",
    "a deep path": 'python3 -c "import os\n'
    "for _ in range(3000): os.mkdir('odd'); os.chdir('odd')\"",
}


@pytest.mark.case(34)
@pytest.mark.parametrize("odd", ODD_FILES)
def test_case_34_odd_files_neither_hang_nor_lead_out(shared: Sandbox, odd: str) -> None:
    shared.run(ODD_FILES[odd], timeout=20)
    began = time.monotonic()
    try:
        patch = shared.diff()
    except SandboxFileError:
        patch = ""
    assert "root:" not in patch
    assert "\n+++ b/x" not in patch
    assert time.monotonic() - began < 20
    shared.run("[ -L odd ] || chmod -R 700 odd; rm -rf odd*", timeout=20)
    assert shared.run("ls | grep -c odd", timeout=10).output == "0\n"


@pytest.mark.case(34)
def test_case_34_a_file_that_turns_into_a_link_is_never_followed(shared: Sandbox) -> None:
    """A thread of the command cannot be alive then: the host reads between commands only."""
    swap = (
        "import os, threading\nos.makedirs('race', exist_ok=True)\n"
        "def turn():\n    while True:\n"
        "        open('race/f', 'w').close(); os.remove('race/f')\n"
        "        os.symlink('/etc/passwd', 'race/f'); os.remove('race/f')\n"
        "if os.fork() == 0:\n    os.setsid(); turn()\n"
    )
    python(shared, swap)
    for _ in range(20):
        with suppress(SandboxFileError):
            assert b"root" not in shared.read("race/f")
    shared.run("rm -rf race", timeout=10)


NETWORK = {
    "a raw socket": "s.socket(s.AF_INET, s.SOCK_RAW, s.IPPROTO_ICMP)",
    "a packet socket": "s.socket(s.AF_PACKET, s.SOCK_RAW, 0)",
    "an address of the machine": "s.create_connection((s.gethostbyname(s.gethostname()), 22), 1)",
    "every address": "s.create_connection(('0.0.0.0', 22), 1)",
    "the metadata of a cloud, by IPv6": "s.create_connection(('fd00:ec2::254', 80), 1)",
    "a broadcast": "s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'x', ('224.0.0.1', 99))",
    "a name": "s.getaddrinfo('metadata.google.internal', 80)",
    "docker": "s.socket(s.AF_UNIX).connect('/var/run/docker.sock')",
    "dbus": "s.socket(s.AF_UNIX).connect('/run/dbus/system_bus_socket')",
    "a virtual machine's host": "s.socket(40, s.SOCK_STREAM).connect((2, 22))",
    "bluetooth": "s.socket(31, s.SOCK_RAW, 1)",
    "crypto of the kernel": "s.socket(38, s.SOCK_SEQPACKET, 0)",
}


@pytest.mark.case(35)
@pytest.mark.parametrize("target", NETWORK)
def test_case_35_nothing_is_reached(shared: Sandbox, target: str) -> None:
    program = f"import socket as s\ntry:\n    {NETWORK[target]}\n    print('REACHED')\n"
    shown = python(shared, program + "except OSError as error:\n    print('refused')\n")
    assert shown.output == "refused\n"


@pytest.mark.case(35)
def test_case_35_a_neighbour_is_not_reached(shared: Sandbox, open_one: Open) -> None:
    """Neither by a port, nor by an abstract socket, nor by shared memory."""
    serve = (
        "import socket as s, time\na = s.socket(s.AF_UNIX); a.bind('\\0neighbour'); a.listen()\n"
        "b = s.create_server(('127.0.0.1', 5999)); open('/dev/shm/neighbour', 'w').close()\n"
        "print('up', flush=True); time.sleep(20)"
    )
    reach = (
        "import os, socket as s\n"
        "for f, at in ((s.AF_UNIX, '\\0neighbour'), (s.AF_INET, ('127.0.0.1', 5999))):\n"
        "    try:\n        s.socket(f).connect(at); print('REACHED')\n"
        "    except OSError: print('refused')\n"
        "print(os.path.exists('/dev/shm/neighbour'))\n"
    )
    other = open_one()
    thread = threading.Thread(target=python, args=(other, serve, 4))
    thread.start()
    time.sleep(2)
    shown = python(shared, reach).output
    thread.join()
    assert shown.split() == ["refused", "refused", "False"]


DAEMONS = {
    "one that was stopped": "(setsid sleep {0} & kill -STOP $!)",
    "one that ignores signals": "(setsid sh -c \"trap '' TERM HUP INT QUIT; sleep {0}\" &)",
    "one that forked twice": 'python3 -c "import os\nif os.fork() == 0:\n    os.setsid()\n'
    "    if os.fork() == 0:\n        os.closerange(0, 64)\n"
    "        os.execvp('sleep', ['sleep', '{0}'])\n\"",
    "two that restart each other": "(setsid sh -c 'while true; do sleep {0}; done' &) ; "
    "(setsid sh -c 'while true; do pgrep -f {0} || setsid sleep {0} & sleep 0.05; done' &)",
    "one behind a time-out": "(setsid sleep {0} &); sleep 60",
    "one under another name": "(exec -a kworker setsid sleep {0} &) || (setsid sleep {0} &)",
    "one that holds the output": "(setsid sleep {0} >&1 2>&1 &)",
}


@pytest.mark.case(36)
@pytest.mark.parametrize("daemon", DAEMONS)
def test_case_36_no_daemon_is_left(shared: Sandbox, mark: str, daemon: str) -> None:
    shared.run(DAEMONS[daemon].format(mark), timeout=2)
    assert not processes_with(mark)


SECRETS = {
    "variables of the supervisor": "cat /proc/1/environ /proc/[0-9]*/environ",
    "variables of the shell": "env; set; cat /proc/self/environ",
    "memory of the supervisor": "dd if=/proc/1/mem bs=1 count=1; cat /proc/1/maps",
    "files of the host by process 1": "ls -la /proc/1/root/ /proc/1/cwd/ /proc/1/fd/ && echo GOT",
    "its source": "find / -xdev -name 'test_swe_sandbox.py' -o -xdev -name 'grade.py' "
    "-path '*longstep*' 2>/dev/null | sed 's/^/GOT /'",
    "other episodes": "ls /tmp/pytest-* /tmp/bwrap* /var/lib/docker && echo GOT",
    "the kernel": "cat /proc/kcore /proc/kmsg /dev/mem | head -c 9 | grep -q . && echo GOT",
    "messages": "dmesg 2>/dev/null | head -n 1 | sed 's/^/GOT /'",
    "a disk": "ls /dev/sd* /dev/vd* /dev/nvme* /dev/dm-* /dev/loop* 2>/dev/null && echo GOT",
    "keys": "cat /root/.ssh/* /home/*/.ssh/* /etc/shadow /etc/ssh/* /root/.netrc && echo GOT",
}


@pytest.mark.case(37)
@pytest.mark.parametrize("place", SECRETS)
def test_case_37_no_secret_is_seen(
    shared: Sandbox, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("LONGSTEP_SECRET", SECRET)
    shown = shared.run(SECRETS[place], timeout=30).output
    assert SECRET not in shown
    assert "GOT" not in shown


TOUCHES = {
    "by writing": "echo x >> /opt/given/code.py",
    "by removing": "rm -f /opt/given/code.py",
    "by a mode": "chmod 777 /opt/given/code.py",
    "by a time": "touch -d 2001-01-01 /opt/given/code.py",
    "by a new file": "echo x > /opt/given/new.py",
    "by mounting it anew": "mount -o remount,rw /opt/given; echo x > /opt/given/new.py",
    "by a link": "ln /opt/given/code.py hard; ln -s /opt/given/code.py soft; echo x >> soft",
    "by process 1": "echo x > /proc/1/root/opt/given/new.py; echo x > /proc/1/cwd/opt/given/new.py",
    "by Python's cache": "cd /opt/given && python3 -c 'import code; import py_compile; "
    'py_compile.compile("code.py")\'',
    "by a namespace": "unshare -Urm sh -c 'mount -o remount,rw,bind /opt/given; "
    "echo x > /opt/given/new.py'",
}


@pytest.mark.case(37)
@pytest.mark.parametrize("touch", TOUCHES)
def test_no_file_of_the_host_is_touched(shared: Sandbox, given: Path, touch: str) -> None:
    def state() -> list[tuple[str, int, int, bytes]]:
        return [
            (
                str(file),
                stat.S_IMODE(file.stat().st_mode),
                file.stat().st_mtime_ns,
                file.read_bytes(),
            )
            for file in sorted(given.rglob("*"))
        ]

    before = state()
    assert os.access(given, os.W_OK)
    shared.run(TOUCHES[touch], timeout=10)
    assert state() == before
