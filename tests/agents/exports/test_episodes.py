import json
from pathlib import Path

import pytest

from longstep_agents.exports.episodes import Step, read_source, safe
from longstep_envs.types import DataError


def test_episodes_are_read_as_the_page_counts_them(run: Path) -> None:
    source = read_source(run)
    won, failed, _ = source
    assert (won.number, won.id, won.run) == (0, "000000-train-7", "run")
    assert (won.reward, won.turns, won.model) == (1.0, 2, "run/rl-000002")
    assert (failed.outcome, failed.error) == ("env_error", "RuntimeError: the world ended")
    assert source.told["unreadable"] == 3


def test_what_came_back_is_what_was_seen_next(run: Path) -> None:
    won = next(iter(read_source(run)))
    assert won.opening == "You see a chest."
    assert [won.answer(0), won.answer(1)] == ["It is open.", "You have gold."]


def test_an_agent_without_a_model_is_told_as_such(evaluation: Path) -> None:
    assert {(e.agent, e.model, e.part) for e in read_source(evaluation)} == {
        ("expert", "", "treasure")
    }


@pytest.mark.parametrize(
    ("action", "names"),
    [
        ("look", []),
        ('{"name": "a", "arguments": {}}', ["a"]),
        ('{"name": "a", "arguments": {}}\n{"name": "b", "arguments": {"c": 1}}', ["a", "b"]),
        ('{"name": "a", "arguments": "c"}', []),
        ('{"name": "a"}\nlook', []),
        ("[" * 100_000, []),
        ("", []),
    ],
)
def test_an_action_is_read_as_calls_only_if_all_of_it_is(action: str, names: list[str]) -> None:
    assert [call["name"] for call in Step(action=action).calls] == names


@pytest.mark.parametrize(
    "text", ["../../x", "..", "", "CON", "a/b", "x\x00", "é", "a" * 500, "-rf"]
)
def test_names_of_files_hold_nothing_but_letters(text: str) -> None:
    name = safe(text)
    assert 0 < len(name) <= 80
    assert name.replace("-", "").replace("_", "").isalnum()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a training run nor an evaluation"):
        read_source(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(DataError, match="no episodes yet"):
        read_source(tmp_path)


def test_numbers_that_no_format_holds_become_nothing(run: Path) -> None:
    path = run / "episodes" / "rl.jsonl"
    path.write_text(json.dumps({"phase": "rl", "seed": 10**30, "score": float("inf")}) + "\n")
    (episode,) = read_source(run)
    assert (episode.seed, episode.score, episode.steps) == (0, 0.0, [])
