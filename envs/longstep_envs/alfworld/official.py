"""The official engine: the alfworld and textworld packages, behind the same face as ours.

Its parsers are shared by all games of a process and are not thread-safe, its PDDL translator
overwrites `sys.argv`, and a step costs some 100 ms. Metadata says `pinned`: one process each; in
one process, a lock keeps copies apart.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from longstep_envs.alfworld.engine import Turn
from longstep_envs.alfworld.games import DATA, Games
from longstep_envs.packages import needed
from longstep_envs.types import DataError

_LOCK = threading.Lock()


_HARMLESS = (
    *(ast.Expression, ast.BoolOp, ast.Or, ast.BinOp, ast.Add),
    *(ast.Name, ast.Attribute, ast.Constant, ast.Load),
)
"""What the grammars of ALFWorld are made of: `r.name or r.id`, `o.indefinite + ' ' + o.name`."""


class OfficialEngine:
    """Plays the games of one source with textworld's PDDL environment."""

    metadata = {"concurrency": "pinned", "snapshot": "replay"}

    def __init__(self, games: Games) -> None:
        self._games = games
        self._admissible: set[str] = set()
        with _alone():
            self._env = _make()

    def start(self, game_id: str) -> Turn:
        """Begin a game; the translation to SAS takes about half a second.

        Raises:
            DataError: the official packages cannot load the game.
        """
        data = self._games.data(game_id)
        try:
            with _alone():
                self._env.load(data)
                state = self._env.reset()
        except Exception as error:  # foreign code: a bad game fails anywhere in its parsers
            kind = type(error).__name__
            raise DataError(f"{game_id}: textworld cannot load it: {kind}: {error}") from error
        return self._turn(state, valid=True)

    def act(self, command: str) -> Turn:
        """Play one command."""
        valid = command.strip() in self._admissible
        with _alone():
            state, _, _ = self._env.step(command)
        return self._turn(state, valid=valid)

    def _turn(self, state: Any, *, valid: bool) -> Turn:
        commands = list(state["admissible_commands"])
        self._admissible = set(commands)
        return Turn(state["feedback"], commands, bool(state["won"]), valid)


@contextmanager
def _alone() -> Iterator[None]:
    """One engine at a time, with the command line put back afterwards."""
    with _LOCK:
        arguments = sys.argv
        try:
            yield
        finally:
            sys.argv = arguments


@contextmanager
def _no_data_named() -> Iterator[None]:
    """Undo what importing alfworld does: it makes a data folder and names it in its variable.

    Our environments, and every program started from here, would look for games in there.
    """
    named = DATA.variable in os.environ
    folder = Path(os.path.expanduser(DATA.package_default))  # noqa: PTH111 - there may be no home
    kept = folder.exists()
    try:
        yield
    finally:
        if not named:
            os.environ.pop(DATA.variable, None)
        if not kept:
            with suppress(OSError):  # it is not there, or holds something by now
                folder.rmdir()


def _guard(symbol: Any) -> None:
    """Let textworld evaluate only names of a game's grammar.

    What stands there in braces it evaluates as Python, whoever wrote the game.
    """
    derive = symbol.derive
    if hasattr(derive, "__wrapped__"):  # guarded already
        return

    @functools.wraps(derive)
    def guarded(self: Any, context: Any = None) -> Any:
        _refuse_code(self.expression)
        return derive(self, context)

    symbol.derive = guarded


def _refuse_code(expression: str) -> None:
    try:
        nodes = list(ast.walk(ast.parse(expression.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        nodes = [ast.Yield()]  # whatever it is, it is not harmless
    names = (node.attr for node in nodes if isinstance(node, ast.Attribute))
    if not all(isinstance(node, _HARMLESS) for node in nodes) or any(n[0] == "_" for n in names):
        raise DataError(f"the game's grammar holds code: {expression!r:.100}")


def _make() -> Any:
    with needed("alfworld"):
        with _no_data_named():
            from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
        from textworld import EnvInfos
        from textworld.envs.pddl.pddl import PddlEnv
        from textworld.envs.pddl.textgen import EvalSymbol
    _guard(EvalSymbol)
    infos = EnvInfos(won=True, admissible_commands=True, feedback=True)
    return AlfredDemangler(PddlEnv(infos), shuffle=False)
