"""Trees from folders and archives, hostile ones too."""

import io
import tarfile
from pathlib import Path

import pytest

from longstep_envs.sandbox import trees
from longstep_envs.sandbox.trees import PlainFile, Tree, load_tree
from longstep_envs.types import DataError


def archive(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info


def test_a_folder_and_its_archive_are_one_tree(tree: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "tree.tar.gz", "w:gz") as tar:
        tar.add(tree, ".")
    folder, packed = Tree.load(tree), Tree.load(tmp_path / "tree.tar.gz")
    assert folder.plain_files() == packed.plain_files()
    assert folder.unusual() == packed.unusual() == {"link.py": "link to 'pkg/code.py'"}
    assert folder.plain_files()["run.sh"] == PlainFile(b"#!/bin/sh\necho ran\n", executable=True)


def test_folders_that_an_archive_does_not_name_are_there(tmp_path: Path) -> None:
    found = Tree.load(archive(tmp_path / "t.tar", member("./a/b/c", size=3), member("a/d", size=1)))
    assert [(entry["path"], entry["kind"]) for entry in found.entries] == [
        ("a", "folder"),
        ("a/b", "folder"),
        ("a/b/c", "file"),
        ("a/d", "file"),
    ]


@pytest.mark.case(41)
@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (member("../x"), "leads out of the tree"),
        (member("/etc/x"), "leads out of the tree"),
        (member("a/../../x"), "leads out of the tree"),
        (member("disk", tarfile.BLKTYPE), "neither a file, a folder nor a link"),
        (member("pipe", tarfile.FIFOTYPE), "neither a file, a folder nor a link"),
    ],
)
def test_what_a_tree_may_not_hold_is_named(tmp_path: Path, bad: tarfile.TarInfo, why: str) -> None:
    with pytest.raises(DataError, match=why):
        Tree.load(archive(tmp_path / "t.tar", bad))


@pytest.mark.case(41)
def test_a_hard_link_to_nothing_is_refused(tmp_path: Path) -> None:
    hard = member("x", tarfile.LNKTYPE)
    hard.linkname = "../../etc/passwd"
    with pytest.raises(DataError, match=r"t\.tar"):
        Tree.load(archive(tmp_path / "t.tar", hard))


@pytest.mark.case(41)
def test_too_much_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "MOST_BYTES", 10)
    with pytest.raises(DataError, match="larger than 10 bytes"):
        Tree.load(archive(tmp_path / "t.tar", member("x", size=11)))
    with pytest.raises(DataError, match="more than 100000 files or 10 bytes"):
        Tree.load(archive(tmp_path / "t.tar", member("x", size=6), member("y", size=6)))
    monkeypatch.setattr(trees, "MOST_FILES", 1)
    with pytest.raises(DataError, match="more than 1 files"):
        Tree.load(archive(tmp_path / "t.tar", member("x"), member("y")))


@pytest.mark.case(41)
@pytest.mark.parametrize("contents", [b"", b"no archive", b"\x1f\x8b broken"])
def test_what_is_no_archive_is_named(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "t.tar").write_bytes(contents)
    with pytest.raises(DataError, match=r"t\.tar: no tree can be read"):
        load_tree(tmp_path / "t.tar")


def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "t.tar", member("x", size=100_000)).read_bytes()
    (tmp_path / "t.tar").write_bytes(whole[:50_000])
    with pytest.raises(DataError, match=r"t\.tar"):
        load_tree(tmp_path / "t.tar")


def test_an_archive_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path = archive(tmp_path / "t.tar", member("x", size=1))
    assert "x" in load_tree(path).plain_files()
    archive(path, member("other", size=100_000))
    assert "other" in load_tree(path).plain_files()


def test_a_folder_of_a_tree_is_a_tree_without_git(tmp_path: Path) -> None:
    names = ("top/a", "top/.git/config", "top/sub/.git", "top/.gitignore", "topper", "other/b")
    found = Tree.load(archive(tmp_path / "t.tar", *(member(name, size=3) for name in names)))
    assert list(found.below("top").plain_files()) == ["a", ".gitignore"]
    assert found.below().plain_files()["topper"].data == b"xxx"
