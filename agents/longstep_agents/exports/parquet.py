"""Two tables in Parquet, `episodes` and `steps`, joined by `run` and `number`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longstep_agents.exports.episodes import Episode, Source, read_source
from longstep_agents.exports.files import new_folder
from longstep_envs.packages import package

pa = package("pyarrow", "parquet")
pq = package("pyarrow.parquet", "parquet")

_BATCH = 256
"""Episodes that are in memory together, and in one row group."""
_NUMBERS = pa.map_(pa.string(), pa.float64())
_EPISODES = pa.schema(
    {
        **dict.fromkeys(("id", "run"), pa.string()),
        "number": pa.int64(),
        **dict.fromkeys(("agent", "model", "phase"), pa.string()),
        "iteration": pa.int64(),
        **dict.fromkeys(("group", "part"), pa.string()),
        "attempt": pa.int64(),
        "superseded": pa.bool_(),
        **dict.fromkeys(("env_id", "task_id", "task_type"), pa.string()),
        "seed": pa.int64(),
        **dict.fromkeys(("outcome", "stop_reason", "error"), pa.string()),
        "success": pa.bool_(),
        **dict.fromkeys(("score", "reward"), pa.float64()),
        "turns": pa.int64(),
        "seconds": pa.float64(),
        **dict.fromkeys(("prompt_tokens", "sampled_tokens"), pa.int64()),
        "cost": pa.float64(),
        "final_observation": pa.string(),
    }
)
_TOKENS = pa.struct(
    {
        "text": pa.list_(pa.string()),
        **dict.fromkeys(("logprob", "entropy", "chosen", "credit"), pa.list_(pa.float32())),
    }
)
_STEPS = pa.schema(
    {
        "run": pa.string(),
        **dict.fromkeys(("number", "step"), pa.int64()),
        **dict.fromkeys(("observation", "action", "text", "reasoning"), pa.string()),
        **dict.fromkeys(("reward", "credit", "logprob"), pa.float64()),
        "state_key": pa.string(),
        "action_valid": pa.bool_(),
        **dict.fromkeys(("target", "fault"), pa.string()),
        "unsayable": pa.int64(),
        "parts": _NUMBERS,
        "shown": pa.string(),
        "begins": pa.bool_(),
        "tokens": _TOKENS,
    }
)


def export(run: Path, out: Path) -> int:
    """Write the folder; how many episodes it has."""
    source = read_source(run)
    with (
        new_folder(out) as folder,
        pq.ParquetWriter(folder / "episodes.parquet", _EPISODES) as episodes,
        pq.ParquetWriter(folder / "steps.parquet", _STEPS) as steps,
    ):
        for batch in _batches(source):
            rows = [episode.model_dump(exclude={"steps"}) for episode in batch]
            episodes.write_table(pa.Table.from_pylist(rows, _EPISODES))
            turns = [row for episode in batch for row in _steps(episode)]
            steps.write_table(pa.Table.from_pylist(turns, _STEPS))
    return len(source.places)


def _steps(episode: Episode) -> Iterator[dict[str, Any]]:
    for number, step in enumerate(episode.steps):
        told = step.model_dump()
        place = {"run": episode.run, "number": episode.number, "step": number}
        yield {**place, **told, "parts": list(told["parts"].items())}


def _batches(source: Source) -> Iterator[list[Episode]]:
    batch: list[Episode] = []
    for episode in source:
        batch.append(episode)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
