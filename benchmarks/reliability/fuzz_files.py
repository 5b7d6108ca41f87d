"""Targets: task files, data files, patches and archives of every environment."""

from __future__ import annotations

import io
import json
import random
import tarfile
import tempfile
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.reliability.fuzz_targets import Target

_PATCH = (
    b"diff --git a/pkg/a.py b/pkg/a.py\nindex 1..2 100644\n--- a/pkg/a.py\n+++ b/pkg/a.py\n"
    b"@@ -1,2 +1,2 @@ def f():\n kept\n-broken\n+whole\n\\ No newline at end of file\n"
    b'diff --git "a/\\303\\244.py" b/b.py\nsimilarity index 90%\nrename from "\\303\\244.py"\n'
    b"rename to b.py\ndiff --git a/new.py b/new.py\nnew file mode 100755\n--- /dev/null\n"
    b"+++ b/new.py\n@@ -0,0 +1 @@\n+check\n"
)
_ROW = {
    "instance_id": "owner__name-1",
    "repo": "owner/name",
    "base_commit": "abc",
    "patch": _PATCH.decode(),
    "test_patch": "--- a/tests/t.py\n+++ b/tests/t.py\n@@ -0,0 +1 @@\n+check\n",
    "problem_statement": "It is broken.",
    "FAIL_TO_PASS": '["tests/t.py::test_x[a, b]"]',
    "PASS_TO_PASS": "[]",
    "version": "1.0",
}
_SMITH = {**_ROW, "image_name": "swebench/swesmith", "FAIL_TO_PASS": ["tests/t.py::test_x"]}
_PRODUCT = {
    "asin": "B000000001",
    "name": "Lamp in brass",
    "category": "home",
    "query": "Desk Lamps ",
    "product_category": "Home \u203a Lighting",
    "full_description": "It lights a desk.",
    "small_description": ["bright", "steady"],
    "pricing": "$19.99$25.00",
    "customization_options": {"Color": [{"value": "Navy/Blue", "image": "b.jpg"}], "Size": None},
    "images": ["lamp.jpg"],
}
_KNOWN = {"attributes": ["dimmable"], "instruction": "A lamp", "instruction_attributes": ["dim"]}
_WISH = {
    "instruction": "i want a lamp.",
    "instruction_attributes": ["d"],
    "instruction_options": [],
}
_QUESTION = {
    "question": "Who was Oda's teacher?",
    "data_source": "nq",
    "prompt": [{"role": "user", "content": "Think. Question: who?\n"}],
    "reward_model": {"style": "rule", "ground_truth": {"target": ["Tis Mork"]}},
    "extra_info": {"split": "train", "index": 0},
    "supporting_ids": ["a", "b"],
    "hops": 2,
}
_PASSAGES = b"".join(
    json.dumps({"id": name, "contents": f'"{name}"\nThe mayor of {name} is Oda.'}).encode() + b"\n"
    for name in ("Velm", "Velmby", "Tis")
)


def alfworld(folder: Path, _name: str) -> Target:
    """Games of ALFWorld, and every expert's plan of those that load."""
    from longstep_envs.alfworld.engine import FastEngine
    from longstep_envs.alfworld.games import BUNDLED, FolderSource, Games, ZipSource

    bundled = ZipSource(BUNDLED)
    seeds = [bundled.read(game) for game in bundled.ids()[:3]]
    place = folder / "train" / "game"
    place.mkdir(parents=True)
    (place / "traj_data.json").write_text("{}")
    (place / "game.tw-pddl").write_bytes(seeds[0])

    def feed(data: bytes) -> None:
        (place / "game.tw-pddl").write_bytes(data)
        games = Games(FolderSource(folder / "train"))
        engine = FastEngine(games)
        turn = engine.start("game")
        for command in (*turn.commands[:2], "look", "x" * 50):
            turn = engine.act(command)

    return Target(feed, seeds, (b"(:init", b"(:goal", b"objecttype", b"inreceptacle", b")", b"rhs"))


def alfworld_zip(folder: Path, _name: str) -> Target:
    """Zip files of games."""
    from longstep_envs.alfworld.games import BUNDLED, ZipSource, open_games

    bundled = ZipSource(BUNDLED)
    game = bundled.read(bundled.ids()[0])
    packed = [
        _zip({f"{name}/game.tw-pddl": game, f"{name}/traj_data.json": b"{}"}) for name in "ab"
    ]

    def feed(data: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".zip") as file:
            file.write(data)
            file.flush()
            games = open_games(file.name, None)
            for game_id in games.ids[:3]:
                games.problem(game_id)

    return Target(feed, packed, (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"\xff\xff\xff\xff"))


def textworld(folder: Path, _name: str) -> Target:
    """The rules of TextWorld's games, and the check of what is compiled."""
    from longstep_envs.textworld.games import bundled
    from longstep_envs.textworld.machine import check_story
    from longstep_envs.textworld.world import World

    games = bundled()
    stories = [games.story(games.ids[number]) for number in (0, 5)]
    rules = [story.with_suffix(".json").read_bytes() for story in stories]

    def feed(data: bytes) -> None:
        path = folder / "game.z8"
        path.write_bytes(data)
        if data[:1] in (b"\x08", b"\0"):
            check_story(path)
        else:
            world = World(path)
            world.situation(world.start)

    return Target(feed, [*rules, stories[0].read_bytes()])


def _shop(folder: Path, data: bytes) -> tuple[Path, Path, Path]:
    """The three files of a shop, which one input holds as an object or one behind the other."""
    names = ("items_shuffle.json", "items_ins_v2.json", "items_human_ins.json")
    parts = data.split(b"\n", 2)
    parts += [b"{}"] * (3 - len(parts))
    for name, part in zip(names, parts, strict=True):
        (folder / name).write_bytes(part)
    products, attributes, asked = (folder / name for name in names)
    return products, attributes, asked


def _shop_seeds() -> list[bytes]:
    other = {**_PRODUCT, "asin": "B000000002", "pricing": None, "images": [None]}
    parts: list[Any] = [[_PRODUCT, other], {"B000000001": _KNOWN}, {"B000000001": [_WISH]}]
    return [b"\n".join(json.dumps(part).encode() for part in parts)]


def webshop_products(folder: Path, _name: str) -> Target:
    """Products, their attributes and what people asked for."""
    from longstep_envs.webshop.products import read_products

    def feed(data: bytes) -> None:
        list(read_products(*_shop(folder, data), None))

    return Target(feed, _shop_seeds(), (b"$", b'"asin"', b"[]", b"\n", b'"nan"', b"1e999"))


def webshop_catalogue(folder: Path, _name: str) -> Target:
    """The same to the end: the catalogue, its index and its goals, and a search."""
    from longstep_envs.webshop.catalogue import open_catalogue
    from longstep_envs.webshop.goals import open_goals

    def feed(data: bytes) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as shop:
            _shop(Path(shop), data)
            catalogue = open_catalogue(shop)
        for kind in ("human", "synthetic"):
            for goal in open_goals(catalogue, kind, 0)[:3]:
                json.dumps(goal.instruction)

    return Target(feed, _shop_seeds(), (b"$", b'"asin"', b"[]", b'"nan"', b"1e999"))


def search_corpus(folder: Path, _name: str) -> Target:
    """Corpora of passages, to their index."""
    from longstep_envs.search.corpus import open_corpus
    from longstep_envs.search.retrievers import LocalRetriever

    def feed(data: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".jsonl") as file:
            file.write(data)
            file.flush()
            corpus = open_corpus(file.name)
            LocalRetriever(corpus).retrieve(["mayor of Velm", "\ud800"], 2)
            corpus.find("Velm")

    return Target(feed, [_PASSAGES], (b'"id"', b'"contents"', b"\n\n", b"{}"))


def search_questions(folder: Path, _name: str) -> Target:
    """Questions as JSON lines."""
    from longstep_envs.search.questions import load_questions

    row = json.dumps(_QUESTION).encode()

    def feed(data: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".jsonl") as file:
            file.write(data)
            file.flush()
            load_questions((Path(file.name),))

    return Target(feed, [row + b"\n" + row + b"\n"], (b"Question:", b"\n", b"[]"))


def search_parquet(folder: Path, _name: str) -> Target:
    """Questions as parquet."""
    from longstep_envs.search.questions import load_questions

    def feed(data: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".parquet") as file:
            file.write(data)
            file.flush()
            load_questions((Path(file.name),))

    return Target(feed, [_parquet(folder, [_QUESTION] * 3)], (b"PAR1", b"\x15", b"\xff" * 8))


def swe_rows(folder: Path, _name: str) -> Target:
    """Rows of software tasks as JSON lines."""
    from longstep_envs.swe.rows import load_rows

    def feed(data: bytes) -> None:
        path = folder / "rows.jsonl"
        path.write_bytes(data)
        load_rows(path)

    seed = b"".join(json.dumps(row).encode() + b"\n" for row in (_ROW, _SMITH))
    return Target(feed, [seed], (b"@@ -1 +1 @@", b"rename to ../x", b"--- a/", b"\\n", b"::"))


def swe_parquet(folder: Path, _name: str) -> Target:
    """The same as parquet."""
    from longstep_envs.swe.rows import load_rows

    def feed(data: bytes) -> None:
        path = folder / "rows.parquet"
        path.write_bytes(data)
        load_rows(path)

    return Target(feed, [_parquet(folder, [_ROW] * 3)], (b"PAR1", b"\x15", b"\xff" * 8))


def patch(_folder: Path, _name: str) -> Target:
    """Patches: read, turned round, applied. No path of theirs may lead out of the tree."""
    from longstep_envs.swe.diffs import apply_patch, parse_patch, reverse_patch

    files, tests = {"pkg/a.py": b"kept\nbroken\n", "ä.py": b"x\n"}, str(_ROW["test_patch"])

    def feed(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        for diff in parse_patch(text):
            for path in filter(None, (diff.old, diff.new)):
                assert not path.startswith("/"), path
                assert ".." not in path.split("/"), path
        parse_patch(reverse_patch(text))
        if text != tests:
            apply_patch(files, text)

    marks: tuple[bytes, ...] = (
        b"rename from ",
        b"rename to ../x",
        b"+++ ",
        b"--- ",
        b"@@ -0,0 +1 @@\n",
        b"\\ No",
    )
    marks += (b'"a/\\056\\056/x"', b"deleted file mode 100644\n", b"diff --git ", b"/dev/null")
    return Target(feed, [_PATCH, tests.encode()], marks)


def tar(folder: Path, _name: str) -> Target:
    """Archives of files for sandboxes. No path of theirs may lead out of the tree."""
    from longstep_envs.sandbox.trees import Tree

    def feed(data: bytes) -> None:
        path = folder / "tree.tar"
        path.write_bytes(data)
        for entry in Tree.load(path).entries:
            assert not entry["path"].startswith("/"), entry
            assert ".." not in entry["path"].split("/"), entry

    seeds = [_tar("w"), _tar("w:gz"), _tar("w:xz")]
    return Target(feed, seeds, (b"../", b"/etc/passwd", b"1", b"2", b"5", b"x", b"L", b"0000644"))


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _tar(mode: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, kind, link in (
            ("pkg", tarfile.DIRTYPE, ""),
            ("pkg/a.py", tarfile.REGTYPE, ""),
            ("pkg/link", tarfile.SYMTYPE, "a.py"),
            ("hard", tarfile.LNKTYPE, "pkg/a.py"),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.size = 6 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"x = 1\n"))
    return buffer.getvalue()


def _parquet(folder: Path, rows: list[dict[str, Any]]) -> bytes:
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    path = folder / f"seed-{random.getrandbits(32)}.parquet"
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    return path.read_bytes()
