"""`longstep export` and `longstep view`, as a person types them."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

COMMAND = "from longstep_training.cli import main; main()"


def longstep(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    row = {"phase": "rl", "iteration": 1, "success": 0.5}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    return folder


@pytest.mark.parametrize("out", ["page.html", "page"])
def test_export_prints_where_the_page_is(run: Path, out: str) -> None:
    target = run.parent / out
    told = longstep("export", str(run), "-o", str(target))
    assert (told.stdout, told.stderr) == (f"{target}\n", "")
    assert target.is_dir() == (out == "page")


def test_export_refuses_a_folder_without_runs(tmp_path: Path) -> None:
    told = longstep("export", str(tmp_path), "-o", str(tmp_path / "page.html"))
    assert told.returncode == 1
    assert told.stderr.startswith(f"error: no run or evaluation in {tmp_path}")
    assert not (tmp_path / "page.html").exists()


def test_export_writes_other_formats_and_overwrites_nothing(run: Path) -> None:
    (run / "episodes").mkdir()
    (run / "episodes" / "rl.jsonl").write_text('{"phase": "rl", "task_id": "a"}\n')
    out = run.parent / "out.jsonl"
    command = ("export", str(run), "--format", "jsonl", "-o", str(out))
    assert longstep(*command).stdout == f"episodes: 1, in {out}\n"
    assert json.loads(out.read_text())["task_id"] == "a"
    assert longstep(*command).stderr.startswith(f"error: {out} exists")


def test_view_serves_what_it_says(run: Path) -> None:
    command = [sys.executable, "-u", "-c", COMMAND, "view", str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[0]
            with urllib.request.urlopen(f"{url}data/index.json", timeout=10) as answer:
                index = json.load(answer)
            assert [found["id"] for found in index["runs"]] == ["one"]
        finally:
            process.terminate()
