from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longstep_training.planning.episodes import draw_groups, find_hazard, mean_turns
from longstep_training.planning.settings import Assumptions, Recipe


@given(st.floats(1.0, 50.0), st.integers(50, 80))
def test_the_hazard_gives_the_mean(mean: float, limit: int) -> None:
    assert mean_turns(find_hazard(mean, limit), limit) == pytest.approx(mean, rel=1e-6)


def test_drawn_episodes_have_the_assumed_means() -> None:
    recipe = Recipe.model_validate({"train": {"turns": 20}, "agent": {"max_tokens": 10_000}})
    assumed = Assumptions(turns=9.0, reply_tokens=40, drawn=0.5, latency=0.2)
    groups = draw_groups(recipe, assumed, 800)
    turns = [turn for group in groups for episode in group for turn in episode.turns]
    episodes = sum(map(len, groups))
    assert len(turns) / episodes == pytest.approx(9.0, rel=0.03)
    assert sum(t.drawn for t in turns) / len(turns) == pytest.approx(20, rel=0.03)
    assert sum(t.waited for t in turns) / len(turns) == pytest.approx(0.2, rel=0.05)
    tokens = sum(e.tokens for group in groups for e in group) / episodes
    assert tokens == pytest.approx(512 + 8 * 200 + 9 * 40, rel=0.03)


def test_the_same_seed_draws_the_same_episodes() -> None:
    drawn = [draw_groups(Recipe(), Assumptions(), 3, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_no_episode_outgrows_its_limits() -> None:
    recipe = Recipe.model_validate({"train": {"turns": 30, "tokens": 4_000}})
    groups = draw_groups(recipe, Assumptions(turns=30), 10)
    assert all(e.tokens < 4_100 and len(e.turns) <= 30 for group in groups for e in group)


def test_shared_prefixes_are_read_once_a_group() -> None:
    recipe = Recipe.model_validate({"engine": {"share_prefixes": True}})
    (group,) = draw_groups(recipe, Assumptions(), 1)
    assert [e.turns[0].shared for e in group] == [0.0] + [512.0] * 7
    alone = draw_groups(Recipe(), Assumptions(), 1)[0]
    assert [e.tokens for e in group] == [e.tokens for e in alone]
    assert all(a is not b for a, b in pairwise(group))
