import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from longstep_envs.search.corpus import open_corpus
from longstep_envs.types import DataError

Write = Callable[..., Path]


def test_passages_are_found_by_row_and_by_id(write_corpus: Write) -> None:
    path = write_corpus(("x", '"Velm"\nA town\nby the sea.'), b"", ("猫", "no title line"))
    corpus = open_corpus(path)
    assert len(corpus) == 2
    assert corpus[0].title == '"Velm"'
    assert corpus[0].text == "A town\nby the sea."
    found = corpus.find("猫")
    assert found is not None
    assert (found.title, found.text) == ("no title line", "")
    assert corpus.find("y") is None


def test_numbers_serve_as_ids_and_the_last_line_needs_no_end(write_corpus: Write) -> None:
    path = write_corpus(b'{"id": 7, "contents": "seven"}')
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    found = open_corpus(path).find("7")
    assert found is not None
    assert found.contents == "seven"


def test_a_changed_file_is_read_anew(write_corpus: Write) -> None:
    first = open_corpus(write_corpus(("x", "one")))
    second = open_corpus(write_corpus(("x", "two, and longer")))
    assert first.sha256 != second.sha256
    assert second[0].contents == "two, and longer"


def test_a_file_that_is_cut_short_or_rewritten_in_use_is_an_error(write_corpus: Write) -> None:
    passages = [(str(number), f"passage {number} " * 100) for number in range(100)]
    path = write_corpus(*passages)
    corpus = open_corpus(path)
    with path.open("r+b") as file:
        file.truncate(50)
    with pytest.raises(DataError, match=f"{path} was changed while it was in use"):
        corpus[99]
    write_corpus(*reversed(passages))
    with pytest.raises(DataError, match="was changed"):
        corpus.find("3")
    assert open_corpus(path)[0].id == "99"


def test_an_edit_that_keeps_size_and_time_is_another_corpus(write_corpus: Write) -> None:
    path = write_corpus(("x", "one"))
    first, status = open_corpus(path), path.stat()
    os.utime(write_corpus(("x", "two")), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert open_corpus(path).sha256 != first.sha256


def test_a_file_replaced_by_another_is_read_to_the_end(write_corpus: Write) -> None:
    path = write_corpus(("x", "one"))
    corpus = open_corpus(path)
    write_corpus(("x", "two"), name="new").replace(path)
    assert corpus[0].contents == "one"
    assert open_corpus(path)[0].contents == "two"


BAD: dict[str, tuple[list[tuple[str, str] | bytes], str]] = {
    "truncated": ([("a", "x"), b'{"id": "b", "cont'], "line 2: not JSON"),
    "wrongly encoded": ([("a", "x"), b'{"id": "b", "contents": "caf\xe9"}'], "line 2: not UTF-8"),
    "no contents": ([b'{"id": "a", "text": "x"}'], "line 1: key 'contents' is missing"),
    "contents of another kind": ([b'{"id": "a", "contents": []}'], "key 'contents' is []"),
    "no id": ([b'{"contents": "x"}'], "line 1: key 'id' is missing"),
    "not an object": ([b"[1]"], "line 1: a list; wanted a JSON object"),
    "an id twice": (
        [("a", "x"), b"", ("b", "y"), ("a", "z")],
        "line 4: key 'id': 'a' stands on line 1 already",
    ),
    "empty": ([b""], "holds no passages"),
}


@pytest.mark.case(41)
@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_clear_error_and_leave_nothing_built(
    name: str, write_corpus: Write, session_cache: Path
) -> None:
    lines, message = BAD[name]
    path = write_corpus(*lines)
    before = built(session_cache)
    with pytest.raises(DataError) as caught:
        open_corpus(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert built(session_cache) == before


def built(cache: Path) -> list[Path]:
    return sorted(path for path in cache.glob("search/*") if not path.name.endswith(".lock"))


def test_missing_and_compressed_files_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no corpus at"):
        open_corpus(tmp_path / "none.jsonl")
    packed = tmp_path / "wiki-18.jsonl.gz"
    packed.write_bytes(gzip.compress(b"{}"))
    with pytest.raises(DataError, match="gzip -d"):
        open_corpus(packed)
    with pytest.raises(DataError, match="is not a file"):
        open_corpus(tmp_path)
