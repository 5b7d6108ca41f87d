"""Case 42: the page of runs that are too large for it, or that anybody may have written."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.page.export import dump
from longstep_agents.page.library import Library
from longstep_agents.page.lines import LINE_LIMIT
from longstep_agents.page.serve import Live, make_server

STEP = {"observation": "</script><a href='javascript:x()'>", "action": "look", "reward": 0.0}
ROW: dict[str, Any] = {"part": "p", "task_id": "t", "attempt": 0, "outcome": "ok"}


def evaluation(folder: Path, *lines: str) -> Library:
    (folder / "episodes").mkdir()
    header = {"asked": {"parts": [{"name": "p", "metric": "success", "played": 1}]}}
    (folder / "evaluation.json").write_text(json.dumps(header))
    with (folder / "episodes" / "eval.jsonl").open("w") as file:
        file.writelines(f"{line}\n" for line in lines)
    return Library([folder])


@pytest.mark.case(42)
def test_an_episode_of_a_hundred_thousand_steps_is_shown(tmp_path: Path) -> None:
    began = time.process_time()
    library = evaluation(tmp_path, json.dumps({**ROW, "steps": [STEP] * 100_000}))
    (run,) = library.index()["runs"]
    assert run["episodes"]["turns"] == [100_000]
    (row,) = library.shard(f"{run['id']}-0") or []
    assert len(row["steps"]) == 100_000
    assert time.process_time() - began < 20


@pytest.mark.case(42)
def test_a_trace_of_a_hundred_megabytes_leaves_the_page_small(tmp_path: Path) -> None:
    huge = json.dumps({**ROW, "steps": [{**STEP, "action": "x" * 4_000_000}]})
    library = evaluation(tmp_path, *[huge] * 25, "x" * (LINE_LIMIT + 1))
    index = library.index()
    assert index["runs"][0]["episodes"]["count"] == 25
    assert index["runs"][0]["unreadable"] == 1
    assert len(dump(index)) < 10_000


@pytest.mark.case(42)
@pytest.mark.parametrize("name", ["javascript:alert(1)", "<script>x", "..%2f..%2fetc", "a\nb", "-"])
def test_the_name_of_a_folder_is_no_address(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    library = evaluation(folder, json.dumps({**ROW, "steps": [STEP]}))
    (run,) = library.index()["runs"]
    assert re.fullmatch(r"[\w-][\w.-]*", run["id"], re.ASCII)


@pytest.mark.case(42)
def test_no_other_machine_is_listened_to(tmp_path: Path) -> None:
    evaluation(tmp_path, json.dumps({**ROW, "steps": [STEP]}))
    with make_server(Live([tmp_path])) as server:
        assert server.server_address[0] == "127.0.0.1"
