"""Cases 15, 20, 28 and 41: what workers, logs and models hold is checked before it is used."""

import asyncio
import base64
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.evaluation.log import read_evaluation
from longstep_agents.evaluation.replay import World, verify
from longstep_agents.messages import Message
from longstep_agents.render import Renderer
from longstep_agents.trace import read_rows
from longstep_envs.line import Listener
from longstep_envs.link import WorkerLink
from longstep_envs.snapshots import unpack
from longstep_envs.types import (
    ContractError,
    DataError,
)
from longstep_envs.wire import Decoder, encode

DEEP = "[" * 100_000
DIGITS = "9" * 5_000

# What is said to models


@pytest.mark.case(20)
def test_half_a_character_is_said_to_a_tokenizer_as_a_question_mark(tokenizer: Any) -> None:
    renderer = Renderer(tokenizer)
    said = [renderer.prompt([Message("user", f"look {mark}")]) for mark in ("\ud800", "?")]
    assert said[0] == said[1]


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
        line.listener.received(encode([1, False, told, 0.0]))
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
@pytest.mark.parametrize(
    "change",
    [
        {"steps": [None]},
        {"steps": [{"observation": 1}]},
        {"steps": 5},
        {"task_id": []},
        {"score": ""},
    ],
    ids=str,
)
def test_an_episode_that_is_none_is_not_played_again(change: dict[str, Any]) -> None:
    step = {"observation": "a", "action": "b", "reward": 0.0, "state_key": ""}
    row = {**ROW, "seed": 1, "steps": [step], "final_observation": "", **change}
    told = verify([(0, row)], lambda _: World("longstep/Treasure-v0"))
    assert told.left_out == {"incomplete": 1}


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
@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret", 5, DEEP])
def test_a_manifest_names_files_of_its_checkpoint(tmp_path: Path, name: Any) -> None:
    from longstep_training.checkpoint import read_checkpoint

    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "rl-000001"
    folder.mkdir()
    text = DEEP if name is DEEP else json.dumps([name] if name == 5 else {name: "0"})
    (folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        read_checkpoint(folder)


def test_what_is_read_here_can_be_told_apart_from_what_is_run() -> None:
    """The traps do go off where they are not avoided."""
    told = base64.b64encode(pickle.dumps(Trap(Path("/nonexistent/x")))).decode()
    code = f"import base64, pickle; pickle.loads(base64.b64decode({told!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "FileNotFoundError" in done.stderr
