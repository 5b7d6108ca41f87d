import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from longstep_envs.alfworld import ALFWorldEnv, Explorer
from longstep_envs.alfworld.explorer import Wish, read_task
from longstep_envs.types import DataError


def episodes(games: Path, limit: int, **options: object) -> Iterator[tuple[bool, int]]:
    """Success and length of one explorer's episode per game."""
    env = ALFWorldEnv(games)
    for number, task in enumerate(env.task_ids):
        explorer = Explorer(random.Random(number), **options)  # type: ignore[arg-type]
        observation, info = env.reset(seed=number, options={"task": task})
        turn, over = 0, False
        while not over and turn < limit:
            action = explorer.act(observation, info["admissible_commands"])
            observation, _, over, _, info = env.step(action)
            turn += 1
        yield over, turn


def test_the_explorer_solves_small_rooms_within_twenty_turns(games: Path) -> None:
    assert sum(won for won, _ in episodes(games, 20)) >= 0.95 * 60


@pytest.mark.parametrize("prior", [True, False])
@pytest.mark.parametrize("wander", [0.0, 0.3])
def test_the_explorer_always_solves_given_time(games: Path, prior: bool, wander: float) -> None:
    assert all(won for won, _ in episodes(games, 300, prior=prior, wander=wander))


def test_likely_places_first_is_faster(games: Path) -> None:
    likely, blind = (
        sum(turns for _, turns in episodes(games, 300, prior=prior)) for prior in (True, False)
    )
    assert likely < 0.8 * blind


def test_the_explorer_never_says_anything_inadmissible(games: Path) -> None:
    env = ALFWorldEnv(games)
    for task in env.task_ids:
        _, info = env.reset(seed=0, options={"task": task, "expert": "explore"})
        valid = [env.step(action)[4]["action_valid"] for action in info["expert_plan"]]
        assert all(valid)


def test_the_explorer_recovers_from_another_players_moves(games: Path) -> None:
    env, rng = ALFWorldEnv(games), random.Random(0)
    for task in env.task_ids:
        explorer = Explorer(rng)
        observation, info = env.reset(seed=0, options={"task": task})
        for turn in range(300):
            action = explorer.act(observation, info["admissible_commands"])
            if turn < 15:
                action = rng.choice(info["admissible_commands"])
            observation, _, over, _, info = env.step(action)
            if over:
                break
        assert over, task


@pytest.mark.parametrize(
    ("sentence", "wish"),
    [
        ("put a mug in desk.", Wish("mug", "desk")),
        ("put some mug on desk.", Wish("mug", "desk")),
        ("look at cd under the desklamp.", Wish("cd", lamp="desklamp")),
        ("examine the cd with the desklamp.", Wish("cd", lamp="desklamp")),
        ("put a clean pan in cabinet.", Wish("pan", "cabinet", verb="clean")),
        ("clean some pan and put it in cabinet.", Wish("pan", "cabinet", verb="clean")),
        ("put a hot egg in fridge.", Wish("egg", "fridge", verb="heat")),
        ("heat some egg and put it in fridge.", Wish("egg", "fridge", verb="heat")),
        ("put a cool egg in microwave.", Wish("egg", "microwave", verb="cool")),
        ("cool some egg and put it in microwave.", Wish("egg", "microwave", verb="cool")),
        ("put two pen in drawer.", Wish("pen", "drawer", count=2)),
        ("find two pen and put them in drawer.", Wish("pen", "drawer", count=2)),
    ],
)
def test_every_template_is_understood(sentence: str, wish: Wish) -> None:
    assert read_task(f"Your task is to: {sentence}") == wish


def test_a_human_sentence_is_refused() -> None:
    with pytest.raises(DataError, match="no exploring expert for a task worded 'tidy up'"):
        read_task("Your task is to: tidy up")


def test_advice_before_the_task_is_known_is_refused() -> None:
    with pytest.raises(DataError, match="has not seen the observation that names the task"):
        Explorer().act("Nothing happens.", ["look"])


def test_the_walkthrough_in_every_game_file_wins(games: Path) -> None:
    env = ALFWorldEnv(games)
    for task in env.task_ids:
        env.reset(seed=0, options={"task": task})
        plan = json.loads((games / task / "game.tw-pddl").read_text())["walkthrough"]
        steps = [env.step(action) for action in plan]
        assert all(info["action_valid"] for *_, info in steps)
        assert steps[-1][4]["success"]
