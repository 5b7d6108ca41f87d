import json
import os
from pathlib import Path

import pytest

from longstep_agents.page import lines as module
from longstep_agents.page.lines import Lines, parse


def rows(lines: Lines) -> list[dict[str, object]]:
    return [row for _, row in lines.new()]


def test_lines_are_read_once_and_a_cut_one_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = Lines(path)
    assert rows(lines) == []
    path.write_text('{"a": 1}\n{"a": ')
    assert rows(lines) == [{"a": 1}]
    assert lines.cut
    with path.open("a") as file:
        file.write('2}\n{"a": 3}\n')
    assert rows(lines) == [{"a": 2}, {"a": 3}]
    assert not lines.cut
    assert rows(lines) == []
    assert lines.unreadable == 0


def test_a_place_finds_its_line_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\nnonsense\n{"a": "é"}\n')
    found = list(Lines(path).new())
    assert [place.read() for place, _ in found] == [row for _, row in found]


@pytest.mark.parametrize("renamed", [True, False])
def test_a_file_that_was_written_anew_is_told(tmp_path: Path, renamed: bool) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    lines = Lines(path)
    assert not lines.replaced()
    rows(lines)
    assert not lines.replaced()
    if renamed:
        (tmp_path / "draft").write_text('{"a": 1}\n{"a": 2}\n{"a": 3}\n')
        (tmp_path / "draft").replace(path)
    else:
        os.truncate(path, 9)
    assert lines.replaced()


@pytest.mark.case(42)
@pytest.mark.parametrize(
    "line",
    [b"\xff\xfe", b"[1, 2]", b'{"a"', b"[" * 100_000, b'{"a": ' + b"1" * 10_000 + b"}", b"\0"],
)
def test_lines_of_nonsense_are_counted_and_skipped(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n\n{"a": 2}\n')
    lines = Lines(path)
    assert rows(lines) == [{"a": 1}, {"a": 2}]
    assert lines.unreadable == 1


def test_bytes_that_are_no_text_do_not_take_their_line_along() -> None:
    assert parse(b'{"a": "\xff"}') == {"a": "\ufffd"}


@pytest.mark.case(42)
def test_a_line_that_is_too_long_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINE_LIMIT", 100)
    path = tmp_path / "rows.jsonl"
    sizes = (80, 92, 93, 1000, 5)
    path.write_text("".join(json.dumps({"a": "x" * size}) + "\n" for size in sizes))
    lines = Lines(path)
    assert [len(str(row["a"])) for row in rows(lines)] == [80, 5]
    assert lines.unreadable == 3
