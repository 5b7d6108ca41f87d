"""What an accelerator has to hold, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from longstep_training.planning.costs import Layout, Setting
from longstep_training.planning.episodes import Group

LOGIT_ROWS = 2**28
"""Numbers of logits that are held at a time on an accelerator, as `longstep train` parts them."""
_FILLED = 0.9
"""Of the free memory, as much as `hf` lets its cache have."""
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
    start: float = 0.0
    """Needed at the fullest moment before anything is sampled or learnt."""

    @property
    def peak(self) -> float:
        """At the fullest moment: an update, for which the engine gives nothing back."""
        parts = (*self.resident.values(), *self.update.values(), *self.engine.values())
        return sum(parts) + self.cache

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
        """Whether an update fits, an episode beside the engine's weights, and the start."""
        return self.left >= 0 and self.starts and (self.lanes > 0 or self.wanted == 0)

    @property
    def starts(self) -> bool:
        """Whether there is room to load the policy and to make the engine."""
        return self.start <= self.has


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
    limits = [recipe.train.tokens, recipe.sampling.context, setting.shape.context]
    return min([whole, *(limit for limit in limits if limit)])


def plan_memory(setting: Setting, layout: Layout, groups: Sequence[Group]) -> list[Memory]:
    """Of an accelerator that trains, and of one that samples where these are others."""
    has = setting.machine.memory * (1 - setting.assumed.reserved)
    alone = Memory(
        has, _resident(setting, layout), _of_update(setting, layout, groups), {}, 0.0, 0, 0
    )
    if layout.apart:
        sampler = _with_engine(setting, layout, Memory(has, {}, {}, {}, 0.0, 0, 0))
        return [_with_start(setting, alone), _with_start(setting, sampler)]
    return [_with_start(setting, _with_engine(setting, layout, alone))]


def _resident(setting: Setting, layout: Layout) -> dict[str, float]:
    shared = layout.update if setting.recipe.run.shard else 1
    of_one = 4 * setting.shape.parameters / shared
    models = 1 + int(setting.recipe.rl.critic is not None)
    apart = setting.trained if setting.recipe.policy.lora is not None else 0
    held = {
        "weights (float32)": models * (of_one + 4 * apart / shared),
        "moments of AdamW": models * 8 * setting.trained / shared,
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
        "gradients (float32)": 4 * setting.trained / shared,
        "activations": activation_bytes(setting, tokens),
        "logits": min(tokens * drawn * shape.vocabulary, LOGIT_ROWS) * _LOGIT_BYTES,
    }
    if shared > 1:
        root = 4 * (shape.parameters - shape.layers * shape.layer_weights)
        parts["gathered weights"] = root + 2 * setting.compute_bytes * shape.layer_weights
    elif setting.compute_bytes == 2:
        parts["weights (bfloat16)"] = 2.0 * shape.parameters
    return parts


def _with_engine(setting: Setting, layout: Layout, one: Memory) -> Memory:
    """With an engine that has as many lanes as there is room for, or `hf`'s on an accelerator.

    That takes the cache of all episodes at once, each as long as the engine's context. So does vLLM
    beside the trainer with its share of the memory, whatever is asked of it.
    """
    shape, recipe = setting.shape, setting.recipe
    engine: dict[str, float] = {}
    if recipe.copies_itself or not recipe.samples_itself:
        engine["engine's weights"] = shape.parameters * setting.weight_bytes / layout.tensor
    token = shape.cache_bytes(setting.weight_bytes) / layout.tensor
    if setting.fixed_cache:
        each = recipe.engine.replicas if recipe.engine.name == "ray" else 1
        lanes = -(-recipe.run.concurrency // each)
        context = recipe.sampling.context or shape.context
        return replace(one, engine=engine, lane=context * token, lanes=lanes, wanted=lanes)
    episodes = recipe.rl.tasks * recipe.rl.siblings * (1 + recipe.rl.staleness)
    wanted = -(-min(episodes, recipe.run.concurrency * layout.update) // layout.replicas)
    lane = longest_row(setting) * token
    room = one.left - sum(engine.values())
    taken = _taken(setting, sum(engine.values())) if recipe.engine.name == "vllm" else room
    lanes = max(0, min(wanted, int(min(room, taken) // lane)))
    if recipe.engine.name == "vllm":
        engine["engine's cache besides"] = max(0.0, taken - lanes * lane)
    return replace(one, engine=engine, lane=lane, lanes=lanes, wanted=wanted)


def _taken(setting: Setting, weights: float) -> float:
    """What vLLM takes for its cache in a process that trains."""
    engine = setting.recipe.engine
    if engine.cache_gib is not None:
        return engine.cache_gib * 2**30
    return max(0.0, engine.memory * setting.machine.memory - weights)


def _with_start(setting: Setting, one: Memory) -> Memory:
    """With what the start needs: a policy is loaded whole in float32, sharded or not.

    The fullest of: the whole policy, twice where `hf` copies it before it rounds the copy; that
    policy beside the engine; a critic or a reference that is loaded after both.
    """
    whole = 4.0 * setting.shape.parameters
    weights = sum(one.engine.values())
    cache = one.cache / _FILLED if setting.fixed_cache else one.cache
    moments = [weights + one.cache]
    if one.resident:
        copies = 1 + int(setting.recipe.copies_itself)
        moments += [copies * whole, whole + weights + one.cache, whole + cache]
        rl = setting.recipe.rl
        if rl.critic is not None or rl.reference is not None:
            share = one.resident["weights (float32)"] / (1 + int(rl.critic is not None))
            moments.append(share + weights + one.cache + whole)
    elif setting.fixed_cache:
        moments += [whole, weights + cache]
    return replace(one, start=max(moments))
