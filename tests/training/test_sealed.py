"""Folders that are whole or not there."""

import json
import os
from pathlib import Path

import pytest

from longstep_envs.types import DataError
from longstep_training.distributed import World
from longstep_training.sealed import MANIFEST, sealing, verify, write_file

WORLD = World()


def write(place: Path, text: str = "one") -> None:
    with sealing(place, WORLD) as draft:
        (draft / "deep").mkdir()
        (draft / "deep" / "file").write_text(text)


def test_a_folder_is_there_when_it_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "a" / "place"
    with sealing(place, WORLD) as draft:
        (draft / "file").write_text("x")
        assert not place.exists()
    verify(place, "")
    assert list(json.loads((place / MANIFEST).read_text())) == ["file"]
    assert [path.name for path in place.parent.iterdir()] == ["place"]


def test_what_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "place"
    write(place)
    with pytest.raises(TypeError):
        write(place, 5)  # type: ignore[arg-type]
    verify(place, "")
    assert (place / "deep" / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
    write(place, "two")
    verify(place, "")
    assert (place / "deep" / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


@pytest.mark.case(28)
@pytest.mark.parametrize("fault", ["flip", "cut", "delete", "pipe"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, fault: str) -> None:
    write(tmp_path / "place")
    path = tmp_path / "place" / "deep" / "file"
    if fault in ("flip", "cut"):
        path.write_text("onf" if fault == "flip" else "on")
    else:
        path.unlink()
    if fault == "pipe":
        os.mkfifo(path)
    told = r"place: deep/file (is gone|has changed) since it was written; take another"
    with pytest.raises(DataError, match=told):
        verify(tmp_path / "place", "take another")


def test_a_folder_that_was_copied_gets_a_manifest_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "one")
    with sealing(tmp_path / "two", WORLD) as draft:
        (tmp_path / "one" / MANIFEST).rename(draft / MANIFEST)
        (draft / "new").write_text("x")
    verify(tmp_path / "two", "")


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    write_file(tmp_path / "file", "one")
    write_file(tmp_path / "file", "two")
    assert (tmp_path / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.case(27)
def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, rename = tmp_path / "place", Path.rename
    write(place)

    def refuse(path: Path, target: Path) -> Path:
        if path.name == ".place.partial":
            raise OSError("no room")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no room"):
        write(place, "two")
    verify(place, "")
    assert (place / "deep" / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


@pytest.mark.parametrize("name", ["/etc/hostname", "//etc/hostname", "deep/../../file", None])
def test_a_manifest_names_files_of_its_folder(tmp_path: Path, name: str | None) -> None:
    write(tmp_path / "place")
    hashes = {} if name is None else {name: "0"}
    (tmp_path / "place" / MANIFEST).write_text(json.dumps(hashes))
    with pytest.raises(DataError, match="lies outside" if name else "names no files"):
        verify(tmp_path / "place", "")
