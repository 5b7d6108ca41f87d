"""What is measured of one iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from longstep_agents.models.engine import Statistics
from longstep_agents.types import Group, Trajectory
from longstep_training.credit import step_groups
from longstep_training.distributed import World

_LEARNT = (
    "loss",
    "entropy",
    "fresh_tokens",
    "clip_fraction",
    "correction",
    "reference_kl",
    "first_tokens",
    "first_ratio_deviation",
    "ratio_deviation",
    "sampler_kl",
    "skipped",
)


def iteration_row(
    world: World, groups: Sequence[Group], sums: Mapping[str, float], seconds: float
) -> dict[str, Any]:
    """Means over all ranks' episodes, and over their chosen tokens for what `sums` holds.

    What compares the policy with the one that sampled is a mean over fresh tokens, which no earlier
    policy chose. `entropy` is None where nothing was learnt from, since then it was not measured.
    """
    # Every rank names the same sums, also one that had nothing to learn from.
    local = {**dict.fromkeys(_LEARNT, 0.0), **sums, **_counts(groups)}
    norm = local.pop("grad_norm")
    total = world.sum_values(local)
    episodes, tokens = max(1.0, total["counted"]), max(1.0, total["tokens"])
    fresh = max(1.0, total["fresh_tokens"])
    return {
        "success": total["successes"] / episodes,
        "reward": total["rewards"] / episodes,
        "turns": total["turns"] / episodes,
        "invalid_actions": total["invalid"] / max(1.0, total["turns"]),
        "entropy": total["entropy"] / tokens if total["tokens"] else None,
        "loss": total["loss"] / max(1.0, total["shares"]),
        "grad_norm": norm,
        "skipped_steps": int(total["skipped"] / world.size),
        "clip_fraction": total["clip_fraction"] / tokens,
        "correction": total["correction"] / tokens,
        "reference_kl": total["reference_kl"] / tokens,
        "ratio_deviation": total["ratio_deviation"] / fresh,
        "first_ratio_deviation": (total["first_ratio_deviation"] / max(1.0, total["first_tokens"])),
        "sampler_kl": total["sampler_kl"] / fresh,
        "uniform_groups": total["uniform_groups"] / max(1.0, total["groups"]),
        "anchor_group_size": total["turns"] / max(1.0, total["states"]),
        "episodes": int(total["episodes"]),
        "failed_episodes": int(total["episodes"] - total["counted"]),
        "retries": int(total["retries"]),
        "chosen_tokens": int(total["tokens"]),
        "tokens_per_second": total["context_tokens"] / seconds,
    }


def parts_row(world: World, groups: Sequence[Group]) -> dict[str, float]:
    """By name, what each part of the reward sums to in an episode: the mean over all ranks'.

    Parts of single tests, such as `test:…`, are left out: there are as many as there are tests.
    """
    counted = [t for group in groups for t in group.counted]
    sums: dict[str, float] = {}
    for step in (step for t in counted for step in t.steps):
        for name, value in step.reward_parts.items():
            if ":" not in name:
                sums[name] = sums.get(name, 0.0) + value
    ranks = world.gather((len(counted), sums))
    episodes = max(1, sum(count for count, _ in ranks))
    names = sorted({name for _, told in ranks for name in told})
    return {name: sum(told.get(name, 0.0) for _, told in ranks) / episodes for name in names}


def sampling_row(world: World, done: Statistics, seconds: float) -> dict[str, Any]:
    """How fast all ranks have sampled in `seconds`, and what of the engine's work was for nothing.

    `batch` is the mean number of completions that a run of the model brought on, `busy` the share
    of the time in which the model ran. `wasted` are drawn tokens that nobody got; `kept` and
    `shared` are tokens of prompts that were not computed again, from the turn before and from
    another episode. What an engine does not tell is left out.
    """
    counts = world.sum_values({**asdict(done), "ranks": 1.0, "waited": seconds})
    prompts = counts["computed"] + counts["kept"] + counts["shared"]
    shares = {
        "batch": (counts["sampled"], counts["passes"]),
        "busy": (counts["busy_seconds"], counts["waited"] if counts["passes"] else 0.0),
        "wasted": (counts["sampled"] - counts["useful"], counts["sampled"]),
        "kept": (counts["kept"], prompts),
        "shared": (counts["shared"], prompts),
    }
    return {
        "sampled_tokens_per_second": counts["useful"] * counts["ranks"] / counts["waited"],
        "engine": {name: part / whole for name, (part, whole) in shares.items() if whole},
    }


def status(row: Mapping[str, Any]) -> str:
    """One line for the progress display."""
    entropy = "n/a" if row["entropy"] is None else f"{row['entropy']:.2f}"
    return (
        f"success {100 * row['success']:4.1f} %  reward {row['reward']:.2f}  "
        f"entropy {entropy}  {row['tokens_per_second']:,.0f} tok/s"
    )


def _counts(groups: Sequence[Group]) -> dict[str, float]:
    played = [t for group in groups for t in group.trajectories]
    counted = [t for t in played if t.counts]
    return {
        "episodes": len(played),
        "counted": len(counted),
        "retries": sum(t.attempts - 1 for t in played),
        "successes": sum(t.success for t in counted),
        "rewards": sum(t.total_reward for t in counted),
        "turns": sum(len(t.steps) for t in counted),
        "states": sum(len(step_groups(group.trajectories)) for group in groups),
        "invalid": sum(not step.action_valid for t in counted for step in t.steps),
        "groups": len(groups),
        "uniform_groups": sum(len({t.total_reward for t in g.counted}) < 2 for g in groups),
        "context_tokens": sum(_token_count(t) for t in counted),
    }


def _token_count(trajectory: Trajectory) -> int:
    return sum(len(s.bridge_ids) + len(s.completion.ids) for s in trajectory.steps)
