import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.page.bundle import bundle
from longstep_agents.page.export import export
from longstep_agents.page.library import Library
from longstep_envs.types import BadValueError

MakeRun = Callable[..., Path]
BLOCK = re.compile(r'<script type="text/plain" id="data-([\w.-]+)">([A-Za-z0-9+/=]*)</script>')


def unpack(page: str) -> dict[str, Any]:
    return {
        n: json.loads(gzip.decompress(base64.b64decode(text))) for n, text in BLOCK.findall(page)
    }


def test_a_file_holds_everything(make_run: MakeRun, evaluations: Path, tmp_path: Path) -> None:
    folders = [make_run(), evaluations]
    data = unpack(export(folders, tmp_path / "new" / "page.html", title="Both").read_text("utf-8"))
    library = Library(folders)
    assert [*data] == ["index", *library.shards()]
    assert data["index"] == json.loads(json.dumps(library.index("Both")))
    assert all(data[name] == library.shard(name) for name in library.shards())


def test_a_folder_holds_the_same(evaluations: Path, tmp_path: Path) -> None:
    file = unpack(export([evaluations], tmp_path / "page.html").read_text("utf-8"))
    folder = export([evaluations], tmp_path / "page")
    assert "connect-src 'self'" in (folder / "index.html").read_text("utf-8")
    found = {path.stem: json.loads(path.read_bytes()) for path in (folder / "data").iterdir()}
    assert found == file


def test_a_folder_of_something_else_is_left_alone(evaluations: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    for out, told in ((tmp_path, "holds something else"), (tmp_path / "notes", "is a file")):
        with pytest.raises(BadValueError, match=told):
            export([evaluations], out)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_page_that_is_written_anew_keeps_nothing_of_other_runs(
    evaluations: Path, tmp_path: Path
) -> None:
    export([evaluations], tmp_path / "page")
    export([evaluations / "expert"], tmp_path / "page")
    assert not [*(tmp_path / "page" / "data").glob("random*")]


def test_the_same_runs_give_the_same_bytes_and_leave_nothing_else(
    evaluations: Path, tmp_path: Path
) -> None:
    first = export([evaluations], tmp_path / "page.html").read_bytes()
    assert export([evaluations], tmp_path / "page.html").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.case(42)
def test_nothing_that_a_run_holds_is_markup(make_run: MakeRun, tmp_path: Path) -> None:
    page = export([make_run(hostile=True)], tmp_path / "page.html").read_text("utf-8")
    before, script, after = bundle(connect="'none'")
    data = page.removeprefix(before).removesuffix(after).replace(script, "")
    assert BLOCK.sub("", data).strip() == ""
    assert "\u202e" in unpack(page)["household-seed0-0"][0]["final_observation"]


@pytest.mark.case(42)
@pytest.mark.parametrize("connect", ["'none'", "'self'"])
def test_the_policy_names_the_one_script_and_the_one_style(connect: str) -> None:
    page = "".join(bundle(connect=connect))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == connect
    for tag, rule in ((r'<script type="module" async>', "script-src"), ("<style>", "style-src")):
        (source,) = re.findall(f"{tag}(.*?)</(?:script|style)>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_modules_stand_after_what_they_import(tmp_path: Path) -> None:
    static = tmp_path / "static"
    (static / "js").mkdir(parents=True)
    (static / "page.html").write_text("<!--HEAD--><!--DATA-->")
    (static / "page.css").write_text("")
    modules = {
        "main": 'import { a } from "./a.js";\nimport { b, c } from "./b.js";\nstart(a, b, c);\n',
        "a": 'import { b } from "./b.js";\nexport const a = b + 1;\n',
        "b": 'import { a } from "./a.js";\nexport const b = 1;\nexport async function c() {}\n',
    }
    for name, text in modules.items():
        (static / "js" / f"{name}.js").write_text(text)
    _, tag, _ = bundle(connect="'none'", static=static)
    script = re.findall("<script[^>]*>(.*)</script>", tag, re.DOTALL)[0]
    assert script.split("\n") == [
        "const b = 1;",
        "async function c() {}",
        "",
        "const a = b + 1;",
        "",
        "start(a, b, c);",
        "",
    ]
