"""What an accelerator has to hold, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from longstep_training.planning.costs import Layout, Setting
from longstep_training.planning.episodes import Group

LOGIT_ROWS = 2**28
"""Numbers of logits that are held at a time on an accelerator, as `longstep train` parts them."""
_LOGIT_BYTES = 20
"""For each of them: logits as computed and as float32, their logarithm, entropy and gradient."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The bytes of one accelerator."""

    has: float
    resident: dict[str, float]
    """Always there."""
    update: dict[str, float]
    """There during an update."""
    engine: dict[str, float]
    """There during a rollout, the cache left out."""
    lane: float
    """Of one episode's keys and values, at its longest."""
    lanes: int
    """Episodes that a replica has room for, at most as many as it is given."""
    wanted: int
    """Episodes that it is given."""

    @property
    def peak(self) -> float:
        """At the fullest moment: phases that share an accelerator come one after the other."""
        both = sum(self.update.values()), sum(self.engine.values()) + self.cache
        return sum(self.resident.values()) + max(both)

    @property
    def cache(self) -> float:
        """Of all lanes."""
        return self.lane * self.lanes

    @property
    def left(self) -> float:
        """What nothing needs."""
        return self.has - self.peak

    @property
    def fits(self) -> bool:
        """Whether an update fits, and an episode beside the engine's weights."""
        return self.left >= 0 and (self.lanes > 0 or self.wanted == 0)


def layer_bytes(setting: Setting) -> int:
    """Of a token's activations that a layer keeps for the way back.

    With hidden width h, queries q, keys k, norms of heads or without: 24 h + 20 q + 16 k, or
    12 q + 8 k, and 16 f of the gated MLP in float32; under bfloat16 autocast 26 h + 12 q + 10 k, or
    6 q + 4 k, and 8 f. Counted from the tensors that autograd saves, which a test does again.
    """
    shape = setting.shape
    rounded = setting.compute_bytes == 2
    h, q, k, f = (26, 6, 4, 8) if rounded else (24, 12, 8, 16)
    if shape.head_norms:
        q, k = (12, 10) if rounded else (20, 16)
    attention = q * shape.query_width + k * shape.kv_width
    return h * shape.hidden + attention + f * shape.feed_forward


def activation_bytes(setting: Setting, tokens: float) -> float:
    """Of a packed batch: all that layers keep.

    With full checkpointing, inputs of all layers and the rest of one; with selective also what
    attention and products of matrices give.
    """
    shape, whole = setting.shape, layer_bytes(setting)
    kept = setting.recipe.run.activation_checkpointing
    if kept == "none":
        return tokens * whole * shape.layers
    each = 4 * shape.hidden
    if kept == "selective":
        products = 2 * (shape.query_width + shape.kv_width + shape.hidden + shape.feed_forward)
        each += setting.compute_bytes * products
    return tokens * (whole + each * shape.layers)


def longest_row(setting: Setting) -> float:
    """Tokens of an episode that plays all its turns, as far as its limit and the model's go."""
    assumed, recipe = setting.assumed, setting.recipe
    turns = recipe.turn_limit
    reply = min(assumed.reply_tokens, recipe.agent.max_tokens)
    whole = assumed.prompt_tokens + turns * reply + (turns - 1) * assumed.observation_tokens
    limits = [recipe.train.tokens, recipe.engine.context, setting.shape.context]
    return min([whole, *(limit for limit in limits if limit)])


def plan_memory(setting: Setting, layout: Layout, groups: Sequence[Group]) -> list[Memory]:
    """Of an accelerator that trains, and of one that samples where these are others."""
    has = setting.machine.memory * (1 - setting.assumed.reserved)
    learner = _resident(setting, layout), _of_update(setting, layout, groups)
    if not layout.apart:
        return [_with_lanes(setting, layout, has, *learner)]
    return [
        Memory(has, *learner, {}, 0.0, 0, 0),
        _with_lanes(setting, layout, has, {}, {}),
    ]


def _resident(setting: Setting, layout: Layout) -> dict[str, float]:
    shared = layout.update if setting.recipe.run.shard else 1
    of_one = 4 * setting.shape.parameters / shared
    models = 1 + int(setting.recipe.rl.critic is not None)
    held = {
        "weights (float32)": models * of_one,
        "moments of AdamW": models * 2 * of_one,
    }
    if setting.recipe.rl.reference is not None:
        held["reference policy"] = of_one
    return held


def _of_update(setting: Setting, layout: Layout, groups: Sequence[Group]) -> dict[str, float]:
    shape, budget = setting.shape, setting.recipe.rl.optimizer.token_budget
    shared = layout.update if setting.recipe.run.shard else 1
    each = sum(e.tokens for group in groups for e in group) / max(1, layout.update)
    tokens = max(longest_row(setting), min(budget, each))
    drawn = sum(e.drawn for g in groups for e in g) / sum(e.tokens for g in groups for e in g)
    parts = {
        "gradients (float32)": 4 * shape.parameters / shared,
        "activations": activation_bytes(setting, tokens),
        "logits": min(tokens * drawn * shape.vocabulary, LOGIT_ROWS) * _LOGIT_BYTES,
    }
    if shared > 1:
        root = 4 * (shape.parameters - shape.layers * shape.layer_weights)
        parts["gathered weights"] = root + 2 * setting.compute_bytes * shape.layer_weights
    elif setting.compute_bytes == 2:
        parts["weights (bfloat16)"] = 2.0 * shape.parameters
    return parts


def _with_lanes(
    setting: Setting,
    layout: Layout,
    has: float,
    resident: dict[str, float],
    update: dict[str, float],
) -> Memory:
    """With as many lanes as there is room for."""
    shape, rl = setting.shape, setting.recipe.rl
    copied = layout.apart or not setting.recipe.samples_itself or setting.recipe.run.shard
    differs = setting.weight_bytes != 4 or rl.staleness > 0
    engine: dict[str, float] = {}
    if copied or differs:
        engine["engine's weights"] = shape.parameters * setting.weight_bytes / layout.tensor
    episodes = rl.tasks * rl.siblings * (1 + rl.staleness)
    wanted = -(-min(episodes, setting.recipe.run.concurrency * layout.update) // layout.replicas)
    lane = longest_row(setting) * shape.cache_bytes(setting.weight_bytes) / layout.tensor
    room = has - sum(resident.values()) - sum(engine.values())
    lanes = max(0, min(wanted, int(room // lane)))
    return Memory(has, resident, update, engine, lane, lanes, wanted)
