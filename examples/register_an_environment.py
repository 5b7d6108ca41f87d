"""An environment of your own in one file: written, registered, checked, and trained on.

    python examples/register_an_environment.py runs/tea

It takes less than a minute on a laptop; `runs/tea/report.html` shows what was learnt.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import NamedTuple

import longstep_envs
from longstep_envs import Info, TextEnv, check_env

TEAS = ("black", "green", "white", "mint", "ginger", "lemon", "rooibos", "jasmine")
EXTRAS = ("milk", "honey", "sugar", "cream", "nothing")
TASKS = {
    f"{split}/{tea}-{extra}-{'full' if filled else 'empty'}": (tea, extra, filled)
    for number, (tea, extra, filled) in enumerate(itertools.product(TEAS, EXTRAS, (False, True)))
    for split in (["valid"] if number % 7 == 1 else ["train"])
}


class Table(NamedTuple):
    """The state: immutable, so that a snapshot of it costs nothing."""

    filled: bool = False
    hot: bool = False
    bag: str = ""
    poured: bool = False
    extra: str = "nothing"


class TeaEnv(TextEnv):
    """Make a cup of tea as the guest wants it, in the right order."""

    metadata = TextEnv.metadata | {"concurrency": "thread", "snapshot": "native"}
    task_ids = tuple(TASKS)

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        self.tea, self.wanted, filled = TASKS[task_id]
        self.table = Table(filled=filled)
        info = self._describe()
        if expert:
            info["expert_plan"] = self._plan()
        return f"A guest wants {self.tea} tea with {self.wanted}. {self._look()}", info

    def _act(self, action: str) -> tuple[str, bool, Info]:
        after = self._moves().get(action)
        if after is None:
            return "Nothing happens.", False, self._describe() | {"action_valid": False}
        self.table = after
        served = action == "serve the cup"
        good = (after.bag, after.poured, after.extra) == (self.tea, True, self.wanted)
        info = self._describe() | {"success": served and good, "score": float(served and good)}
        return ("The guest drinks." if served else self._look()), served, info

    def _get_state(self) -> tuple[str, str, Table]:
        return self.tea, self.wanted, self.table

    def _set_state(self, state: tuple[str, str, Table]) -> Info:
        self.tea, self.wanted, self.table = state
        return self._describe()

    def _moves(self) -> dict[str, Table]:
        """What can be done now, and what the table looks like afterwards."""
        table = self.table
        moves = {"serve the cup": table}
        if not table.filled:
            moves["fill the kettle"] = table._replace(filled=True)
        if table.filled and not table.hot:
            moves["boil the water"] = table._replace(hot=True)
        if not table.bag:
            moves |= {f"take a {tea} bag": table._replace(bag=tea) for tea in TEAS}
        if table.hot and table.bag and not table.poured:
            moves["pour the water"] = table._replace(poured=True)
        if table.poured and table.extra == "nothing":
            moves |= {f"add {extra}": table._replace(extra=extra) for extra in EXTRAS[:-1]}
        return moves

    def _plan(self) -> list[str]:
        fill = [] if self.table.filled else ["fill the kettle"]
        extra = [] if self.wanted == "nothing" else [f"add {self.wanted}"]
        make = ["boil the water", f"take a {self.tea} bag", "pour the water"]
        return [*fill, *make, *extra, "serve the cup"]

    def _describe(self) -> Info:
        return {"admissible_commands": list(self._moves()), "action_valid": True, "score": 0.0}

    def _look(self) -> str:
        filled, hot, bag, poured, extra = self.table
        kettle = "hot" if hot else "full" if filled else "empty"
        cup = f"a {bag} bag" if bag else "nothing"
        rest = f", water and {extra}" if poured else ""
        return f"The kettle is {kettle}. In the cup: {cup}{rest}."


def main(out: Path) -> None:
    """Register the environment, check it, and train a small model on it for a few steps."""
    # Worker processes import the environment by this name: its file must be on their path.
    longstep_envs.register("acme/Tea-v0", "register_an_environment:TeaEnv")
    check_env("acme/Tea-v0").raise_if_failed()

    from longstep_agents.page.export import export
    from longstep_training.config import build_config
    from longstep_training.loop import train
    from longstep_training.recipe import TrainConfig

    recipe = {
        "train": {"env_id": "acme/Tea-v0", "split": "train", "turns": 10},
        "evaluation": [
            {"name": "held-out", "tasks": {"env_id": "acme/Tea-v0", "split": "valid", "turns": 10}}
        ],
        "policy": {"small": {"hidden": 48, "layers": 2, "heads": 2, "feed_forward": 96}},
        "agent": {"max_tokens": 8, "action": {"constraint": "admissible"}},
        "imitation": {"iterations": 20, "demonstrations": 48, "optimizer": {"learning_rate": 3e-3}},
        "rl": {
            "iterations": 40,
            "tasks": 8,
            "siblings": 8,
            "credit": {"name": "gigpo", "normalise": False},
            "optimizer": {"learning_rate": 1e-3},
        },
    }
    train(build_config(TrainConfig, recipe, "the recipe above"), out)
    export([out], out / "report.html")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/tea"))
