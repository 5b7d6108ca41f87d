"""What a number of episodes can tell: means with intervals, pass@k, and two runs side by side.

Episodes of one task are alike, so tasks are what is drawn: intervals are Wilson's (1927) where each
task was played once and either solved or not, else they come of resampling whole tasks. The
standard error is clustered by task (Miller 2024, arXiv 2411.00640).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from longstep_envs.types import BadValueError

_CONFIDENCE = 0.95
_RESAMPLES = 9_999
_AT_ONCE = 10_000_000
"""Values that are drawn together; more take too much memory."""

Values_PA = Sequence[Sequence[float]]
"""Of each task the values of its attempts; tasks may differ in how many they have."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float
    tasks: int
    episodes: int
    error: float = 0.0
    """Standard error, clustered by task."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second run against the first, over the tasks that both have played."""

    difference: float
    """Mean over tasks of the second's mean less the first's."""
    low: float
    high: float
    p: float
    """How likely so large a difference is where there is none."""
    test: str
    won: int
    """Tasks at which the second did better."""
    lost: int
    tied: int

    @property
    def tasks(self) -> int:
        """Tasks compared."""
        return self.won + self.lost + self.tied


def estimate(values_PA: Values_PA) -> Estimate:
    """The mean over episodes; with no episode, 0 with an interval from 0 to 1."""
    played_PA = [list(map(float, values)) for values in values_PA if len(values)]
    episodes = sum(map(len, played_PA))
    if not episodes:
        return Estimate(0.0, 0.0, 1.0, 0, 0)
    mean = math.fsum(v for values in played_PA for v in values) / episodes
    squares = math.fsum(math.fsum(v - mean for v in values) ** 2 for values in played_PA)
    low, high = _interval(played_PA, mean)
    return Estimate(mean, low, high, len(played_PA), episodes, math.sqrt(squares) / episodes)


def wilson(successes: int, episodes: int) -> tuple[float, float]:
    """Wilson's interval of a rate; from 0 to 1 where there is no episode."""
    if not episodes:
        return 0.0, 1.0
    from scipy.stats import binomtest

    found = binomtest(successes, episodes).proportion_ci(_CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def pass_at_k(solved_PA: Values_PA, k: int) -> Estimate:
    """The chance that at least one of k attempts solves a task, estimated without bias.

    Chen et al. 2021 (arXiv 2107.03374): 1 - C(n - c, k) / C(n, k) for c of n attempts.

    Raises:
        BadValueError: a task has fewer than k attempts.
    """
    return _of_k(solved_PA, k, lambda n, c: 1.0 - math.comb(n - c, k) / math.comb(n, k), "pass@k")


def pass_hat_k(solved_PA: Values_PA, k: int) -> Estimate:
    """The chance that all of k attempts solve a task, estimated without bias.

    Yao et al. 2024, tau-bench (arXiv 2406.12045): C(c, k) / C(n, k) for c of n attempts.

    Raises:
        BadValueError: a task has fewer than k attempts.
    """
    return _of_k(solved_PA, k, lambda n, c: math.comb(c, k) / math.comb(n, k), "pass^k")


def compare(
    first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]]
) -> Comparison:
    """Two runs paired by task, with an interval and a test.

    The test is McNemar's, exact, where every task was played once and either solved or not; else
    the signs of the tasks' differences are permuted.

    Raises:
        BadValueError: no task was played in both.
    """
    shared = [task for task in first if len(first[task]) and len(second.get(task, ()))]
    if not shared:
        raise BadValueError(
            "the two runs have no task in common; compare runs of the same tasks, or of one suite"
        )
    pairs = [(first[task], second[task]) for task in shared]
    changes = np.array([float(np.mean(b)) - float(np.mean(a)) for a, b in pairs])
    won, lost = int((changes > 0).sum()), int((changes < 0).sum())
    low, high = _resampled(changes, np.ones_like(changes), nothing=(-1.0, 1.0))
    binary = all(len(a) == len(b) == 1 and {*a, *b} <= {0.0, 1.0} for a, b in pairs)
    p = _mcnemar(won, lost) if binary else _sign_permutation(changes)
    return Comparison(
        difference=float(changes.mean()),
        low=low,
        high=high,
        p=p,
        test="McNemar, exact" if binary else "permutation of signs",
        won=won,
        lost=lost,
        tied=len(shared) - won - lost,
    )


def _of_k(solved_PA: Values_PA, k: int, chance: Any, name: str) -> Estimate:
    counts = [(len(solved), round(math.fsum(solved))) for solved in solved_PA]
    fewest = min((n for n, _ in counts), default=0)
    if not 1 <= k <= fewest:
        raise BadValueError(
            f"{name} with k={k}: some task has {fewest} attempts; play at least k attempts of each"
        )
    return estimate([[chance(n, c)] for n, c in counts])


def _interval(values_PA: Sequence[Sequence[float]], mean: float) -> tuple[float, float]:
    binary = all(value in (0.0, 1.0) for values in values_PA for value in values)
    if binary and (mean in (0.0, 1.0) or all(len(values) == 1 for values in values_PA)):
        # Where all tasks agree resampling shows no spread; each then counts as one observation.
        return wilson(round(mean * len(values_PA)), len(values_PA))
    sums = np.array([math.fsum(values) for values in values_PA])
    return _resampled(sums, np.array([float(len(values)) for values in values_PA]))


def _resampled(
    sums_P: Any, counts_P: Any, nothing: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean, over tasks; of one task, it is `nothing`."""
    if len(sums_P) < 2:
        return nothing
    if np.all(sums_P / counts_P == sums_P[0] / counts_P[0]):
        mean = float(sums_P.sum() / counts_P.sum())
        return mean, mean
    from scipy.stats import bootstrap

    found = bootstrap(
        (sums_P, counts_P),
        lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=max(1, _AT_ONCE // len(sums_P)),
        confidence_level=_CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def _mcnemar(won: int, lost: int) -> float:
    if not won + lost:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(won, won + lost).pvalue)


def _sign_permutation(changes_P: Any) -> float:
    if len(changes_P) < 2 or not np.any(changes_P):
        return 1.0
    from scipy.stats import permutation_test

    return float(
        permutation_test(
            (changes_P,),
            lambda changes, axis: changes.mean(axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=_RESAMPLES,
            rng=np.random.default_rng(0),
        ).pvalue
    )
