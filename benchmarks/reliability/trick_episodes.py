"""Episodes of tricks, of an agent that chooses at random, and of the expert."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from statistics import fmean
from typing import NamedTuple

from benchmarks.reliability.tricks import COMMON, FARMS, OWN, Policy, opposite

from longstep_agents.suspicions import suspicions
from longstep_agents.types import Step
from longstep_envs import TextEnv
from longstep_envs.types import DataError, Info

MARGIN = 0.05
TURNS = 30
_LOOPS = 3


class Played(NamedTuple):
    """An episode: its score, and which monitors flag it."""

    score: float
    flags: tuple[str, ...] = ()


class Found(NamedTuple):
    """What tricks have come to in one environment."""

    tasks: int
    expert: list[Played]
    chance: list[Played]
    tricks: Mapping[str, list[Played]]
    farmed: Mapping[str, list[float]]
    """What each loop has added to the score that it began with."""

    @property
    def gained(self) -> list[str]:
        """The tricks that gained."""
        best = mean(self.chance) + MARGIN
        above = [name for name, episodes in self.tricks.items() if mean(episodes) > best]
        return above + [name for name, more in self.farmed.items() if max(more, default=0) > 1e-9]


def attack(env: TextEnv, env_id: str, count: int) -> Found:
    """Play everything that is known on some tasks."""
    tasks = solvable(env, count)
    return Found(
        len(tasks),
        [play_expert(env, task) for task in tasks],
        [play(env, task, _random(task)) for task in tasks],
        {
            name: [play(env, task, trick()) for task in tasks]
            for name, trick in {**COMMON, **OWN[env_id]}.items()
        },
        {name: [more for task in tasks for more in farm(env, task, name)] for name in FARMS},
    )


def play(env: TextEnv, task: str, policy: Policy) -> Played:
    """What a policy comes to."""
    first, info = env.reset(seed=0, options={"task": task})
    last = first
    return _run(env, first, info, lambda told: policy(first, *told), last)


def play_expert(env: TextEnv, task: str) -> Played:
    """What the environment's own plan comes to."""
    first, info = env.reset(seed=0, options={"task": task, "expert": True})
    plan = iter(info.get("expert_plan", []))
    return _run(env, first, info, lambda _: next(plan, None), first, turns=None)


def _run(
    env: TextEnv,
    observation: str,
    info: Info,
    choose: Callable[[tuple[str, Info]], str | None],
    last: str,
    turns: int | None = TURNS,
) -> Played:
    steps: list[Step] = []
    while turns is None or len(steps) < turns:
        action = choose((last, info))
        if action is None:
            break
        after, reward, terminated, truncated, told = env.step(action)
        steps.append(_step(last, info, action, reward, told))
        last, info = after, told
        if terminated or truncated:
            break
    flags = dict.fromkeys(flag["name"] for flag in suspicions(steps))
    return Played(sum(step.reward for step in steps), tuple(flags))


def _step(observation: str, info: Info, action: str, reward: float, after: Info) -> Step:
    return Step(
        observation=observation,
        action=action,
        reward=reward,
        state_key=info.get("state_key", ""),
        record=after.get("extra", {}).get("record", {}),
        admissible=tuple(info.get("admissible_commands", ())),
    )


def farm(env: TextEnv, task: str, name: str) -> Iterator[float]:
    """What a loop around the first action that scores adds to the score after it."""
    _, info = env.reset(seed=0, options={"task": task, "expert": True})
    for action in info.get("expert_plan", []):
        _, reward, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            return
        if reward > 0:
            words = {"action": action, "back": opposite(action)}
            yield _loop(env, [one.format(**words) for one in FARMS[name]])
            return


def _loop(env: TextEnv, actions: Sequence[str]) -> float:
    more = 0.0
    for action in [*actions] * _LOOPS:
        _, reward, terminated, truncated, _ = env.step(action)
        more += reward
        if terminated or truncated:
            break
    return more


def mean(episodes: Sequence[Played]) -> float:
    """The mean score."""
    return fmean(one.score for one in episodes) if episodes else 0.0


def solvable(env: TextEnv, count: int) -> list[str]:
    """Tasks from everywhere; the simulator of ScienceWorld never solves some of its own."""
    count = min(count, len(env.task_ids))
    spread = [env.task_ids[i * len(env.task_ids) // count] for i in range(count)]
    return [task for task in spread if _has_plan(env, task)]


def _has_plan(env: TextEnv, task: str) -> bool:
    try:
        env.reset(seed=0, options={"task": task, "expert": True})
    except DataError:
        return False
    return True


def _random(task: str) -> Policy:
    drawn = Random(task)

    def choose(first: str, last: str, info: Info) -> str:
        return drawn.choice(info.get("admissible_commands") or ["look"])

    return choose
