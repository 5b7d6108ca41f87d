import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.evaluation.contestants import LanguageModel
from longstep_agents.evaluation.endpoint import EndpointVoices
from longstep_agents.evaluation.log import Row
from longstep_agents.evaluation.run import Evaluation, EvaluationSettings
from longstep_agents.faulty import FaultyEndpoint
from longstep_agents.language_agent import LanguageAgentConfig
from longstep_agents.models.endpoint import EndpointConfig, Prices
from longstep_agents.models.endpoint_faults import EndpointError
from longstep_envs.types import BadValueError
from longstep_tasks.suites import Part

TREASURE = Part("treasure", "treasure", turns=3, split="test", count=2)
ALONE = replace(TREASURE, count=1)
PRICES = Prices(prompt=1.0, completion=10.0, cached=0.5)


def asking(url: str, part: Part, *, settings: Any = None, **options: Any) -> Evaluation:
    """An evaluation of what answers at an address."""
    config = EndpointConfig(model="good-7b", base_url=url, **options)
    model = LanguageModel("good-7b", EndpointVoices(config), LanguageAgentConfig())
    return Evaluation([part], model, EvaluationSettings(**settings or {}))


def evaluated(
    bad: Any,
    out: Path,
    *script: Any,
    part: Part = TREASURE,
    prices: Prices | None = None,
    **settings: Any,
) -> tuple[list[Row], Any]:
    async def play() -> tuple[list[Row], Any]:
        async with bad.endpoint(*script) as server:
            options = {"prices": prices, "wait": 0.0, "attempts": 3}
            evaluation = asking(server.url, part, settings=settings, **options)
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


@pytest.mark.case(18)
def test_a_wait_for_the_endpoint_is_no_working_time(bad: Any, tmp_path: Path) -> None:
    look = bad.says(bad.message("look"))
    busy = bad.says(bad.failure("slow down"), 429, retry_after="1")
    (row,), _ = evaluated(
        bad, tmp_path / "run", look, *[busy, look] * 3, part=ALONE, working_seconds=1.5
    )
    assert (row["stop_reason"], row["turns"]) == ("turn_limit", 3)
    assert row["waiting_seconds"] > 2.9


@pytest.mark.case(19)
def test_a_prompt_that_grew_too_long_ends_the_episode_with_its_score(
    bad: Any, tmp_path: Path
) -> None:
    look = bad.says(bad.message("look"))
    full = bad.says(bad.failure("maximum context length is 8 tokens"), 400)
    (row,), server = evaluated(bad, tmp_path / "run", look, look, full, part=ALONE)
    assert (row["outcome"], row["stop_reason"]) == ("truncated", "context_limit")
    assert (row["turns"], row["score"], row["success"]) == (1, 0.0, False)
    assert len(server.asked) == 1 + 2  # it is not sent again


@pytest.mark.case(19)
def test_a_first_prompt_that_is_too_long_is_no_episode(bad: Any, tmp_path: Path) -> None:
    look = bad.says(bad.message("look"))
    full = bad.says(bad.failure("prompt is too long"), 400)
    rows, _ = evaluated(bad, tmp_path / "run", look, full)
    assert {row["outcome"] for row in rows} == {"infra_error"}
    assert "context" in rows[0]["error"]


SCALE = 0.05
"""Seconds here for each second of an endpoint that is away, and of the waits for it."""


@pytest.mark.case(21)
def test_an_endpoint_that_is_away_for_half_a_minute_costs_no_episode(
    bad: Any, tmp_path: Path
) -> None:
    waits = EndpointConfig(model="m")
    part = Part("treasure", "treasure", turns=4, split="test", count=8)

    async def play() -> tuple[list[Row], int, int]:
        async with bad.endpoint(bad.says(bad.message("look"))) as server:
            before = FaultyEndpoint(server.url.removesuffix("/v1"), rate=0.0)
            async with before.open() as url:
                evaluation = asking(
                    f"{url}/v1", part, wait=waits.wait * SCALE, attempts=waits.attempts
                )
                playing = asyncio.create_task(asyncio.to_thread(evaluation.play, tmp_path / "run"))
                while before.requests < 5:
                    await asyncio.sleep(0.001)
            await asyncio.sleep(30 * SCALE)
            answered = len(server.asked)
            async with before.open(port=int(url.rpartition(":")[2])):
                return await playing, answered, len(server.asked)

    rows, answered, asked = asyncio.run(asyncio.wait_for(play(), 60))
    assert [(row["outcome"], row["stop_reason"]) for row in rows] == [
        ("truncated", "turn_limit")
    ] * 8
    assert len({row["task_id"] for row in rows}) == 8
    assert answered < 1 + 8 * 4 == asked  # it was away while they played
    assert sum(row["waiting_seconds"] for row in rows) > 30 * SCALE * 0.8
