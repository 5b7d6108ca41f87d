"""What holds for every format."""

import json
from pathlib import Path

import pytest

from longstep_agents.exports import EXPORTS, export
from longstep_envs.types import BadValueError, MissingPackageError


def _export(name: str, run: Path, out: Path) -> int:
    try:
        return export(name, run, out)
    except MissingPackageError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", EXPORTS)
def test_whatever_a_run_holds_is_exported_and_stays_in_its_place(
    name: str, run: Path, tmp_path: Path
) -> None:
    outside = sorted(tmp_path.rglob("*"))
    assert _export(name, run, tmp_path / "new" / "out") == 3
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    written = list((tmp_path / "new").rglob("*"))
    assert sorted({*tmp_path.rglob("*")} - {*written, tmp_path / "new"}) == outside
    assert all(path.name.isprintable() and ".." not in path.name for path in written)


@pytest.mark.parametrize("name", EXPORTS)
def test_calls_that_no_format_holds_harm_none(name: str, run: Path, tmp_path: Path) -> None:
    action = json.dumps({"name": "a\ud800", "arguments": {"x": float("nan"), "\ud800": "\ud800"}})
    row = {"phase": "rl", "task_id": "x", "steps": [{"action": action, "text": "t"}]}
    (run / "episodes" / "rl.jsonl").write_text(json.dumps(row) + "\n")
    assert _export(name, run, tmp_path / "out") == 1


@pytest.mark.parametrize("name", EXPORTS)
def test_the_same_run_gives_the_same_files(name: str, run: Path, tmp_path: Path) -> None:
    found = []
    for out in (tmp_path / "a", tmp_path / "b"):
        _export(name, run, out)
        files = [out] if out.is_file() else sorted(out.iterdir())
        found.append([(path.name if path != out else "", path.read_bytes()) for path in files])
    if name == "inspect":  # its archives hold the time of writing
        found = [[(name, b"") for name, _ in files] for files in found]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", EXPORTS)
def test_nothing_is_overwritten(name: str, run: Path, tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(tmp_path / "nowhere")
    for out in (folder, link, run):
        with pytest.raises(BadValueError, match="exists"):
            _export(name, run, out)
    assert not list(folder.iterdir())
    assert not (tmp_path / "nowhere").exists()


def test_a_failed_export_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longstep_agents.exports.atif.to_atif", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export("atif", run, tmp_path / "new" / "out")
    assert not list((tmp_path / "new").iterdir())


def test_an_unknown_format_is_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadValueError, match="did you mean 'atif'"):
        export("atiff", run, tmp_path / "out")
