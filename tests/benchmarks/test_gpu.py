"""The benchmark of one GPU, with toy sizes on any machine."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    import gpu  # type: ignore[import-not-found]

    return gpu  # type: ignore[no-any-return]


@pytest.mark.parametrize("part", ["update", "decode", "tree", "sync"])
def test_each_part_measures_something(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    from gpu_parts import PARTS  # type: ignore[import-not-found]

    from longstep_training.scores import MOST_LOGITS

    monkeypatch.setitem(MOST_LOGITS, "cpu", MOST_LOGITS["cpu"])  # a part lowers it
    rows = list(PARTS[part](True))
    assert rows
    assert all(row.found > 0 and row.limit > 0 and not row.error for row in rows)


def test_a_part_that_fails_tells_so_in_the_table(gpu: ModuleType) -> None:
    (row,) = gpu._measure_apart("nothing of the kind", True)
    assert "KeyError: 'nothing of the kind'" in row.error
    assert row.cells()[1].startswith("failed: KeyError")


def test_operations_are_counted_as_is_usual(gpu: ModuleType) -> None:
    from gpu_parts import SHAPES

    large = SHAPES[1]
    model = large.layers * (large.hidden * 128 * 48 + 3 * large.hidden * large.feed_forward)
    assert model == pytest.approx(1.41e9, rel=0.01)  # what its card says, without embeddings
    assert large.operations(0, 0.0) == 6 * model
    assert large.operations(0, 1.0) == 6 * (model + large.hidden * large.vocabulary)


@pytest.mark.slow
def test_the_whole_table_comes_on_any_machine() -> None:
    told = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py", "--tiny", "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    table: dict[str, Any] = json.loads(told.stdout)
    assert not [row for row in table["rows"] if row["error"]]
    parts = {row["part"] for row in table["rows"]}
    assert parts == {"update", "decode", "tree", "weight sync", "household"}
