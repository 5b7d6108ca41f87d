from pathlib import Path

import pytest

from longstep_agents.exports import export

pq = pytest.importorskip("pyarrow.parquet", reason="pip install 'longstep[parquet]'")


def test_tables_hold_what_was_played(run: Path, tmp_path: Path) -> None:
    export("parquet", run, tmp_path / "out")
    episodes = pq.read_table(tmp_path / "out" / "episodes.parquet").to_pylist()
    steps = pq.read_table(tmp_path / "out" / "steps.parquet").to_pylist()
    assert [episode["outcome"] for episode in episodes[:2]] == ["ok", "env_error"]
    assert [episode["turns"] for episode in episodes] == [2, 0, 3]
    assert [(step["number"], step["step"]) for step in steps] == [
        (0, 0),
        (0, 1),
        (2, 0),
        (2, 1),
        (2, 2),
    ]
    assert dict(steps[0]["parts"]) == {"environment": 0.75}
    assert steps[0]["tokens"]["text"] == ["chest", " open"]
    assert [step["credit"] for step in steps] == [0.5, -0.5, None, None, None]


def test_types_do_not_depend_on_what_is_there(run: Path, evaluation: Path, tmp_path: Path) -> None:
    export("parquet", run, tmp_path / "a")
    export("parquet", evaluation, tmp_path / "b")
    for name in ("episodes.parquet", "steps.parquet"):
        first, second = (pq.read_schema(tmp_path / out / name) for out in ("a", "b"))
        assert first == second


def test_pandas_and_datasets_open_them(run: Path, tmp_path: Path) -> None:
    pandas, datasets = pytest.importorskip("pandas"), pytest.importorskip("datasets")
    export("parquet", run, tmp_path / "out")
    steps = pandas.read_parquet(tmp_path / "out" / "steps.parquet")
    assert steps.groupby("number").reward.sum().tolist() == [1.0, 0.0]
    path = str(tmp_path / "out" / "episodes.parquet")
    found = datasets.Dataset.from_parquet(path, cache_dir=str(tmp_path / "cache"))
    assert found["success"] == [True, False, False]
