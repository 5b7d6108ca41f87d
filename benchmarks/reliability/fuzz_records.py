"""Targets: what workers, runs and other programs have written."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.reliability.fuzz_targets import Target

from longstep_envs.types import BadValueError

_STEP = {
    "observation": "You are in the hall.",
    "action": '{"name": "open", "arguments": {"id": "p1"}}',
    "reward": 0.5,
    "credit": None,
    "state_key": "ab12",
    "action_valid": True,
    "logprob": -1.5,
    "parts": {"outcome": 0.5},
    "shown": "You are",
    "begins": True,
    "tokens": {"text": ["open", " it"], "logprob": [-0.5, -1.0], "chosen": [1, 0]},
    "reasoning": "git log --all && echo PASSED > reward.txt",
}
_ROW: dict[str, Any] = {
    "phase": "rl",
    "iteration": 3,
    "part": "treasure",
    "attempt": 0,
    "env_id": "longstep/Treasure-v0",
    "task_id": "test/0",
    "task_type": "t",
    "seed": 7,
    "success": True,
    "score": 1.0,
    "outcome": "ok",
    "stop_reason": "success",
    "error": "WorkerDied: 0x1f",
    "seconds": 1.25,
    "cost": 0.01,
    "turns": 2,
    "tokens": {"prompt": 30, "sampled": 4},
    "steps": [_STEP, {**_STEP, "action": "look", "target": "memory"}],
    "final_observation": "Done.",
    "group": 2,
}
_PART = {"name": "treasure", "tasks": "treasure", "turns": 30, "metric": "success", "played": 2}
_HEADER = {
    "asked": {
        "contestant": {"name": "expert", "agent": "expert"},
        "settings": {"attempts": 2},
        "parts": [{**_PART, "data": ["generated"]}],
    },
    "made_with": {"packages": {"torch": "2"}},
}
_METRICS = (
    {"phase": "rl", "iteration": 1, "success": 0.5, "timing": {"update": 1.0}, "episodes": 8},
    {
        "phase": "eval",
        "after": "rl",
        "iteration": 1,
        "name": "held-out",
        "success": 0.5,
        "low": 0.4,
        "high": 0.6,
        "episodes": 30,
        "by_task_type": {"t": {"success": 0.5, "low": 0.4, "high": 0.6, "episodes": 30}},
    },
)
_CONFIG = """
[train]
env_id = "longstep/Treasure-v0"
[rl]
iterations = 1
[[evaluation]]
name = "held-out"
[evaluation.tasks]
env_id = "longstep/Treasure-v0"
"""


def frames(_folder: Path, _name: str) -> Target:
    """Frames from a worker, as they come in parts, up to the values of the contract."""
    from longstep_envs.contract import checked_reset, checked_step
    from longstep_envs.snapshots import unpack
    from longstep_envs.wire import Decoder, encode

    info = {"task_id": "t", "score": 0.5, "success": False, "admissible_commands": ["look"]}
    info |= {"reward_parts": {"a": 0.5}, "extra": {"deep": [{"a": None}]}}
    error = {"type": "ValueError", "message": "no", "retryable": True}
    packed = ["longstep/Treasure-v0", "t", 3, ["look"], "ab", "", [1.5, 0, "turn_limit"]]
    answers = ([1, True, ["seen", info]], [2, True, ["seen", 0.5, False, False, info]])
    answers += ([3, False, error], [4, True, packed])  # type: ignore[assignment]
    shapes: list[Callable[[Any], Any]] = [checked_reset, checked_step, unpack]

    def feed(data: bytes) -> None:
        decoder, half = Decoder(), len(data) // 2
        for message in [*decoder.feed(data[:half]), *decoder.feed(data[half:])]:
            value = message[2] if isinstance(message, list) and len(message) == 3 else message
            shapes[len(data) % 3](tuple(value) if isinstance(value, list) else value)

    body = [json.dumps(answer).encode() for answer in answers]
    framed = [len(one).to_bytes(4, "big") + one for one in body]

    def feed_json(data: bytes) -> None:
        """What the tree was changed to goes out as a frame; all else is taken as frames."""
        feed(len(data).to_bytes(4, "big") + data if data[:1] == b"[" else data)

    encode(answers[0])
    seeds = [framed[0], *body]
    return Target(_tolerant(feed_json, seeds), seeds, (b"\0\0\0\1", b"\xff\xff\xff\xff", b"NaN"))


def _tolerant(feed: Callable[[bytes], object], seeds: list[bytes]) -> Callable[[bytes], object]:
    """The same: a seed is valid for one of several readers, and refused by the others."""

    def tolerant(data: bytes) -> object:
        try:
            return feed(data)
        except TypeError as error:
            if data in seeds and "wanted" in str(error):
                return None
            raise

    return tolerant


def snapshot(_folder: Path, _name: str) -> Target:
    """Snapshots from a worker."""
    from longstep_envs.snapshots import unpack

    packed = ["longstep/Treasure-v0", "t", 3, ["look", "take"], "ab", "data", [1.5, 0, None]]

    def feed(data: bytes) -> None:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise BadValueError("no JSON") from None
        unpack(value)

    return Target(feed, [json.dumps(packed).encode()])


def atif(folder: Path, _name: str) -> Target:
    """Recordings of others, to be imitated."""
    from longstep_agents.atif import read_atif

    call = {"tool_call_id": "c", "function_name": "open", "arguments": {"id": "p"}}
    ours = {"longstep": {"action": "look", "reward": 0.5, "target": "environment"}}
    agent = {"source": "agent", "message": "x", "tool_calls": [call], "extra": ours}
    agent["observation"] = {"results": [{"content": [{"type": "text", "text": "seen"}]}]}
    steps = [{"source": "user", "message": "Find it."}, {**agent, "step_id": 1}]
    whole: dict[str, Any] = {"schema_version": "ATIF-v1.8", "session_id": "s", "steps": steps}
    whole["extra"] = {"longstep": {"env_id": "e", "task_id": "t", "seed": 1, "success": True}}

    def feed(data: bytes) -> None:
        path = folder / "a.json"
        path.write_bytes(data)
        read_atif(path)

    return Target(feed, [json.dumps(whole).encode()], (b"ATIF-v1.0", b"is_copied_context"))


def evaluation(folder: Path, _name: str) -> Target:
    """Logs of evaluations, to be resumed, summed up and compared."""
    from longstep_agents.evaluation.log import read_evaluation
    from longstep_agents.evaluation.summary import compare_parts, summarise

    seeds = _logs(_HEADER, _ROW, {**_ROW, "attempt": 1, "task_id": "test/1"})

    def feed(data: bytes) -> None:
        run = _evaluation(folder, data)
        header, rows = read_evaluation(run)
        json.dumps([part.as_row() for part in summarise(header, rows)])
        compare_parts(rows, rows)

    return Target(feed, seeds)


def checkpoint(folder: Path, _name: str) -> Target:
    """What tells of a checkpoint that it is whole, and how far it had come."""
    from longstep_training.checkpoint import find_checkpoints, read_checkpoint, read_methods

    place = folder / "rl-000001"
    place.mkdir()
    (place / "a").write_bytes(b"x")
    manifest = {"a": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}
    progress = {"phase": "rl", "iteration": 1, "seconds": 1.5, "policy_version": 3}
    parts = [json.dumps(one).encode() for one in (manifest, progress, {"entropy": [1.5]})]

    def feed(data: bytes) -> None:
        pieces = data.split(b"\n", 2)
        for name, piece in zip(("manifest", "progress", "methods"), pieces, strict=False):
            (place / f"{name}.json").write_bytes(piece)
        read_checkpoint(place)
        read_methods(place)
        find_checkpoints(folder)

    marks = (b"/dev/zero", b"../../etc/passwd", b"\n")
    return Target(feed, [b"\n".join(parts)], marks)


def training(folder: Path, _name: str) -> Target:
    """Runs that training left, as the page and the replays read them."""
    from longstep_agents.evaluation.replay import _unplayable, acted
    from longstep_training.commands.replay import _find

    seeds = [b"\0".join(map(str.encode, (_CONFIG, _lines(*_METRICS), _lines(_ROW, _ROW))))]

    def feed(data: bytes) -> None:
        run = folder / "run"
        _training(run, data)
        _show(run)
        places, worlds = _find(run)
        for place in places:
            row = place.read() or {}
            worlds(row)
            acted(row) if not _unplayable(row) else None

    return Target(feed, seeds, (b"\0", b"\n", b"[rl]\n", b"= nan", b"extends"))


def page(folder: Path, _name: str) -> Target:
    """Runs of evaluations as the page shows them, and as one file."""
    from longstep_agents.page.export import export as write

    seeds = _logs(_HEADER, _ROW, {**_ROW, "attempt": 1})

    def feed(data: bytes) -> None:
        run = _evaluation(folder, data)
        _show(run)
        write([run], folder / "page.html", title=data[:20].decode("utf-8", "replace"))

    return Target(feed, seeds, (b"</script>", b"<!--", "\u2028".encode()))


def export(folder: Path, _name: str) -> Target:
    """Runs of evaluations in the formats of others."""
    from longstep_agents.exports import EXPORTS
    from longstep_agents.exports import export as write

    forms = [name for name in EXPORTS if name != "inspect"]  # whose package takes a second a file
    seeds = _logs(_HEADER, _ROW, {**_ROW, "attempt": 1})

    def feed(data: bytes) -> None:
        run = _evaluation(folder, data)
        with tempfile.TemporaryDirectory(dir=folder) as out:
            write(forms[len(data) % len(forms)], run, Path(out, "out"))
            inside = {path.resolve().is_relative_to(out) for path in Path(out).rglob("*")}
            assert inside <= {True}, "an export left its folder"

    return Target(feed, seeds)


def _logs(header: Any, *rows: Any) -> list[bytes]:
    return [json.dumps(header).encode() + b"\n" + _lines(*rows).encode()]


def _lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _evaluation(folder: Path, data: bytes) -> Path:
    """An evaluation's folder: the first line is its header, the others are episodes."""
    run = folder / "run"
    (run / "episodes").mkdir(parents=True, exist_ok=True)
    header, _, rows = data.partition(b"\n")
    (run / "evaluation.json").write_bytes(header)
    (run / "episodes" / "eval.jsonl").write_bytes(rows)
    return run


def _training(run: Path, data: bytes) -> None:
    shutil.rmtree(run, ignore_errors=True)
    (run / "episodes").mkdir(parents=True)
    files = ("config.toml", "metrics.jsonl", "episodes/rl.jsonl")
    for name, piece in zip(files, data.split(b"\0", 2), strict=False):
        (run / name).write_bytes(piece)


def _show(run: Path) -> None:
    """Everything that the page's server would answer."""
    from longstep_agents.page.export import dump
    from longstep_agents.page.library import Library

    library = Library([run])
    dump(library.index("title"))
    for name in library.shards():
        dump(library.shard(name))
