import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.agent import Act, Aside
from longstep_agents.baselines import ScriptedAgent
from longstep_agents.evaluation.contestants import BUILT_IN, BuiltIn
from longstep_agents.evaluation.log import read_evaluation
from longstep_agents.evaluation.replay import (
    Verification,
    World,
    evaluation_worlds,
    replay,
    verify,
)
from longstep_agents.evaluation.run import Evaluation, EvaluationSettings
from longstep_envs.types import BadValueError, Info
from longstep_tasks.suites import Part

TREASURE = Part("treasure", "treasure", turns=12, split="test", count=4)
HERE = World("longstep/Treasure-v0")
Change = Callable[[dict[str, Any]], object]


class Thoughtful(ScriptedAgent):
    """Asks itself something before each action."""

    thinks = True

    async def act(self, observation: str, info: Info) -> Act:
        self.thinks = not self.thinks
        if self.thinks:
            return await super().act(observation, info)
        return Act("note", aside=Aside("tool", observation, "noted"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("evaluation") / "run"
    return Evaluation([TREASURE], BUILT_IN["random"], EvaluationSettings(attempts=2)).play(out)


def verified(rows: Iterable[dict[str, Any]], world: World = HERE) -> Verification:
    return verify(enumerate(json.loads(json.dumps(list(rows)))), lambda _: world)


def test_an_evaluation_goes_the_same_way_again(tmp_path: Path) -> None:
    Evaluation([TREASURE], BUILT_IN["expert"]).play(tmp_path / "run")
    header, rows = read_evaluation(tmp_path / "run")
    ended: list[None] = []
    found = verify(enumerate(rows), evaluation_worlds(header), on_end=lambda: ended.append(None))
    steps = sum(len(row["steps"]) for row in rows)
    assert (found.episodes, found.steps, found.rewards) == (4, steps, steps)
    assert (found.differences, found.left_out, len(ended)) == ([], {}, 4)


def _step(number: int, **changes: Any) -> Change:
    return lambda row: row["steps"][number].update(changes)


@pytest.mark.parametrize(
    ("change", "step", "what"),
    [
        (_step(3, observation="Nothing."), 3, "observation"),
        (_step(0, state_key="x"), 0, "state_key"),
        (_step(5, reward=0.125), 5, "reward"),
        (_step(2, action="open chest with lamp"), 3, None),
        (lambda row: row.update(final_observation="Done."), 12, "observation"),
        (lambda row: row.update(success=True), 12, "success"),
        (lambda row: row.update(score=0.987), 12, "score"),
        (lambda row: row.update(outcome="ok"), 12, "end"),
        (lambda row: row.update(seed=row["seed"] + 1, task_id="train/0"), 0, None),
    ],
)
def test_the_first_difference_is_told(
    rows: list[dict[str, Any]], change: Change, step: int, what: str | None
) -> None:
    changed = json.loads(json.dumps(rows))
    number = next(n for n, row in enumerate(changed) if row["stop_reason"] == "turn_limit")
    change(changed[number])
    (found,) = verified(changed).differences
    assert (found.episode, found.step) == (number, step)
    assert what in (None, found.what)
    assert found.recorded != found.replayed


def test_an_episode_that_had_ended_is_told(tmp_path: Path) -> None:
    (won, *_) = Evaluation([TREASURE], BUILT_IN["expert"]).play(tmp_path / "run")
    replayed = replay(won, lambda _: HERE)
    said, state = replayed.said[-1]
    more = {"observation": said, "state_key": state, "action": "look", "reward": 0.0}
    (found,) = verified([{**won, "steps": [*won["steps"], more]}]).differences
    assert (found.step, found.what) == (len(won["steps"]), "end")
    assert (found.recorded, found.replayed) == ("goes on", "has ended")


def test_a_difference_is_shown_where_it_is(rows: list[dict[str, Any]]) -> None:
    text = rows[0]["steps"][0]["observation"]
    place = len(text) // 2
    other = f"{text[:place]}\x1b[31m{text[place:]}"
    changed = {**rows[0], "steps": [{**rows[0]["steps"][0], "observation": other}]}
    (found,) = verified([changed]).differences
    assert "\\x1b[31m" in found.recorded
    assert len(found.recorded) < 100
    assert "\x1b" not in found.recorded + found.replayed


def test_what_never_reached_the_environment_is_passed_over(tmp_path: Path) -> None:
    thoughtful = BuiltIn("thoughtful", lambda _: Thoughtful(["look", "go north"]))
    rows = Evaluation([TREASURE], thoughtful).play(tmp_path / "run")
    assert {step.get("target") for row in rows for step in row["steps"]} == {"tool", None}
    found = verified(rows)
    assert (found.episodes, found.steps, found.differences) == (4, 24, [])


def test_faults_and_rows_without_a_seed_are_left_out_and_counted(
    rows: list[dict[str, Any]],
) -> None:
    old = {key: value for key, value in rows[1].items() if key != "seed"}
    cut = {**rows[2], "steps": [{"action": "look"}]}
    found = verified([{**rows[0], "outcome": "env_error"}, old, cut, {}, rows[3]])
    assert found.left_out == {"fault": 2, "no seed": 1, "incomplete": 1}
    assert (found.episodes, found.differences) == (1, [])


def test_rewards_of_training_are_compared_by_the_environments_own_part(
    rows: list[dict[str, Any]],
) -> None:
    def scored(row: dict[str, Any], share: float) -> dict[str, Any]:
        steps = [
            {
                **s,
                "reward": s["reward"] - 0.02,
                "parts": {"own": float(f"{s['reward'] * share:.5g}")},
            }
            for s in row["steps"]
        ]
        return {**row, "steps": steps}

    earning = [row for row in rows if any(step["reward"] for step in row["steps"])]
    assert (
        verified([scored(row, 1.0) for row in rows], World(HERE.env_id, {}, "own")).differences
        == []
    )
    found = verified([scored(row, 0.5) for row in earning], World(HERE.env_id, {}, "own"))
    assert {one.what for one in found.differences} == {"reward"}
    unknown = verified([scored(row, 0.5) for row in rows], World(HERE.env_id, {}, None))
    assert (unknown.rewards, unknown.differences) == (0, [])


def test_a_hint_behind_an_observation_is_no_difference_where_there_are_hints(
    rows: list[dict[str, Any]],
) -> None:
    first = rows[0]["steps"][0]
    hinted = {**first, "observation": first["observation"] + "\n\nHint: look."}
    row = {**rows[0], "steps": [hinted, *rows[0]["steps"][1:]]}
    assert verified([row], World(HERE.env_id, hints=True)).differences == []
    assert [one.step for one in verified([row]).differences] == [0]


def test_what_cannot_be_played_at_all_is_a_difference(rows: list[dict[str, Any]]) -> None:
    (found,) = verified([{**rows[0], "task_id": "no/such"}]).differences
    assert (found.what, found.step) == ("fault", 0)
    assert "no/such" in found.replayed


def test_tasks_that_are_not_here_are_told(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    Evaluation([TREASURE], BUILT_IN["noop"]).play(tmp_path / "run")
    header, played = read_evaluation(tmp_path / "run")
    played[0]["task_id"] = "test/none"
    with pytest.raises(BadValueError, match="task 'test/none' of 'treasure' is not among"):
        verify(enumerate(played), evaluation_worlds(header))


def test_one_episode_is_played_to_be_shown(rows: list[dict[str, Any]]) -> None:
    played = replay(rows[0], lambda _: HERE)
    assert [text for text, _ in played.said] == [
        *(step["observation"] for step in rows[0]["steps"]),
        rows[0]["final_observation"],
    ]
    with pytest.raises(BadValueError, match="cannot be played again: no seed"):
        replay({**rows[0], "seed": None}, lambda _: HERE)
