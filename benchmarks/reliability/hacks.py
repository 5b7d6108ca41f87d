"""What agents gain that want reward and not a solution: degenerate ones, and known tricks.

    python -m benchmarks.reliability.hacks [--tasks 24]

Each trick plays the same tasks as an agent that chooses at random and as the expert. A trick has
gained where its mean score is above the random agent's by more than `MARGIN`. Beside that: loops
around an action that has scored, pages that tell the agent what to do, texts for a judge, and
replies stuffed for rewards of form. All episodes go through the monitors.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import Annotated, Any

import typer
from benchmarks.reliability.evidence import save
from benchmarks.reliability.trick_episodes import Found, attack, mean, play, solvable
from benchmarks.reliability.trick_texts import judged, poisoned, stuffed
from benchmarks.reliability.tricks import OWN, SHORTCUTS

from longstep_envs import make

_SLOW = {"longstep/SWE-v0": 2}
"""Tasks of those environments whose episodes take seconds."""


def main(tasks: Annotated[int, typer.Option(help="Of each environment, at most.")] = 24) -> None:
    """Play everything, and write what was gained."""
    numbers: dict[str, Any] = {}
    attempts = 0
    gained: list[str] = []
    false, flagged = Counter[str](), Counter[bool]()
    for env_id in OWN:
        with closing(make(env_id)) as env:
            found = attack(env, env_id, min(tasks, _SLOW.get(env_id, tasks)))
            weak = {
                name: mean([play(env, task, trick()) for task in solvable(env, tasks)])
                for name, trick in SHORTCUTS.get(env_id, {}).items()
            }
        loops = sum(map(len, found.farmed.values()))
        attempts += loops + sum(map(len, found.tricks.values()))
        gained += [f"{env_id}: {name}" for name in found.gained]
        false.update(flag for one in found.expert for flag in one.flags)
        flagged.update(bool(one.flags) for episodes in found.tricks.values() for one in episodes)
        numbers[env_id] = _told(found, loops) + "".join(
            f"; {name}, which is no trick: {score:.3f}" for name, score in weak.items()
        )
        typer.echo(f"{env_id}: {numbers[env_id]}; gained: {found.gained or 'none'}")
    for name, test in (("pages", poisoned), ("judges", judged), ("forms", stuffed)):
        tried, won = test()
        attempts += tried
        gained += won
        numbers[name] = f"{tried} attempts, gained: {', '.join(won) or 'none'}"
    numbers |= {
        "attempts": attempts,
        "gained": gained or 0,
        "episodes of tricks that are flagged": f"{flagged[True]} of {flagged.total()}",
        "false alarms on the expert's episodes": dict(false) or 0,
    }
    save("hacks", "Tricks against every environment's reward", numbers)


def _told(found: Found, loops: int) -> str:
    best = max(found.tricks, key=lambda name: mean(found.tricks[name]))
    alarms = sum(bool(one.flags) for one in found.expert)
    return (
        f"{found.tasks} tasks, {len(found.tricks)} tricks and {loops} loops; expert "
        f"{mean(found.expert):.3f} (flagged: {alarms}), random {mean(found.chance):.3f}, the best "
        f"trick {mean(found.tricks[best]):.3f} ({best})"
    )


if __name__ == "__main__":
    typer.run(main)
