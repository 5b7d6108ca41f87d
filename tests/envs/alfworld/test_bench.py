from pathlib import Path

import pytest

from longstep_envs.alfworld import bench as module
from longstep_envs.alfworld.bench import bench
from longstep_envs.alfworld.engine import FastEngine, Turn
from longstep_envs.types import DataError


class Liar(FastEngine):
    """An engine that reverses the admissible list and misses every win."""

    def act(self, command: str) -> Turn:
        turn = super().act(command)
        return turn._replace(commands=turn.commands[::-1], won=False)


def test_an_engine_agrees_with_itself(games: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OfficialEngine", FastEngine)
    report = bench(games, 3000, seed=2)
    assert (report.states, report.games, report.mismatches) == (3000, 60, 0)
    assert set(report.task_types.values()) == {10}
    # The walks must reach every rule, or agreement says little.
    verbs = "clean close cool examine go heat help inadmissible inventory look move open slice"
    assert set(report.verbs) >= {*verbs.split(), "take", "use"}
    assert report.won_states > 100
    assert report.as_dict()["fast_us_per_step"] > 0


def test_a_difference_in_order_or_win_is_found(
    games: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OfficialEngine", Liar)
    report = bench(games, 120, seed=2, max_games=6)
    assert report.mismatches == 120 - 6  # all but the first states
    assert "commands: official" in report.examples[0]
    assert len(report.examples) == 20


def test_the_walk_is_seeded(games: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OfficialEngine", FastEngine)
    first, same, other = (bench(games, 300, seed=seed).verbs for seed in (1, 1, 2))
    assert first == same != other


def test_nothing_to_compare_is_refused(games: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="asked to compare 0 states"):
        bench(games, 0)
    with pytest.raises(DataError, match="no games found"):
        bench(tmp_path, 10)
