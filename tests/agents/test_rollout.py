import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import pytest

from longstep_agents.agent import Act, Agent, Aside
from longstep_agents.baselines import (
    ExpertAgent,
    HumanAgent,
    RandomAgent,
    ReplayAgent,
    ScriptedAgent,
)
from longstep_agents.model import ContextError, EngineError
from longstep_agents.rollout import EpisodeRequest, collect, collect_groups
from longstep_agents.types import Completion, Group, Outcome, Trajectory
from longstep_envs import EnvPool, Info, Limits, TextEnv, register

TREASURE = "longstep/Treasure-v0"


class Fragile(TextEnv):
    """Breaks when it is asked to."""

    metadata = TextEnv.metadata | {"concurrency": "thread", "snapshot": "replay"}

    @property
    def task_ids(self) -> Sequence[str]:
        return ["a", "b"]

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        return task_id, Info(score=0.0)

    def _act(self, action: str) -> tuple[str, bool, Info]:
        if action == "break":
            raise RuntimeError("broken")
        return action, action == "end", Info(score=1.0 if action == "end" else 0.0)

    def _make_copy(self) -> Self:
        return type(self)()


@pytest.fixture(scope="module")
def fragile() -> str:
    env_id = "rollout/Fragile-v0"
    sys.modules["longstep_rollout_fragile"] = sys.modules[__name__]
    register(env_id, "longstep_rollout_fragile:Fragile")
    return env_id


def play(
    env_id: str,
    requests: Sequence[EpisodeRequest],
    agent: Agent | None = None,
    tokens: int | None = None,
    turns: int = 30,
) -> list[Trajectory]:
    limits = Limits(turns=turns, tokens=tokens)
    with EnvPool(env_id, limits=limits, retries=1) as pool:
        return asyncio.run(
            collect(
                pool,
                requests,
                lambda request: agent or RandomAgent(request.agent_seed),
            )
        )


def test_rewards_sum_to_the_score() -> None:
    requests = [EpisodeRequest(f"train/{n}", n, n) for n in range(12)]
    played = play(TREASURE, requests)
    assert {t.score for t in played} > {0.0}
    for trajectory in played:
        assert trajectory.total_reward == pytest.approx(trajectory.score)
        assert trajectory.split == "train"


def test_the_expert_solves_and_its_trajectory_says_so() -> None:
    (played,) = play(TREASURE, [EpisodeRequest("train/3", expert=True)], ExpertAgent())
    assert (played.success, played.score, played.outcome) == (True, 1.0, Outcome.OK)
    assert (played.env_id, played.stop_reason) == (TREASURE, "success")
    assert played.final_observation == "The chest is open!"
    assert all(step.action in step.admissible for step in played.steps)
    assert len({step.state_key for step in played.steps}) == len(played.steps)


def test_the_turn_limit_truncates_and_still_counts() -> None:
    (played,) = play(TREASURE, [EpisodeRequest("train/0")], ScriptedAgent(["look"]), turns=4)
    assert (len(played.steps), played.outcome) == (4, Outcome.TRUNCATED)
    assert (played.stop_reason, played.counts) == ("turn_limit", True)


def test_the_token_limit_truncates_after_the_step_that_reaches_it() -> None:
    class Wordy:
        async def act(self, observation: str, info: Info) -> Act:
            return Act("look", bridge_ids=(1, 2, 3), completion=Completion((4, 5), (0.0, 0.0)))

        def close(self) -> None: ...

    (played,) = play(TREASURE, [EpisodeRequest("train/0")], Wordy(), tokens=11)
    assert (len(played.steps), played.outcome) == (3, Outcome.TRUNCATED)
    assert played.stop_reason == "token_limit"


def test_a_broken_environment_is_an_error_without_reward(fragile: str) -> None:
    requests = [EpisodeRequest("a"), EpisodeRequest("b")]
    (first, _) = play(fragile, requests, ScriptedAgent(["go on", "break"]))
    assert first.outcome == Outcome.ENV_ERROR
    assert (first.counts, first.total_reward, first.success) == (False, 0.0, False)
    assert (first.task_id, first.attempts) == ("a", 2)
    assert "broken" in str(first.error)
    assert first.env_id == fragile


def test_a_broken_agent_is_not_the_environments_fault() -> None:
    class Broken(RandomAgent):
        closed = False

        async def act(self, observation: str, info: Info) -> Act:
            raise ValueError("lost my way")

        def close(self) -> None:
            Broken.closed = True

    (played,) = play(TREASURE, [EpisodeRequest("train/0")], Broken(0))
    assert played.outcome == Outcome.AGENT_ERROR
    assert (played.counts, played.attempts) == (False, 1)
    assert "lost my way" in str(played.error)
    assert Broken.closed


def groups_of(siblings: int) -> list[Group]:
    requests = [EpisodeRequest(f"train/{n}", seed=n + 5, agent_seed=100 * n) for n in range(3)]
    with EnvPool(TREASURE, limits=Limits(turns=8)) as pool:
        return asyncio.run(
            collect_groups(pool, requests, lambda r: RandomAgent(r.agent_seed), siblings=siblings)
        )


def test_a_group_is_exactly_the_siblings_of_one_task_and_seed() -> None:
    groups = groups_of(4)
    assert [len(group.trajectories) for group in groups] == [4, 4, 4]
    for n, group in enumerate(groups):
        assert {(t.task_id, t.seed) for t in group.trajectories} == {(f"train/{n}", n + 5)}
        assert len({t.steps[0].observation for t in group.trajectories}) == 1
        assert len({tuple(s.action for s in t.steps) for t in group.trajectories}) > 1


def test_the_same_requests_give_the_same_episodes() -> None:
    def actions(groups: list[Group]) -> list[list[str]]:
        return [[s.action for s in t.steps] for g in groups for t in g.trajectories]

    assert actions(groups_of(2)) == actions(groups_of(2))


def test_results_keep_the_order_of_the_requests() -> None:
    requests = [EpisodeRequest(f"train/{n}", agent_seed=n) for n in range(20)]
    assert [t.task_id for t in play(TREASURE, requests)] == [r.task_id for r in requests]


def test_a_replay_goes_the_recorded_way_or_says_where_it_does_not() -> None:
    (played,) = play(TREASURE, [EpisodeRequest("train/3", 5)], RandomAgent(2), turns=9)
    (again,) = play(TREASURE, [EpisodeRequest("train/3", 5)], ReplayAgent(played), turns=9)
    assert [s.observation for s in again.steps] == [s.observation for s in played.steps]
    (other,) = play(TREASURE, [EpisodeRequest("train/4", 5)], ReplayAgent(played), turns=9)
    assert other.outcome == Outcome.AGENT_ERROR
    assert "turn 1: the environment says" in str(other.error)
    (longer,) = play(TREASURE, [EpisodeRequest("train/3", 5)], ReplayAgent(played), turns=10)
    assert "the record ends before turn 10" in str(longer.error)


def test_a_person_is_shown_what_can_be_done_and_is_obeyed() -> None:
    shown: list[Sequence[str]] = []

    def ask(observation: str, commands: Sequence[str]) -> str:
        shown.append(commands)
        return "look"

    (played,) = play(TREASURE, [EpisodeRequest("train/0")], HumanAgent(ask), turns=2)
    assert [step.action for step in played.steps] == ["look", "look"]
    assert all(step.in_admissible for step in played.steps)
    assert "look" in shown[0]


class Noting:
    """Does something for itself every second turn."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.seen: list[str] = []
        self.fails = fails

    async def act(self, observation: str, info: Info) -> Act:
        self.seen.append(observation)
        if self.fails is not None and len(self.seen) == 3:
            raise self.fails
        if len(self.seen) % 2:
            aside = Aside("tool", observation, "Noted.", fault="unknown" * (len(self.seen) > 4))
            return Act("note", aside=aside, bridge_ids=(1,), begins_row=True)
        return Act("look", bridge_ids=(2,))

    def close(self) -> None: ...


def test_what_the_agent_does_for_itself_costs_a_turn_and_never_reaches_the_environment() -> None:
    agent = Noting()
    (played,) = play(TREASURE, [EpisodeRequest("train/0")], agent, turns=5)
    assert (played.outcome, played.stop_reason) == (Outcome.TRUNCATED, "turn_limit")
    assert [step.target for step in played.steps] == ["tool", "environment"] * 2 + ["tool"]
    assert agent.seen[1] == agent.seen[3] == "Noted."
    own = [step for step in played.steps if step.target == "tool"]
    assert all((step.state_key, step.reward, step.admissible) == ("", 0.0, ()) for step in own)
    assert [step.fault for step in own] == ["", "", "unknown"]
    assert [step.begins_row for step in played.steps] == [True, False, True, False, True]


@pytest.mark.case(18, 19)
@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (ContextError("full"), Outcome.TRUNCATED, "context_limit"),
        (EngineError("down"), Outcome.INFRA_ERROR, "error"),
        (ValueError("mine"), Outcome.AGENT_ERROR, "error"),
    ],
)
def test_who_is_to_blame_decides_how_an_episode_counts(
    error: Exception, outcome: Outcome, reason: str
) -> None:
    (played,) = play(TREASURE, [EpisodeRequest("train/0")], Noting(error))
    assert (played.outcome, played.stop_reason) == (outcome, reason)
    assert played.counts == (outcome == Outcome.TRUNCATED)
    assert len(played.steps) == (2 if played.counts else 0)
    if not played.counts:
        assert str(error) in str(played.error)


@pytest.mark.case(20)
def test_the_step_that_ends_an_episode_is_in_its_record() -> None:
    class Looping(Noting):
        async def act(self, observation: str, info: Info) -> Act:
            act = await super().act(observation, info)
            if len(self.seen) < 3 or act.aside is None:
                return act
            return replace(act, aside=replace(act.aside, fault="failed", ends="tool_loop"))

    (played,) = play(TREASURE, [EpisodeRequest("train/0")], Looping())
    assert (played.outcome, played.stop_reason) == (Outcome.TRUNCATED, "tool_loop")
    assert [step.target for step in played.steps] == ["tool", "environment", "tool"]
    assert [step.fault for step in played.steps] == ["", "", "failed"]


def test_an_episode_with_asides_is_replayed_by_what_the_environment_said() -> None:
    (played,) = play(TREASURE, [EpisodeRequest("train/0")], Noting(), turns=6)
    (again,) = play(TREASURE, [EpisodeRequest("train/0")], ReplayAgent(played), turns=3)
    assert (again.outcome, len(again.steps)) == (Outcome.TRUNCATED, 3)
