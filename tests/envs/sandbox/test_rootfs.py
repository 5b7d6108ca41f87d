"""What bubblewrap shows of the host or of an image."""

import tarfile
from pathlib import Path

import pytest

from longstep_envs.sandbox import SandboxSpec, open_sandbox, rootfs
from longstep_envs.sandbox.bubblewrap import BubblewrapSandbox


def test_an_image_is_shown_but_for_its_workspace_and_what_is_made_anew(tmp_path: Path) -> None:
    for name in ("usr", "etc", "proc", "dev", "tmp", "testbed", "opt"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin").symlink_to("usr/bin")
    image = str(tmp_path)
    assert rootfs.mounts(image, "/testbed") == [
        *("--symlink", "usr/bin", "/bin"),
        *("--ro-bind", f"{image}/etc", "/etc"),
        *("--ro-bind", f"{image}/opt", "/opt"),
        *("--ro-bind", f"{image}/usr", "/usr"),
    ]


def test_users_of_an_image_are_kept_and_the_hosts_are_not(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\nweb:x:5:5::/:/bin/sh\n")
    users, groups = rootfs.accounts(str(tmp_path), 7)
    assert users.decode().splitlines()[1:] == [
        "web:x:5:5::/:/bin/sh",
        "sandbox:x:7:7::/tmp:/bin/sh",
    ]
    assert groups == b"root:x:0:\nsandbox:x:7:\n"
    users, _ = rootfs.accounts("", 7)
    assert users.count(b"\n") == 2


@pytest.mark.case(39)
def test_packages_of_the_host_are_hidden() -> None:
    if BubblewrapSandbox.missing():
        pytest.skip(BubblewrapSandbox.missing())
    with open_sandbox(SandboxSpec(), "bubblewrap") as sandbox:
        look = "python3 -c 'import sys; print(sys.path[-1])'; ls -A /usr/lib/python3*/*-packages"
        found = sandbox.run(look, timeout=9).output.splitlines()
        assert all(line.startswith("/usr") or not line for line in found), found
        assert sandbox.run("touch /usr/lib/python3/dist-packages/x", timeout=9).exit_code != 0


@pytest.mark.slow
def test_a_sandbox_runs_in_an_image(tmp_path: Path) -> None:
    if BubblewrapSandbox.missing():
        pytest.skip(BubblewrapSandbox.missing())
    from longstep_envs.sandbox.docker_image import write_root

    image = tmp_path / "image"
    with (tmp_path / "root.tar").open("w+b") as archive:
        write_root(archive)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as tar:
            tar.extractall(image, filter="fully_trusted")
    (image / "testbed" / ".git").mkdir(parents=True)
    (image / "testbed" / ".git" / "config").write_text("")
    (image / "testbed" / "code.py").write_text("print('ran')\n")
    (image / "only-here").mkdir()
    with open_sandbox(SandboxSpec(image=str(image)), "bubblewrap") as sandbox:
        result = sandbox.run("python3 code.py; ls -A; ls -d /only-here; id -un", timeout=20)
        assert result.output == "ran\ncode.py\n/only-here\nsandbox\n"
        sandbox.write("code.py", b"print('other')\n")
        assert "+print('other')" in sandbox.diff()
    assert (image / "testbed" / "code.py").read_text() == "print('ran')\n"
