"""What each part of an iteration costs: a roofline of every phase, in seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from longstep_training.planning.episodes import Episode, Group, Turn
from longstep_training.planning.machines import Machine
from longstep_training.planning.settings import Assumptions, Recipe
from longstep_training.planning.shapes import Shape

OPTIMIZER_BYTES = 28
"""Of each weight in a step of AdamW: weight, gradient and two moments read, all but the gradient
written, 4 bytes each."""


@dataclass(frozen=True, slots=True)
class Setting:
    """All that a plan is made from."""

    shape: Shape
    machine: Machine
    recipe: Recipe
    assumed: Assumptions

    @property
    def weight_bytes(self) -> int:
        """Of a weight or a cached number where the engine computes."""
        engine = self.recipe.sampling
        return 4 if engine.dtype == ("float32" if engine.is_vllm else "policy") else 2

    @property
    def trained(self) -> int:
        """The weights that have a gradient: all, or the adapters'."""
        lora = self.recipe.policy.lora
        return self.shape.parameters if lora is None else self.shape.adapter_weights(lora.rank)

    @property
    def fixed_cache(self) -> bool:
        """Whether the engine takes its whole cache at once, as `hf` does on an accelerator."""
        return self.machine.accelerator and not self.recipe.sampling.is_vllm

    @property
    def compute_bytes(self) -> int:
        """Of a number where the update computes."""
        return 2 if self.recipe.run.precision == "bfloat16" else 4

    @property
    def pass_seconds(self) -> float:
        """Of a pass of the engine, besides what it computes."""
        if self.assumed.pass_seconds is not None:
            return self.assumed.pass_seconds
        if not self.machine.accelerator:
            return 0.001
        return 0.003 if self.recipe.sampling.is_vllm else 0.0007 * self.shape.layers


@dataclass(frozen=True, slots=True)
class Layout:
    """Who does what."""

    update: int
    """Accelerators that train together, weights sharded over all of them."""
    engine: int
    """Accelerators that sample."""
    apart: bool
    """Whether these are others; else they take turns."""
    tensor: int = 1
    """Accelerators of one replica of the engine."""

    @property
    def used(self) -> int:
        """Accelerators in all."""
        return self.update + self.engine if self.apart else max(self.update, self.engine)

    @property
    def replicas(self) -> int:
        """Copies of the policy that sample side by side."""
        return max(1, self.engine // self.tensor)


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of every elementary part, for one layout."""

    replicas: int
    lanes: int
    """Episodes of a replica at a time."""
    stalls: bool
    """Whether the engine rests during an update, as they share accelerators."""
    pass_seconds: float
    weight_seconds: float
    """To read the weights once, for a pass."""
    cache_seconds: float
    """To read a token's keys and values, in each pass."""
    drawn_seconds: float
    """Arithmetic of a drawn token."""
    read_seconds: float
    """Arithmetic of a token of a prompt."""
    pair_seconds: float
    """Attention of a token to one before it."""
    host_seconds: float
    wait: float
    """Factor on what environments take."""
    workers: int | None
    sync_seconds: float
    credit_seconds: float
    """Of an episode."""
    flop_seconds: float
    """Of an operation of the update, by all that train together."""
    traffic_seconds: float
    """To gather weights and scatter gradients, for each packed batch."""
    optimizer_seconds: float
    """Of an optimiser's step, the sum of unsharded gradients included."""

    def pass_time(self, running: float, cached: float) -> float:
        """Of a pass that draws `running` tokens and sees `cached`: o + max(memory, arithmetic)."""
        memory = self.weight_seconds + self.cache_seconds * cached
        return self.pass_seconds + max(memory, self.drawn_seconds * running)

    def turn_work(self, turn: Turn, past: float) -> float:
        """Of a replica, before a turn's first token is drawn."""
        read, past = turn.read - turn.shared, past + turn.shared
        pairs = read * (past + read / 2)
        return self.host_seconds + self.read_seconds * read + self.pair_seconds * pairs


def make_costs(setting: Setting, layout: Layout, lanes: int) -> Costs:
    """The costs of a layout whose replicas hold so many episodes each."""
    shape, machine, assumed = setting.shape, setting.machine, setting.assumed
    arithmetic = layout.tensor * machine.rate(setting.weight_bytes) * assumed.read_efficiency
    memory = layout.tensor * machine.bandwidth * assumed.decode_efficiency
    holders = layout.update if setting.recipe.run.shard else 1
    token = shape.read_flops(1.0) + shape.logit_flops(1.0)
    return Costs(
        replicas=layout.replicas,
        lanes=lanes,
        stalls=not layout.apart,
        pass_seconds=setting.pass_seconds,
        weight_seconds=shape.parameters * setting.weight_bytes / memory,
        cache_seconds=shape.cache_bytes(setting.weight_bytes) / memory,
        drawn_seconds=token / arithmetic,
        read_seconds=shape.read_flops(1.0) / arithmetic,
        pair_seconds=4 * shape.layers * shape.query_width / arithmetic,
        host_seconds=assumed.host_seconds,
        wait=1.0,
        workers=assumed.workers,
        sync_seconds=_sync_seconds(setting, layout),
        credit_seconds=assumed.credit_seconds,
        flop_seconds=1.0
        / (layout.update * machine.rate(setting.compute_bytes) * assumed.update_efficiency),
        traffic_seconds=_traffic(setting, layout.update),
        optimizer_seconds=_sum_seconds(setting, layout.update)
        + OPTIMIZER_BYTES
        * setting.trained
        / (holders * machine.bandwidth * assumed.decode_efficiency),
    )


def _sync_seconds(setting: Setting, layout: Layout) -> float:
    """Of new weights for the engine: gathered in float32 where sharded, then handed over once.

    Process 0 writes them for a server. With vLLM in the processes, or Ray, each hands over its own
    copy, and those of a machine share what brings them on.
    """
    recipe, size = setting.recipe, 4 * setting.shape.parameters
    if recipe.samples_itself and not recipe.copies_itself:
        return 0.0
    count = layout.update
    gathered = size * (count - 1) / count / _bus(setting, count) if recipe.run.shard else 0.0
    if recipe.samples_itself:
        return gathered
    if recipe.engine.broadcasts:  # in bfloat16, from process 0 to all of the server's
        return gathered + size / 2 / _bus(setting, layout.used)
    copies = 1 if recipe.engine.name == "vllm_server" else min(count, setting.machine.node)
    return gathered + copies * size / setting.assumed.handover_rate


def _traffic(setting: Setting, count: int) -> float:
    """Of a packed batch, what sharded weights cost: all are gathered forward and backward.

    What belongs to no block is gathered as float32, and gradients are scattered as float32. Where
    every process holds all weights, only a step's gradients are summed: `_sum_seconds`.
    """
    if not setting.recipe.run.shard:
        return 0.0
    blocks = setting.shape.layers * setting.shape.layer_weights
    rest = setting.shape.parameters - blocks
    moved = 2 * (blocks * setting.compute_bytes + rest * 4) + 4 * setting.trained
    return moved * (count - 1) / count / _bus(setting, count)


def _sum_seconds(setting: Setting, count: int) -> float:
    """Of summing all gradients over processes that hold all weights: 2 (n - 1) / n of them."""
    if setting.recipe.run.shard:
        return 0.0
    return 8 * setting.trained * (count - 1) / count / _bus(setting, count)


def _bus(setting: Setting, count: int) -> float:
    return setting.machine.bus(count) * setting.assumed.link_efficiency


def update_flops(setting: Setting, groups: Sequence[Group]) -> float:
    """Operations of the updates of an iteration.

    Forward 2 for each weight and token and 2 L q T^2 of causal attention; logits of drawn tokens
    only; backward twice that, and once where adapters are trained; activations computed again once
    more. Other forward passes are added, and a critic doubles it. With `share`, siblings have their
    first prompt once.
    """
    rl = setting.recipe.rl
    forward = sum(_forward(setting, episode) for group in groups for episode in group)
    if rl.optimizer.share:
        first = setting.shape.read_flops(setting.assumed.prompt_tokens)
        forward -= sum((len(group) - 1) * first for group in groups)
    back = 2 if setting.recipe.policy.lora is None else 1
    times = 1 + back + int(setting.recipe.run.activation_checkpointing == "full")
    critics = 1 + int(rl.critic is not None)
    return forward * (times * rl.schedule.passes * critics + setting.recipe.scoring_passes)


def _forward(setting: Setting, episode: Episode) -> float:
    shape = setting.shape
    return shape.read_flops(episode.tokens) + shape.logit_flops(episode.drawn)


def packed_batches(setting: Setting, groups: Sequence[Group], count: int) -> int:
    """Packed batches that each of `count` processes computes one after the other."""
    schedule = setting.recipe.rl.schedule
    tokens = sum(episode.tokens for group in groups for episode in group)
    each = tokens / schedule.updates / count / setting.recipe.rl.optimizer.token_budget
    return max(1, math.ceil(each)) * schedule.updates * schedule.passes


def update_seconds(setting: Setting, costs: Costs, groups: Sequence[Group], count: int) -> float:
    """Of the updates of an iteration: the longer of arithmetic and traffic, and the optimiser's."""
    schedule = setting.recipe.rl.schedule
    arithmetic = update_flops(setting, groups) * costs.flop_seconds
    traffic = packed_batches(setting, groups, count) * costs.traffic_seconds
    steps = schedule.updates * schedule.passes
    return max(arithmetic, traffic) + steps * costs.optimizer_seconds
