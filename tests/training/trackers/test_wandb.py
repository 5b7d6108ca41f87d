import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.training.trackers.conftest import Track

from longstep_training.trackers.wandb import WandbConfig

proto = pytest.importorskip(
    "wandb.proto.wandb_internal_pb2", reason="pip install 'longstep[wandb]'"
)
_HEADER, _BLOCK = 7, 32768


def _records(path: Path) -> Iterator[Any]:
    """The records of a file: LevelDB's log format after a header of seven bytes."""
    data, place, whole = path.read_bytes(), _HEADER, b""
    while place < len(data):
        room = _BLOCK - place % _BLOCK
        if room < _HEADER:
            place += room
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + _HEADER])
        whole += data[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (1, 4):  # whole, or the last part
            record = proto.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def _wait_for_the_end(files: list[Path]) -> None:
    """wandb's service may write a moment longer than `finish` takes, if the process goes on."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ended = [any(r.WhichOneof("record_type") == "exit" for r in _records(f)) for f in files]
        if all(ended):
            return
        time.sleep(0.1)
    pytest.fail("the files were not ended")


def test_offline_files_hold_every_number_once(
    track: Track,
    folder: Path,
    tracked: dict[tuple[str, int], float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_DIR"):
        monkeypatch.delenv(variable, raising=False)
    track(WandbConfig())
    files = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert len({path.name for path in files}) == 1  # one id: `wandb sync` makes one run of both
    _wait_for_the_end(files)
    histories = [record.history for path in files for record in _records(path)]
    found = {
        ("/".join(item.nested_key) or item.key, history.step.num): json.loads(item.value_json)
        for history in histories
        for item in history.item
    }
    assert len(found) == sum(len(history.item) for history in histories)
    numbers = {key: value for key, value in found.items() if not key[0].startswith("_")}
    assert numbers == pytest.approx(tracked)
