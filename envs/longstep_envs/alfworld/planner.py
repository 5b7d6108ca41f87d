"""The full-knowledge expert: solves a game from its state, looking into closed cupboards."""

from __future__ import annotations

from longstep_envs.alfworld.engine import apply
from longstep_envs.alfworld.problem import Goal, Problem, State
from longstep_envs.types import DataError

_TREATMENT = {"clean": "sinks", "hot": "microwaves", "cool": "fridges"}
_VERB = {"clean": "clean", "hot": "heat", "cool": "cool"}


def solve(problem: Problem) -> list[str]:
    """Commands that win the game from its start.

    Raises:
        DataError: the game cannot be won: something that its goal needs is not there.
    """
    try:
        return _Planner(problem).solve()
    except ValueError as error:  # min() of nothing: the object, lamp or receptacle is missing
        raise DataError(f"{problem.task!r} cannot be solved in this room") from error


class _Planner:
    """Walks a state forward and writes down the commands."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.state: State = problem.start
        self.commands: list[str] = []

    def solve(self) -> list[str]:
        goal = self.problem.goal
        if goal.lamps:
            self._look_under_lamp(goal)
        else:
            self._place(goal)
        return self.commands

    def _look_under_lamp(self, goal: Goal) -> None:
        self._take(min(o for o in goal.objects if self._holder(o) is not None))
        lamp = min(o for o in goal.lamps if self._holder(o) is not None)
        self._go(self._holder(lamp))
        self._do(f"use {self.problem.objects[lamp]}")

    def _place(self, goal: Goal) -> None:
        at_home = {r: self._ready(goal, r) for r in goal.receptacles}
        home = min(goal.receptacles, key=lambda r: (-len(at_home[r]), r))
        for _ in range(goal.count - len(at_home[home])):
            self._bring(goal, home)

    def _bring(self, goal: Goal, home: int) -> None:
        placed = self._ready(goal, home)
        o = min(
            o
            for o in goal.objects
            if o not in placed and (o == self.state.held or self._holder(o) is not None)
        )
        self._take(o)
        if goal.condition and not getattr(self.state, goal.condition) >> o & 1:
            self._treat(o, goal.condition)
        self._open(home)
        self._do(f"move {self.problem.objects[o]} to {self.problem.receptacles[home]}")

    def _treat(self, o: int, condition: str) -> None:
        bits = getattr(self.problem, _TREATMENT[condition])
        appliance = min(r for r in range(len(self.problem.receptacles)) if bits >> r & 1)
        self._go(appliance)
        name = self.problem.receptacles[appliance]
        self._do(f"{_VERB[condition]} {self.problem.objects[o]} with {name}")

    def _ready(self, goal: Goal, r: int) -> set[int]:
        """The objects in `r` that count for the goal already."""
        bits = getattr(self.state, goal.condition) if goal.condition else -1
        return {o for o in self.state.inside[r] if o in goal.objects and bits >> o & 1}

    def _holder(self, o: int) -> int | None:
        inside = self.state.inside
        return next((r for r in range(len(inside)) if o in inside[r]), None)

    def _take(self, o: int) -> None:
        holder = self._holder(o)
        if holder is not None:
            self._open(holder)
            self._do(f"take {self.problem.objects[o]} from {self.problem.receptacles[holder]}")

    def _open(self, r: int) -> None:
        self._go(r)
        if self.problem.openable & ~self.state.opened & 1 << r:
            self._do(f"open {self.problem.receptacles[r]}")

    def _go(self, r: int | None) -> None:
        if r is not None and self.problem.at[r] != self.state.location:
            self._do(f"go to {self.problem.receptacles[r]}")

    def _do(self, command: str) -> None:
        self.state, feedback, valid = apply(self.problem, self.state, command)
        if not valid:
            raise DataError(f"{self.problem.task!r}: the planner's {command!r} gave {feedback!r}")
        self.commands.append(command)
