"""Case 41: what is read may come from anybody. It is refused by name, and nothing of it runs."""

import io
import json
import lzma
import math
import pickle
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from longstep_agents.config import parse_toml
from longstep_envs import make
from longstep_envs.alfworld.games import BUNDLED, GAME_FILE, ZipSource, open_games
from longstep_envs.sandbox.trees import Tree
from longstep_envs.search.corpus import open_corpus
from longstep_envs.swe.diffs import PatchError, parse_patch
from longstep_envs.swe.rows import load_rows
from longstep_envs.types import (
    BadValueError,
    DataError,
    Limits,
    LongstepError,
    UnknownNameError,
)
from longstep_envs.webshop.catalogue import open_catalogue
from longstep_envs.webshop.goals import open_goals
from longstep_tasks.registry import load_tasks
from longstep_tasks.types import TasksError
from longstep_training.config import Config, ConfigError, load_config, override_tree

DEEP = "[" * 100_000
DIGITS = "9" * 5_000


class Run(Config):
    turns: int = 1
    extra: dict[str, Any] = {}  # noqa: RUF012


# Configs


@pytest.mark.case(41)
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("turns = 1\nturns = 2\n", "not valid TOML"),
        ("turns = nan\n", "turns: wanted a whole number"),
        ("turns = !!python/object:os.system\n", "not valid TOML"),
        (f"turns = {DIGITS}\n", "not valid TOML"),
        (f"extra = {DEEP}\n", "nested too deep"),
        ("a." * 9_000 + "a = 1\n", "more than 64 parts"),
        ('extends = "base\\u0000"\n', "extends: wanted a path"),
        ("# x\n" * 300_000, "at most 1,048,576"),
        ("rounds = 3\n", "unknown key 'rounds'"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_config_that_means_harm_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_config(Run, path)


@pytest.mark.case(41)
def test_an_override_cannot_nest_without_end() -> None:
    with pytest.raises(ConfigError, match="at most 64 parts"):
        override_tree({}, ["a." * 9_000 + "a=1"])


@pytest.mark.case(41)
@pytest.mark.parametrize(("turns", "seconds"), [(10**9, 1.0), (-1, 1.0), (1, math.nan), (1, 1e99)])
def test_limits_that_limit_nothing_are_refused_by_name(turns: int, seconds: float) -> None:
    with pytest.raises(BadValueError, match=r"Limits\.(turns|step_seconds) is"):
        Limits(turns=turns, step_seconds=seconds)


# Names


@pytest.mark.case(41)
@pytest.mark.parametrize("env_id", ["Treasure", "ALFWorld", "WebShop", "Search"])
@pytest.mark.parametrize(
    "name", ["../../x", "test/\0", "x" * 300, "test/\u0660", "\uff54est/0", "test/00", "\ud800", ""]
)
def test_a_task_id_is_one_of_those_listed(env_id: str, name: str) -> None:
    env = make(f"longstep/{env_id}-v0")
    try:
        with pytest.raises(UnknownNameError) as caught:
            env.reset(options={"task": name})
        assert len(str(caught.value)) < 2_000
    finally:
        env.close()


@pytest.mark.case(41)
@pytest.mark.parametrize(
    "name", ["trap:Trap", "trap/x:load", "trap:longstep/Treasure-v0", "trap/Trap-v0", "trap"]
)
def test_a_name_imports_nothing_that_nobody_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "trap").mkdir()
    for file in ("__init__.py", "x.py"):
        (tmp_path / "trap" / file).write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownNameError):
        make(name)
    with pytest.raises((UnknownNameError, TasksError)):
        load_tasks(name)
    assert "trap" not in sys.modules


# Files of data


@pytest.mark.case(41)
def test_a_zip_file_of_games_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "games.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"a/{GAME_FILE}", b" " * 2**25)
    assert path.stat().st_size < 2**16
    with pytest.raises(DataError, match=r"a/game.tw-pddl cannot be read: it has 33,554,432 bytes"):
        open_games(path, None).data("a")


@pytest.mark.case(41)
@pytest.mark.parametrize("harm", ["offset", "stream", "deep", "half"])
def test_a_corrupt_game_is_named(tmp_path: Path, harm: str) -> None:
    bundled = ZipSource(BUNDLED)
    game = json.loads(bundled.read(bundled.ids()[0]))
    contents = {
        "deep": DEEP,
        "half": json.dumps({**game, "pddl_domain": "\ud800"}),
    }.get(harm, json.dumps(game))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"a/{GAME_FILE}", contents)
    data = bytearray(buffer.getvalue())
    if harm == "stream":
        data[60:90] = b"\xff" * 30
    if harm == "offset":
        at = data.rindex(b"PK\x05\x06")
        data[at + 16 : at + 20] = b"\xff\xff\xff\x0f"
    path = tmp_path / f"{harm}.zip"
    path.write_bytes(data)
    if harm == "half":  # no more than another text
        assert open_games(path, None).problem("a").rules
        return
    with pytest.raises(DataError, match=f"{harm}.zip"):
        open_games(path, None).problem("a")


@pytest.mark.case(41)
def test_rows_that_unpack_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longstep_envs.swe.row_files._LARGEST", 2**20)
    path = tmp_path / "rows.jsonl.xz"
    path.write_bytes(lzma.compress(b" " * 2**24))
    with pytest.raises(DataError, match=r"rows.jsonl.xz holds more than 1,048,576 bytes"):
        load_rows(path)


@pytest.mark.case(41)
@pytest.mark.parametrize("line", [DEEP, DIGITS[:-1] + "e", "nonsense"])
def test_a_row_that_is_no_row_is_left_out_with_the_reason(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    assert "it is no JSON" in load_rows(path).rejected[0].reason


@pytest.mark.case(41)
@pytest.mark.parametrize(
    "patch",
    [
        "diff --git a/x b/x\nrename from x\nrename to ../../x\n",
        "diff --git a/x b/x\nrename from /etc/passwd\nrename to x\n",
        '--- a/x\n+++ "b/\\056\\056/x"\n@@ -0,0 +1 @@\n+y\n',
    ],
)
def test_a_patch_cannot_lead_out_of_the_tree(patch: str) -> None:
    with pytest.raises(PatchError, match="not a path inside the tree"):
        parse_patch(patch)


@pytest.mark.case(41)
def test_a_patch_cannot_count_with_thousands_of_digits() -> None:
    with pytest.raises(PatchError, match="line 3 of the patch cannot be read"):
        parse_patch(f"--- a/x\n+++ b/x\n@@ -{DIGITS} +1 @@\n-x\n+y\n")


@pytest.mark.case(41)
def test_an_archive_whose_header_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tree.tar.gz"
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 2**24
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(header, io.BytesIO(b" " * header.size))
    assert path.stat().st_size < 2**16
    with pytest.raises(DataError, match="a header of 16777216 bytes"):
        Tree.load(path)


def shop(folder: Path, products: str, options: int = 1) -> Path:
    """A folder of WebShop's data with one product, of which so many options can be chosen."""
    product = {
        **dict.fromkeys(("asin", "name", "category", "query", "product_category"), "a"),
        "full_description": "a",
        "small_description": [],
        "images": ["a"],
        "customization_options": {str(n): [{"value": "a"}, {"value": "b"}] for n in range(options)},
    }
    known = {"a": {"instruction": "a", "instruction_attributes": ["a"], "attributes": []}}
    folder.mkdir(exist_ok=True)
    for name, text in {
        "items_shuffle": products or json.dumps([product]),
        "items_ins_v2": json.dumps(known),
        "items_human_ins": "{}",
    }.items():
        (folder / f"{name}.json").write_text(text)
    return folder


@pytest.mark.case(41)
def test_a_product_cannot_make_goals_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longstep_envs.webshop.goals._MOST_CHOICES", 1_000)
    catalogue = open_catalogue(shop(tmp_path, "", options=11))
    with pytest.raises(DataError, match="a: 'customization_options' can be combined in 2,048 ways"):
        open_goals(catalogue, "synthetic", 0)


@pytest.mark.case(41)
@pytest.mark.parametrize("value", [DIGITS, DEEP])
def test_products_of_hostile_json_are_named(tmp_path: Path, value: str) -> None:
    with pytest.raises(DataError, match=r"items_shuffle.json: record 1: the file is truncated or"):
        open_catalogue(shop(tmp_path, f'[{{"asin": {value}}}]'))


@pytest.mark.case(41)
@pytest.mark.parametrize("change", ["P", "rules"])
def test_the_rules_of_a_game_have_to_hold_together(tmp_path: Path, change: str) -> None:
    from longstep_envs.textworld.games import bundled
    from longstep_envs.textworld.world import World

    games = bundled()
    rules = json.loads(games.story(games.ids[0]).with_suffix(".json").read_text())
    if change == "P":
        rules["infos"] = [one for one in rules["infos"] if one[0] != "P"]
    else:
        rules["world"] = []
    path = tmp_path / "game.json"
    path.write_text(json.dumps(rules))
    with pytest.raises(DataError, match=r"game\.json"):
        World(path)


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


PICKLED: dict[str, Callable[[Path, str], object]] = {
    "run.toml": lambda path, data: load_config(Run, path),
    "rows.jsonl": lambda path, data: _refused(load_rows(path).rejected),
    "rows.parquet": lambda path, data: load_rows(path),
    "games.zip": lambda path, data: open_games(path, None).problem("a"),
    "tree.tar": lambda path, data: Tree.load(path),
    "corpus.jsonl": lambda path, data: open_corpus(path),
    "products": lambda path, data: open_catalogue(shop(path.with_name("shop"), data)),
}


def _refused(rejected: Sequence[Any]) -> None:
    raise DataError(f"{len(rejected)} rows") if rejected else AssertionError


@pytest.mark.case(41)
@pytest.mark.parametrize("protocol", [0, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("name", PICKLED)
def test_a_pickle_in_place_of_data_is_refused_and_not_opened(
    tmp_path: Path, name: str, protocol: int
) -> None:
    path, marker = tmp_path / name, tmp_path / "opened"
    data = pickle.dumps(Trap(marker), protocol)
    path.write_bytes(data)
    with pytest.raises(LongstepError):
        PICKLED[name](path, data.decode("latin-1"))
    assert not marker.exists()


def test_toml_that_people_write_is_read() -> None:
    tree: Any = {}
    inner = tree
    for part in "abcdefgh":
        inner[part] = inner = {}
    inner["i"] = 1
    assert parse_toml("a.b.c.d.e.f.g.h.i = 1") == tree
    assert issubclass(Run, BaseModel)
    assert issubclass(ConfigError, LongstepError)
