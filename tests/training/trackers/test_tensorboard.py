from pathlib import Path

import pytest
from tests.training.trackers.conftest import Track

from longstep_training.trackers.tensorboard import TensorBoardConfig

accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="pip install 'longstep[tensorboard]'",
)


def test_event_files_hold_every_number_once(
    track: Track, folder: Path, tracked: dict[tuple[str, int], float]
) -> None:
    track(TensorBoardConfig())
    events = accumulator.EventAccumulator(str(folder / "tensorboard")).Reload()
    found = [
        ((name, event.step), event.value)
        for name in events.Tags()["scalars"]
        for event in events.Scalars(name)
    ]
    assert len(found) == len(tracked)
    assert dict(found) == pytest.approx(tracked)
