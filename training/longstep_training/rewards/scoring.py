"""From what an episode left behind to one reward for every step."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from pydantic import ValidationInfo, field_validator

from longstep_agents.types import Group, Outcome, Trajectory
from longstep_envs.types import DataError
from longstep_training.config import Config
from longstep_training.rewards.gates import GateConfig, check_gates, pass_gates
from longstep_training.rewards.registry import REWARDS, Terms, chosen
from longstep_training.rewards.shapes import SHAPES
from longstep_training.rewards.term import NonFiniteError, RewardFault, Rewards, TermConfig

Rows = list[list[float]]


class RewardConfig(Config):
    """What a step's reward is made of."""

    terms: Terms = Terms.model_validate({"environment": 1.0})
    """The terms by their names in `REWARDS`, each a weight or a table of `weight` and options. The
    weighted sum is the step's reward."""
    gates: tuple[GateConfig, ...] = ()
    """Levels of priority, the highest first."""

    @field_validator("gates")
    @classmethod
    def _guard_terms(
        cls, gates: tuple[GateConfig, ...], info: ValidationInfo
    ) -> tuple[GateConfig, ...]:
        if "terms" in info.data:
            check_gates(gates, list(chosen(info.data["terms"])))
        return gates

    @property
    def chosen(self) -> dict[str, TermConfig]:
        """The options of each term that takes part."""
        return chosen(self.terms)

    @property
    def needs(self) -> frozenset[str]:
        """What the terms need recorded of every token."""
        return frozenset[str]().union(*(options.needs for options in self.chosen.values()))

    def prepare(self) -> None:
        """Fail now, before a run starts, with what would fail later.

        Raises:
            LongstepError: a term needs a package or a key that is missing.
        """
        for options in self.chosen.values():
            options.prepare()


def score(groups: Sequence[Group], config: RewardConfig) -> list[Group]:
    """The same groups with each step's reward replaced by the weighted, gated sum of the terms.

    The terms, shaped and gated but not weighted, are added to the parts that the environment
    named. A trajectory that does not count has rewards of 0, and one that a term could not judge,
    or gave NaN or infinity, no longer counts: its outcome is `infra_error`, its `error` tells why.

    Raises:
        DataError: the environment does not name the part that a term reads.
    """
    _check_parts(groups, config.chosen)
    width = max((options.concurrency for options in config.chosen.values()), default=1)
    if width == 1:
        return [_rescored(group, config) for group in groups]
    with ThreadPoolExecutor(width) as pool:
        return list(pool.map(partial(_rescored, config=config), groups))


def _check_parts(groups: Sequence[Group], terms: Mapping[str, TermConfig]) -> None:
    counted = [t for group in groups for t in group.counted if t.steps]
    if not any(t.outcome is Outcome.OK for t in counted):
        return  # parts may be told at the end only
    steps = [step for t in counted for step in t.steps]
    parts = set[str]().union(*(step.reward_parts for step in steps))
    texts = set[str]().union(*(step.record for step in steps))
    for name, options in terms.items():
        _check_told(name, "has the reward part", options.reads, parts)
        _check_told(name, "records the text", options.compares, texts)


def _check_told(term: str, verb: str, wanted: Sequence[str], there: Collection[str]) -> None:
    for part in wanted:
        if not _is_there(part, there):
            raise DataError(
                f"rl.rewards.terms.{term}: no step {verb} {part!r}, there are: "
                f"{', '.join(sorted(there)) or 'none'}; choose among them, or an environment "
                "that tells it"
            )


def _is_there(part: str, there: Iterable[str]) -> bool:
    if part.endswith("*"):
        return any(name.startswith(part[:-1]) for name in there)
    return part in there


def _rescored(group: Group, config: RewardConfig) -> Group:
    terms = config.chosen
    group, earned = _evaluate(group, terms)
    for name, options in terms.items():
        for shape in options.shape:
            earned[name] = SHAPES[shape.name](earned[name], group, shape)
        group = _fault(group, _finite(f"the term {name!r}", group, earned[name]))
    earned = {name: _counted(group, rows) for name, rows in earned.items()}
    weights = {name: options.weight for name, options in terms.items()}
    rewarded = Group(
        tuple(
            _rewarded(t, {name: earned[name][i] for name in terms}, weights, config.gates)
            for i, t in enumerate(group.trajectories)
        )
    )
    sums = [[step.reward for step in t.steps] for t in rewarded.trajectories]
    finite = _finite("the sum", rewarded, sums)
    return _silenced(_fault(rewarded, finite), finite)


def _evaluate(group: Group, terms: Mapping[str, TermConfig]) -> tuple[Group, dict[str, Rows]]:
    """What each term gives, and the group without those that a term could not judge."""
    earned: dict[str, Rewards] = {}
    for name, options in sorted(terms.items(), key=lambda term: term[1].order):
        earned[name] = _finite(f"the term {name!r}", group, REWARDS[name](group, options))
        group = _fault(group, earned[name])
    return group, {name: _counted(group, rows) for name, rows in earned.items()}


def _fault(group: Group, rows: Rewards) -> Group:
    faulted = [
        replace(t, outcome=Outcome.INFRA_ERROR, error=f"{type(row).__name__}: {row}")
        if isinstance(row, RewardFault) and t.counts
        else t
        for t, row in zip(group.trajectories, rows, strict=True)
    ]
    return Group(tuple(faulted))


def _counted(group: Group, rows: Rewards) -> Rows:
    """The rewards of the trajectories that count, and zeros for the others."""
    return [
        [0.0] * len(t.steps) if isinstance(row, RewardFault) or not t.counts else list(row)
        for t, row in zip(group.trajectories, rows, strict=True)
    ]


def _finite(what: str, group: Group, rows: Rewards) -> Rewards:
    """The rewards, with a fault in place of those of which one is NaN or infinite."""
    pairs = zip(group.trajectories, rows, strict=True)
    return [row if isinstance(row, RewardFault) else _checked(what, t, row) for t, row in pairs]


def _checked(
    what: str, trajectory: Trajectory, row: Sequence[float]
) -> Sequence[float] | RewardFault:
    for number, value in enumerate(row):
        if not math.isfinite(value):
            return NonFiniteError(
                f"{what} of rl.rewards gave {value} for step {number} of task "
                f"{trajectory.task_id!r}; mend the environment or the term's options"
            )
    return row


def _silenced(group: Group, rows: Rewards) -> Group:
    """Rewards of 0 for those that could not be summed."""
    return Group(
        tuple(
            replace(t, steps=tuple(replace(step, reward=0.0) for step in t.steps))
            if isinstance(row, RewardFault)
            else t
            for t, row in zip(group.trajectories, rows, strict=True)
        )
    )


def _rewarded(
    trajectory: Trajectory,
    rows: Mapping[str, Sequence[float]],
    weights: Mapping[str, float],
    gates: Sequence[GateConfig],
) -> Trajectory:
    left, opened = pass_gates(rows, weights, gates)
    states = {gate.part: float(is_open) for gate, is_open in zip(gates, opened, strict=True)}
    last = len(trajectory.steps) - 1
    steps = []
    for s, step in enumerate(trajectory.steps):
        parts = {name: row[s] for name, row in left.items()}
        total = sum(weights[name] * value for name, value in parts.items())
        named = {**step.reward_parts, **parts, **(states if s == last else {})}
        steps.append(replace(step, reward=total, reward_parts=named))
    return replace(trajectory, steps=tuple(steps))
