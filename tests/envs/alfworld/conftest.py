"""Generated games for the ALFWorld tests."""

from pathlib import Path

import pytest

from longstep_tasks.alfworld.generate import generate


@pytest.fixture(scope="session")
def games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 60 small generated games, ten of each task type."""
    out = tmp_path_factory.mktemp("alfworld")
    generate(out, seed=7, splits={"train": 60}, max_receptacles=16)
    return out / "json_2.1.1" / "train"
