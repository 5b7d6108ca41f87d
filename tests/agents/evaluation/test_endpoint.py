import asyncio
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.evaluation.contestants import LanguageModel
from longstep_agents.evaluation.endpoint import EndpointVoices
from longstep_agents.evaluation.log import Row
from longstep_agents.evaluation.run import Evaluation, EvaluationSettings
from longstep_agents.language_agent import LanguageAgentConfig
from longstep_agents.models.endpoint import EndpointConfig, Prices
from longstep_agents.models.endpoint_faults import EndpointError
from longstep_envs.types import BadValueError
from longstep_tasks.suites import Part

TREASURE = Part("treasure", "treasure", turns=3, split="test", count=2)
PRICES = Prices(prompt=1.0, completion=10.0, cached=0.5)


def evaluated(
    bad: Any, out: Path, *script: Any, prices: Prices | None = None, **settings: Any
) -> tuple[list[Row], Any]:
    async def play() -> tuple[list[Row], Any]:
        async with bad.endpoint(*script) as server:
            config = EndpointConfig(
                model="good-7b", base_url=server.url, prices=prices, wait=0.0, attempts=3
            )
            model = LanguageModel("good-7b", EndpointVoices(config), LanguageAgentConfig())
            evaluation = Evaluation([TREASURE], model, EvaluationSettings(**settings))
            return await asyncio.to_thread(evaluation.play, out), server

    return asyncio.run(asyncio.wait_for(play(), 60))


def test_a_hosted_model_is_evaluated_and_its_account_kept(bad: Any, tmp_path: Path) -> None:
    rows, server = evaluated(bad, tmp_path / "run", bad.says(bad.message("look")), prices=PRICES)
    assert [(row["outcome"], row["stop_reason"], row["turns"]) for row in rows] == [
        ("truncated", "turn_limit", 3)
    ] * 2
    assert len(server.asked) == 1 + 2 * 3  # the first sees whether it answers at all
    for row in rows:
        assert row["tokens"] == {"prompt": 300, "sampled": 60}
        assert row["cost"] == pytest.approx(3 * (40 + 60 * 0.5 + 20 * 10) / 1e6)
        first, second, _ = row["steps"]
        assert first["begins"]
        assert first["shown"].startswith("[")
        assert second["shown"] == f"[user]\n{second['observation']}"


def test_an_episode_ends_when_its_cost_is_reached(bad: Any, tmp_path: Path) -> None:
    look = bad.says(bad.message("look"))
    rows, _ = evaluated(bad, tmp_path / "run", look, prices=PRICES, cost=3e-4)
    assert {(row["stop_reason"], row["turns"]) for row in rows} == {("cost", 2)}


def test_a_cost_without_prices_is_refused_before_anything_is_played(
    bad: Any, tmp_path: Path
) -> None:
    with pytest.raises(BadValueError, match=r"give the engine's prices"):
        evaluated(bad, tmp_path / "run", bad.says(bad.message()), cost=1.0)


@pytest.mark.case(18)
def test_an_endpoint_that_fails_is_asked_again_and_told_apart(bad: Any, tmp_path: Path) -> None:
    good, down = bad.says(bad.message("look")), bad.says(bad.failure("down"), status=500)
    rows, _ = evaluated(bad, tmp_path / "run", good, *[down] * 6, good)
    # Both episodes fail three times, the first try of each, and are played again.
    assert [row["outcome"] for row in rows] == ["infra_error"] * 2 + ["truncated"] * 2


def test_an_endpoint_that_is_not_there_costs_nothing(bad: Any, tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="wrong model"):
        evaluated(bad, tmp_path / "run", bad.says(bad.failure("wrong model"), status=404))
    assert not (tmp_path / "run" / "episodes" / "eval.jsonl").exists()
