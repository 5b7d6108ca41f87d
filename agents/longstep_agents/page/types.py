"""What the page is given: JSON that Python writes (`index`) and JavaScript reads (`static/`).

The index is small and loaded at once; episodes lie in shards, of which one is loaded when an
episode of it is opened. Numbers that are not finite are null.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

FORMAT = 1
SHARD_EPISODES = 32

Metric = Literal["success", "score"]
"""What a part is told by."""


class Index(TypedDict):
    """Everything but the episodes' steps."""

    format: int
    title: str
    live: bool
    """Whether more may come: the page asks again every few seconds."""
    runs: list[Run]
    pairs: list[Pair]


class Run(TypedDict):
    """A training run, or an evaluation."""

    id: str
    """Letters, digits, `-`, `_` and `.`; it stands in links."""
    name: str
    kind: Literal["training", "evaluation"]
    about: dict[str, Any]
    """An evaluation's header; a training run's config as `config`, a tree."""
    ended: bool
    seconds: float
    """Since a training run began; of an evaluation, those of all its episodes."""
    parts: list[Part]
    curves: list[Curve]
    marks: list[Mark]
    episodes: Episodes
    reliability: Reliability
    unreadable: int
    """Lines and settings that could not be read and are left out."""


class Estimate(TypedDict):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float
    error: NotRequired[float | None]
    episodes: int
    tasks: NotRequired[int]


class Part(TypedDict):
    """Results on one set of tasks: of an evaluation, or of a set that training plays in between."""

    name: str
    stage: str
    """Of training: `imitation` (the warm start) or `rl`; else empty."""
    iteration: NotRequired[int]
    metric: Metric
    success: Estimate
    score: Estimate | None
    without_faults: Estimate | None
    faults: int
    retried: int
    turns: float | None
    seconds: float | None
    tokens: dict[str, float]
    """Of an episode: `prompt` and `sampled`."""
    cost: float | None
    by_task_type: dict[str, Estimate]
    by_turns: dict[str, Estimate]
    stop_reasons: dict[str, int]
    pass_at: dict[str, Estimate]
    pass_hat: dict[str, Estimate]
    data: list[str]
    """What the tasks are made of."""


class Curve(TypedDict):
    """A number over the iterations of a phase; dots join the names of nested tables."""

    phase: str
    name: str
    """`success`, `reward`, `gates.outcome`, `entropy`, `entropy_by_turn.3`, `timing.update`, …"""
    x: list[int]
    y: list[float | None]


class Mark(TypedDict):
    """An evaluation set's rate at an iteration: a point with an interval among the curves."""

    phase: str
    iteration: int
    name: str
    estimate: Estimate


class Episodes(TypedDict):
    """A table by columns, one entry an episode, in the order in which they ended.

    Episode i is entry `i % size` of shard `i // size`.
    """

    size: int
    count: int
    phase: list[str]
    iteration: list[int]
    """0 in an evaluation."""
    group: list[str]
    """What siblings share: `rl/12/0` in training, part and task in an evaluation."""
    part: list[str]
    task_id: list[str]
    task_type: list[str]
    attempt: list[int]
    outcome: list[str]
    stop_reason: list[str]
    success: list[int]
    score: list[float]
    reward: list[float]
    turns: list[int]
    seconds: list[float | None]
    flagged: list[int]
    """How many suspicious places were noted."""
    superseded: list[int]
    """1 for a try that was played again."""


class Pair(TypedDict):
    """Two evaluations compared task by task, second less first."""

    first: str
    second: str
    part: str
    metric: Metric
    """What was compared: the part's own."""
    difference: float
    low: float
    high: float
    p: float
    test: str
    won: int
    lost: int
    tied: int


class Reliability(TypedDict):
    """What went wrong, and what was done about it."""

    dispatched: int | None
    reported: int
    lost: int
    duplicated: int
    retried: int
    outcomes: dict[str, int]
    errors: list[ErrorKind]
    given_up: list[str]
    """Tasks of which no try went without a fault."""
    flagged: list[Flag]


class ErrorKind(TypedDict):
    """Errors that say the same, numbers aside."""

    text: str
    count: int
    episodes: list[int]
    """Some that it ended, by number."""


class Flag(TypedDict):
    """A suspicious place."""

    episode: int
    step: int
    rule: str
    text: str
