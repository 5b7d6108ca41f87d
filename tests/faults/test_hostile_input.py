"""Case 41: what is read may come from anybody. It is refused by name, and nothing of it runs."""

import asyncio
import base64
import io
import json
import lzma
import math
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from longstep_agents.config import parse_toml
from longstep_agents.evaluation.log import read_evaluation
from longstep_agents.trace import read_rows
from longstep_envs import make
from longstep_envs.alfworld.games import BUNDLED, GAME_FILE, ZipSource, open_games
from longstep_envs.line import Listener
from longstep_envs.link import WorkerLink
from longstep_envs.snapshots import unpack
from longstep_envs.swe.diffs import PatchError, parse_patch
from longstep_envs.swe.rows import load_rows
from longstep_envs.types import (
    BadValueError,
    ContractError,
    DataError,
    Limits,
    LongstepError,
    UnknownNameError,
)
from longstep_envs.wire import Decoder, encode
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
    assert parse_patch(f"--- a/x\n+++ b/x\n@@ -{DIGITS} +1 @@\n-x\n+y\n")[0].hunks == ()


# What worker processes send


@pytest.mark.case(15)
@pytest.mark.parametrize("body", [DEEP, "NaN", '{"a": -Infinity}', DIGITS, "\xff", ""])
def test_a_frame_that_is_no_message_is_a_breach_of_contract(body: str) -> None:
    data = body.encode("latin-1")
    with pytest.raises(ContractError, match="a frame is not JSON"):
        Decoder().feed(len(data).to_bytes(4, "big") + data)


class _Wire:
    """A line that a test speaks on in place of the worker."""

    pid, patience = 0, None

    def __init__(self) -> None:
        self.listener: Listener | None = None

    def attach(self, listener: Listener) -> None:
        self.listener = listener

    def detach(self) -> None:
        pass

    def send(self, data: bytes) -> None:
        pass

    def leave(self, farewell: bytes) -> None:
        pass

    def kill(self) -> None:
        pass

    def gone(self) -> bool:
        return True


@pytest.mark.case(15)
@pytest.mark.parametrize("told", ["text", None, {}, {"type": 1, "message": "", "retryable": True}])
def test_an_error_of_the_wrong_shape_ends_its_request_only(told: Any) -> None:
    async def ask() -> None:
        line = _Wire()
        link = WorkerLink(line, places=1)
        link.attach()
        asked = asyncio.ensure_future(link.ask("step", 0, "look", seconds=None))
        await asyncio.sleep(0)
        assert line.listener is not None
        line.listener.received(encode([1, False, told]))
        await asked

    with pytest.raises(ContractError, match="the error"):
        asyncio.run(ask())


@pytest.mark.case(15)
@pytest.mark.parametrize("elapsed", [1e999, -1e999, 10**400, math.nan])
def test_a_snapshot_whose_time_is_no_time_is_refused(elapsed: float) -> None:
    with pytest.raises(ContractError, match="counters"):
        unpack(["e", "t", 1, ["look"], "ab", "", [elapsed, 0, None]])


# Logs

ROW = {
    "part": "p",
    "task_id": "t",
    "task_type": "",
    "attempt": 0,
    "outcome": "ok",
    "stop_reason": "success",
    "success": True,
    "score": 1.0,
    "turns": 1,
    "seconds": 1.0,
    "tokens": {"prompt": 1, "sampled": 1},
}


def evaluation(folder: Path, row: str, header: str = "") -> Path:
    (folder / "episodes").mkdir()
    told = header or json.dumps({"asked": {"parts": [{"name": "p", "metric": "success"}]}})
    (folder / "evaluation.json").write_text(told)
    (folder / "episodes" / "eval.jsonl").write_text(json.dumps(ROW) + "\n" + row + "\n")
    return folder


@pytest.mark.case(15)
@pytest.mark.case(28)
@pytest.mark.parametrize(
    ("row", "told"),
    [
        (json.dumps(ROW).replace("1.0", "NaN"), "line 2: key 'score'"),
        (json.dumps(ROW).replace("1.0", "1e999"), "line 2: key 'score'"),
        (json.dumps({**ROW, "success": "yes"}), "line 2: key 'success'"),
        (json.dumps({**ROW, "turns": -1}), "line 2: key 'turns'"),
        (json.dumps({**ROW, "tokens": None}), "line 2: key 'tokens'"),
        ("{}", "line 2: key 'part'"),
        ("[]", "line 2: a list; wanted a JSON object"),
        (json.dumps(ROW)[:40], "line 2: not JSON"),
        (DEEP, "line 2: not JSON .it is nested too deep"),
    ],
    ids=lambda value: value[:20],
)
def test_a_line_of_an_evaluation_is_checked(tmp_path: Path, row: str, told: str) -> None:
    with pytest.raises(DataError, match=f"eval.jsonl, {told}"):
        read_evaluation(evaluation(tmp_path, row))


@pytest.mark.case(28)
@pytest.mark.parametrize("header", [DEEP, "[]", '{"asked": 1}', '{"asked": {"parts": [{}]}}'])
def test_a_header_of_an_evaluation_is_checked(tmp_path: Path, header: str) -> None:
    with pytest.raises(DataError, match=r"evaluation\.json"):
        read_evaluation(evaluation(tmp_path, json.dumps(ROW), header))


@pytest.mark.case(28)
def test_only_half_a_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": "\xe2\x80\xa8"}\n{"a": 2}\n{"a"')
    assert read_rows(path) == [{"a": "\u2028"}, {"a": 2}]


# Models


class Trap:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.mark.case(41)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "model.pt"])
def test_pickled_weights_are_never_opened(tmp_path: Path, name: str, make_model: Any) -> None:
    from longstep_training.policy import load_model

    marker = tmp_path / "opened"
    folder = tmp_path / "policy"
    make_model().config.save_pretrained(folder)
    (folder / name).write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(DataError, match=r"holds no policy that can be loaded.*safetensors"):
        load_model(folder)
    assert not marker.exists()


@pytest.mark.case(41)
def test_code_beside_weights_is_never_run(tmp_path: Path) -> None:
    from longstep_training.policy import load_model

    marker = tmp_path / "run"
    auto = {"AutoConfig": "trap.TrapConfig", "AutoModelForCausalLM": "trap.Trap"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "trap", "auto_map": auto}))
    (tmp_path / "trap.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    with pytest.raises(DataError, match="holds no policy that can be loaded"):
        load_model(tmp_path)
    assert not marker.exists()


@pytest.mark.case(41)
@pytest.mark.parametrize("name", ["../secret", "/dev/zero", "a/../../secret", 5, DEEP])
def test_a_manifest_names_files_of_its_checkpoint(tmp_path: Path, name: Any) -> None:
    from longstep_training.checkpoint import read_checkpoint

    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "rl-000001"
    folder.mkdir()
    text = DEEP if name is DEEP else json.dumps([name] if name == 5 else {name: "0"})
    (folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match="is not a checkpoint"):
        read_checkpoint(folder)


def test_what_is_read_here_can_be_told_apart_from_what_is_run() -> None:
    """The traps do go off where they are not avoided."""
    told = base64.b64encode(pickle.dumps(Trap(Path("/nonexistent/x")))).decode()
    code = f"import base64, pickle; pickle.loads(base64.b64decode({told!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "FileNotFoundError" in done.stderr


def test_toml_that_people_write_is_read() -> None:
    tree: Any = {}
    inner = tree
    for part in "abcdefgh":
        inner[part] = inner = {}
    inner["i"] = 1
    assert parse_toml("a.b.c.d.e.f.g.h.i = 1") == tree
    assert issubclass(Run, BaseModel)
    assert issubclass(ConfigError, LongstepError)
