"""What changed in a workspace, as a patch that the host makes."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.envs.sandbox.conftest import Open

from longstep_envs.sandbox import Sandbox, SandboxFileError, SandboxLimits
from longstep_envs.sandbox.patch import LEFT_OUT


def apply(tree: Path, patch: str) -> None:
    """The patch on a copy of the tree."""
    command = ["git", "apply", "--whitespace=nowarn"]
    subprocess.run(command, input=patch.encode(), cwd=tree, check=True)


def test_nothing_changed_is_an_empty_patch(sandbox: Sandbox) -> None:
    assert sandbox.diff() == ""
    sandbox.run("touch run.sh; mkdir empty; touch -d 2001-01-01 pkg/code.py", timeout=10)
    assert sandbox.diff() == ""


def test_a_patch_makes_the_same_files_of_the_same_tree(sandbox: Sandbox, tree: Path) -> None:
    sandbox.write("pkg/code.py", "def one():\r\n    return 'ü'".encode())
    sandbox.write('new dir/new\tfile "q".txt', b"new\n")
    sandbox.write("empty.txt", b"")
    sandbox.run("rm run.sh; chmod +x pkg/code.py; printf 'x\\n' > '-e'", timeout=10)
    apply(tree, sandbox.diff())
    assert (tree / "pkg/code.py").read_bytes() == "def one():\r\n    return 'ü'".encode()
    assert (tree / "pkg/code.py").stat().st_mode & 0o111
    assert (tree / 'new dir/new\tfile "q".txt').read_text() == "new\n"
    assert (tree / "empty.txt").read_bytes() == b""
    assert (tree / "-e").read_text() == "x\n"
    assert not (tree / "run.sh").exists()


def test_what_a_patch_does_not_hold_is_named_before_it(sandbox: Sandbox) -> None:
    sandbox.write("logo.bin", b"\x00\x02")
    sandbox.write("new.bin", b"\xff\xfe")
    sandbox.run("ln -sf /etc/passwd run.sh; mkfifo pipe; rm link.py; ln -s x link.py", timeout=10)
    sandbox.run("head -c 11000000 /dev/zero | tr '\\0' a > large.txt", timeout=10)
    sandbox.write("pkg/code.py", b"changed\n")
    head, _, patch = sandbox.diff().partition("diff --git ")
    assert head.splitlines() == [
        f'{LEFT_OUT}"large.txt" (11000000 bytes)',
        f"{LEFT_OUT}\"link.py\" (link to 'x')",
        f'{LEFT_OUT}"logo.bin" (not UTF-8 text)',
        f'{LEFT_OUT}"new.bin" (not UTF-8 text)',
        f'{LEFT_OUT}"pipe" (not a plain file)',
        f"{LEFT_OUT}\"run.sh\" (link to '/etc/passwd')",
    ]
    assert patch.startswith("a/pkg/code.py b/pkg/code.py")
    assert patch.count("diff --git") == 0


def test_nothing_inside_takes_part(sandbox: Sandbox, tree: Path) -> None:
    """Neither the git repository of a hostile tree nor its attributes."""
    sandbox.run(
        "git init -q . && mkdir -p .git/hooks .GIT sub/.git && echo '*.py -diff' > .gitattributes"
        " && echo '*' > .gitignore && git config core.fsmonitor 'touch /tmp/ran'"
        " && echo x > .GIT/x && echo x > sub/.git/x",
        timeout=20,
    )
    sandbox.write("pkg/code.py", b"changed\n")
    patch = sandbox.diff()
    assert "+changed" in patch
    assert "+*.py -diff" in patch
    assert ".git/" not in patch.lower()
    apply(tree, patch)
    assert (tree / "pkg/code.py").read_text() == "changed\n"


def test_hostile_names_are_quoted(sandbox: Sandbox, tree: Path) -> None:
    for name in ("a\nb", 'q"q', "back\\slash", " lead", "git~1", ".git ", "é", "tab\t"):
        sandbox.write(f"names/{name}", b"x\n")
    sandbox.run(
        "touch names/$(printf '\\200'); printf '\\000' > \"$(printf 'n\\ndiff --git')\"", timeout=10
    )
    patch = sandbox.diff()
    assert "\ndiff --git\n" not in patch
    apply(tree, patch)
    names = {path.name for path in (tree / "names").iterdir()}
    assert names == {"a\nb", 'q"q', "back\\slash", " lead", "é", "tab\t", "\udc80"}


@pytest.mark.case(34)
def test_a_tree_without_bounds_is_refused_and_the_sandbox_lives(open_one: Open) -> None:
    sandbox = open_one(limits=SandboxLimits(disk_mb=40, file_mb=30))
    sandbox.run("for i in 1 2 3 4 5 6 7 8; do truncate -s 9M sparse$i; done", timeout=10)
    with pytest.raises(SandboxFileError, match="more than 41943040 bytes"):
        sandbox.diff()
    assert sandbox.run("rm sparse*; echo alive", timeout=10).output == "alive\n"
    assert sandbox.diff() == ""


@pytest.mark.case(34)
def test_deep_folders_and_closed_ones_do_no_harm(sandbox: Sandbox) -> None:
    sandbox.run(
        "mkdir closed; echo x > closed/y; chmod 000 closed/y closed;"
        " python3 -c \"import os\nfor _ in range(1200): os.mkdir('d' * 9); os.chdir('d' * 9)\"",
        timeout=30,
    )
    assert "closed/y" in sandbox.diff()


def test_a_tar_archive_is_a_tree_too(open_one: Open, tree: Path, tmp_path: Path) -> None:
    archive = tmp_path / "tree.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(tree / "pkg" / "code.py", "pkg/code.py")
        hard = tarfile.TarInfo("hard.py")
        hard.type, hard.linkname = tarfile.LNKTYPE, "pkg/code.py"
        tar.addfile(hard)
        late = tarfile.TarInfo("late")
        late.mtime, late.size = 1e30, 1
        tar.addfile(late, io.BytesIO(b"x"))
    sandbox = open_one(tree=archive)
    assert sandbox.run("cat hard.py", timeout=10).output == sandbox.read("pkg/code.py").decode()
    assert sandbox.diff() == ""


@pytest.mark.case(34)
def test_names_without_end_are_refused_and_the_sandbox_lives(sandbox: Sandbox) -> None:
    program = "import os\nfor i in range(1300): os.symlink('x' * 4000, str(i))"
    sandbox.run(f'python3 -c "{program}"', timeout=30)
    with pytest.raises(SandboxFileError, match="names that are too long"):
        sandbox.diff()
    assert sandbox.run("echo alive", timeout=10).output == "alive\n"
