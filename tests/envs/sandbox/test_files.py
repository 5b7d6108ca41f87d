"""Reading and writing files, those of a hostile tree too."""

import pytest

from longstep_envs.sandbox import Sandbox, SandboxFileError


def test_what_is_written_is_read_on_both_sides(sandbox: Sandbox) -> None:
    sandbox.write("new/deep/file.txt", b"a\n\x00\xff")
    assert sandbox.read("/testbed/new/deep/file.txt") == b"a\n\x00\xff"
    assert sandbox.run("wc -c < new/deep/file.txt", timeout=10).output.strip() == "4"
    sandbox.run("echo inside > /testbed/pkg/made", timeout=10) if sandbox.backend != (
        "subprocess"
    ) else sandbox.run("echo inside > pkg/made", timeout=10)
    assert sandbox.read("pkg/made") == b"inside\n"


def test_a_file_keeps_its_mode_when_it_is_written(sandbox: Sandbox) -> None:
    sandbox.write("run.sh", b"#!/bin/sh\necho other\n")
    assert sandbox.run("./run.sh", timeout=10).output == "other\n"


def test_temporary_files_are_read_where_commands_write_them(sandbox: Sandbox) -> None:
    sandbox.run('mkdir "$TMPDIR/x"; echo hi > "$TMPDIR/x/y"', timeout=10)
    assert sandbox.read("/tmp/x/y") == b"hi\n"


@pytest.mark.case(34)
def test_a_large_file_is_refused(sandbox: Sandbox) -> None:
    sandbox.write("big", b"x" * 1_000)
    assert len(sandbox.read("big", limit=1_000)) == 1_000
    with pytest.raises(SandboxFileError, match=r"'big': it has 1000 bytes; at most 999"):
        sandbox.read("big", limit=999)
    assert sandbox.run("echo alive", timeout=10).output == "alive\n"


@pytest.mark.case(34)
@pytest.mark.parametrize(
    ("making", "path", "why"),
    [
        ("mkfifo x", "x", "not a plain file"),
        ("ln -s /etc/passwd x", "x", "symbolic links"),
        ("ln -s /etc x", "x/passwd", "Not a directory|symbolic links"),
        ("mkdir x", "x", "not a plain file|Is a directory"),
        ("true", "x", "No such file"),
        ("true", "/dev/zero", "not a plain file"),
        ("true", "pkg/../../etc/passwd", "without .."),
        ("true", "a\0b", "null byte"),
        ("true", "y" * 300, "too long"),
        ("true", "", "not a plain file|Is a directory"),
    ],
)
def test_only_plain_files_are_read_and_written(
    sandbox: Sandbox, making: str, path: str, why: str
) -> None:
    assert sandbox.run(making, timeout=10).exit_code == 0
    with pytest.raises(SandboxFileError, match=why):
        sandbox.read(path)
    if path != "x" or "No such" not in why:
        with pytest.raises(SandboxFileError):
            sandbox.write(path, b"data")
    assert sandbox.run("echo alive", timeout=10).output == "alive\n"


def test_a_file_below_a_file_is_not_written(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxFileError, match="Not a directory"):
        sandbox.write("run.sh/inner", b"")
