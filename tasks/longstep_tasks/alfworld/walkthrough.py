"""A shortest-effort solution of a generated game, written into its file as ALFWorld does."""

from __future__ import annotations

from collections import Counter

from longstep_tasks.alfworld.problem import Wish, mangle
from longstep_tasks.alfworld.rooms import Scene, receptacle_type, table

_TREATMENT = {
    "pick_clean_then_place_in_recep": ("clean", "SinkBasin"),
    "pick_heat_then_place_in_recep": ("heat", "Microwave"),
    "pick_cool_then_place_in_recep": ("cool", "Fridge"),
}


def walkthrough(wish: Wish, scene: Scene) -> list[str]:
    """Commands that solve the game from its start."""
    return _Walker(wish, scene).solve()


class _Walker:
    def __init__(self, wish: Wish, scene: Scene) -> None:
        self.wish, self.scene = wish, scene
        self.names = _shown_names(scene)
        self.place = scene.start
        self.opened: set[str] = set()
        self.commands: list[str] = []

    def solve(self) -> list[str]:
        wish = self.wish
        if wish.lamp:
            self._take(self.scene.of_type(wish.target)[0])
            lamp = self.scene.of_type(wish.lamp)[0]
            self._go(self.scene.objects[lamp][1])
            return [*self.commands, f"use {self.names[lamp]}"]
        home = self._first(wish.receptacle)
        wanted = self.scene.of_type(wish.target)
        if wish.task_type == "pick_two_obj_and_place":
            away = [o for o in wanted if self.scene.objects[o][1] != home]
            for target in away[: 2 - (len(wanted) - len(away))]:
                self._take(target)
                self._put(target, home)
            return self.commands
        self._take(wanted[0])
        if wish.task_type in _TREATMENT:
            verb, kind = _TREATMENT[wish.task_type]
            appliance = self._first(kind)
            self._go(appliance)
            self._say(f"{verb} {self.names[wanted[0]]} with {self.names[appliance]}")
        self._put(wanted[0], home)
        return self.commands

    def _first(self, kind: str) -> str:
        return min(r for r in self.scene.receptacles if receptacle_type(r) == kind)

    def _say(self, command: str) -> None:
        self.commands.append(command)

    def _go(self, receptacle: str) -> None:
        if self.scene.receptacles[receptacle] != self.place:
            self.place = self.scene.receptacles[receptacle]
            self._say(f"go to {self.names[receptacle]}")

    def _open(self, receptacle: str) -> None:
        self._go(receptacle)
        if receptacle_type(receptacle) in table("openable") and receptacle not in self.opened:
            self.opened.add(receptacle)
            self._say(f"open {self.names[receptacle]}")

    def _take(self, target: str) -> None:
        home = self.scene.objects[target][1]
        self._open(home)
        self._say(f"take {self.names[target]} from {self.names[home]}")

    def _put(self, target: str, receptacle: str) -> None:
        self._open(receptacle)
        self._say(f"move {self.names[target]} to {self.names[receptacle]}")


def _shown_names(scene: Scene) -> dict[str, str]:
    """What a player reads for each id: ids of one kind are numbered downwards in sorted order."""
    order = sorted([*scene.objects, *scene.receptacles], key=lambda i: mangle(i).lower())
    kinds = {i: _kind(i.lower()) for i in order}
    left = Counter(kinds.values())
    names = {}
    for i in order:
        names[i] = f"{kinds[i]} {left[kinds[i]]}"
        left[kinds[i]] -= 1
    return names


def _kind(lowered: str) -> str:
    return lowered.partition("|")[0] + ("basin" if "basin" in lowered else "")
