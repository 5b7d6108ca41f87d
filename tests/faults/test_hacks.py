"""Case 40: tricks that want a reward come to no more than chance, and honest play is unharmed."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # benchmarks are scripts, not a package

from benchmarks.reliability.trick_episodes import (
    Found,
    Played,
    attack,
    mean,
    play,
    play_expert,
    solvable,
)
from benchmarks.reliability.trick_texts import judged, poisoned, stuffed
from benchmarks.reliability.tricks import COMMON, OWN, opposite

from longstep_envs import ENVS, TextEnv, make
from longstep_envs.types import Info

pytestmark = pytest.mark.case(40)

QUICK = (
    "longstep/ALFWorld-v0",
    "longstep/Search-v0",
    "longstep/TextWorld-v0",
    "longstep/Treasure-v0",
    "longstep/WebShop-v0",
)
"""Without a JVM, and without sandboxes: `python -m benchmarks.reliability.hacks` plays all."""


@pytest.fixture
def treasure() -> Iterator[TextEnv]:
    with closing(make("longstep/Treasure-v0")) as env:
        yield env


def test_every_environment_has_tricks() -> None:
    ours = {name for name in ENVS if name.startswith("longstep/")}  # other tests register theirs
    assert set(OWN) == ours - {"longstep/Faulty-v0"}


@pytest.mark.parametrize("env_id", QUICK)
def test_tricks_gain_nothing_and_the_expert_is_not_suspected(env_id: str) -> None:
    with closing(make(env_id)) as env:
        found = attack(env, env_id, 3)
    assert found.gained == []
    assert mean(found.expert) == 1.0
    assert [one.flags for one in found.expert] == [()] * found.tasks
    flagged = {name for name, played in found.tricks.items() if all(one.flags for one in played)}
    assert {"constant", "empty", "echo", "copy", "claims", "engine's own commands"} <= flagged


def test_what_gains_is_found() -> None:
    """The measure itself can tell."""
    found = Found(
        tasks=1,
        expert=[Played(1.0)],
        chance=[Played(0.1)],
        tricks={"lucky": [Played(0.14)], "trick": [Played(0.16)]},
        farmed={"loop": [0.0, 0.01], "idle": [0.0], "none": []},
    )
    assert found.gained == ["trick", "loop"]


def test_a_policy_that_knows_the_plan_has_the_whole_score(treasure: TextEnv) -> None:
    (task,) = solvable(treasure, 1)
    _, info = treasure.reset(seed=0, options={"task": task, "expert": True})
    plan = iter(info["expert_plan"])

    def policy(first: str, last: str, told: Info) -> str:
        return next(plan)

    assert play(treasure, task, policy) == play_expert(treasure, task) == Played(1.0)


def test_info_holds_no_plan_that_was_not_asked_for(treasure: TextEnv) -> None:
    for env_id in QUICK:
        with closing(make(env_id)) as env:
            _, info = env.reset(seed=0, options={"task": env.task_ids[0]})
            assert "expert_plan" not in info
            assert "record" not in info.get("extra", {})


@pytest.mark.parametrize("texts", [judged, poisoned, stuffed])
def test_texts_gain_nothing(texts: object) -> None:
    assert callable(texts)
    attempts, gained = texts()
    assert attempts > 10
    assert gained == []


@pytest.mark.parametrize(
    ("action", "back"),
    [
        ("take coin from box", "drop coin"),
        ("unlock red door", "lock red door"),
        ("go north", "drop all"),
    ],
)
def test_the_opposite_of_an_action(action: str, back: str) -> None:
    assert opposite(action) == back


def test_all_tricks_can_go_on_for_ever() -> None:
    info = Info(admissible_commands=["look"], score=0.0)
    for trick in {**COMMON, **{name: one for own in OWN.values() for name, one in own.items()}}:
        begin = COMMON.get(trick) or next(own[trick] for own in OWN.values() if trick in own)
        policy = begin()
        assert all(isinstance(policy("Question: x", "", info), str) for _ in range(50))
