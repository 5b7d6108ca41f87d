"""Which environments there are: lazy lines, for our own and for other packages' environments."""

from __future__ import annotations

import difflib
import importlib
import inspect
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import gymnasium

from longstep_envs.data import DataSpec, find_folder
from longstep_envs.env import TextEnv
from longstep_envs.types import BadValueError, LongstepError, PluginError, UnknownNameError

ENVS: dict[str, str] = {
    "longstep/ALFWorld-v0": "longstep_envs.alfworld:ALFWorldEnv",
    "longstep/Faulty-v0": "longstep_envs.faulty:FaultyEnv",
    "longstep/Search-v0": "longstep_envs.search:SearchEnv",
    "longstep/ScienceWorld-v0": "longstep_envs.scienceworld:ScienceWorldEnv",
    "longstep/SWE-v0": "longstep_envs.swe.env:SWEEnv",
    "longstep/TextWorld-v0": "longstep_envs.textworld:TextWorldEnv",
    "longstep/Treasure-v0": "longstep_envs.treasure:TreasureEnv",
    "longstep/WebShop-v0": "longstep_envs.webshop:WebShopEnv",
}
"""Environment id -> "module:Class". The module is imported when the environment is first made."""

ENTRY_POINT_GROUP = "longstep.envs"
"""Other packages name their environments here: entry-point name = id, value = "module:Class"."""

FAILURES: dict[str, str] = {}
"""Environment id -> why it cannot be used; filled by plug-ins that are broken."""


@dataclass(frozen=True, slots=True)
class EnvEntry:
    """One registered environment, as `longstep envs` shows it."""

    id: str
    entry_point: str
    summary: str = ""
    concurrency: str = ""
    snapshot: str = ""
    data: str = ""
    """The folder of its benchmark's data, or what is played without."""
    error: str | None = None
    """Why it cannot be used; None where it can."""


def register(env_id: str, entry_point: str, **kwargs: Any) -> None:
    """Add an environment here and in gymnasium; `kwargs` are its default options.

    Raises:
        BadValueError: the id is malformed or taken, or `entry_point` is not "module:Class".
    """
    if ENVS.get(env_id, entry_point) != entry_point:
        raise BadValueError(f"environment {env_id!r} is already registered as {ENVS[env_id]}")
    module, _, name = entry_point.partition(":")
    if not (module and name.isidentifier()):
        raise BadValueError(
            f"environment {env_id!r}: entry point {entry_point!r} is not 'package.module:Class'"
        )
    gymnasium.registry.pop(env_id, None)
    try:
        # No gymnasium wrappers: they hide snapshot() and fork(), and Limits are ours.
        gymnasium.register(
            env_id,
            entry_point,
            kwargs=kwargs,
            max_episode_steps=None,
            order_enforce=False,
            disable_env_checker=True,
        )
    except gymnasium.error.Error as error:
        raise BadValueError(f"environment id {env_id!r}: {error}") from error
    ENVS[env_id] = entry_point


def make(env_id: str, **kwargs: Any) -> TextEnv:
    """Make an environment by its id, without wrappers.

    Raises:
        UnknownNameError: no environment has this id.
        PluginError: the environment's class cannot be loaded.
        BadValueError: the class does not take these options, or not their values.
    """
    cls = load(env_id)
    return build(cls, env_id, {**gymnasium.spec(env_id).kwargs, **kwargs})


def build(cls: type[TextEnv], env_id: str, kwargs: dict[str, Any]) -> TextEnv:
    """An instance of `cls` that knows the id it is registered under."""
    signature = inspect.signature(cls.__init__)
    try:
        signature.bind(None, **kwargs)
    except TypeError as error:
        options = ", ".join(list(signature.parameters)[1:]) or "none"
        raise BadValueError(f"{env_id}: {error}; its options are: {options}") from error
    try:
        env = cls(**kwargs)
    except LongstepError:
        raise
    except (TypeError, ValueError) as error:
        raise BadValueError(f"{env_id} cannot be made with {kwargs}: {error}") from error
    env.spec = gymnasium.envs.registration.EnvSpec(
        env_id,
        entry_point=f"{cls.__module__}:{cls.__qualname__}",
        kwargs=kwargs,
        order_enforce=False,
        disable_env_checker=True,
    )
    return env


def load(env_id: str) -> type[TextEnv]:
    """The class behind an id, imported now if it was not before."""
    check_id(env_id)
    if env_id not in ENVS:
        raise PluginError(f"environment {env_id!r} is registered, but broken: {FAILURES[env_id]}")
    return load_class(env_id, ENVS[env_id])


def load_class(env_id: str, entry_point: str) -> type[TextEnv]:
    """Import the class that "module:Class" names.

    Raises:
        PluginError: the module does not import, or holds no such `TextEnv`.
        LongstepError: what the module itself raised, such as a package that is missing.
    """
    module, _, name = entry_point.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except LongstepError:
        raise
    except Exception as error:  # the module is foreign code: anything may go wrong inside it
        raise PluginError(
            f"environment {env_id!r}: cannot load {entry_point}: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, TextEnv)):
        raise PluginError(f"environment {env_id!r}: {entry_point} is not a longstep_envs.TextEnv")
    return found


def check_id(env_id: str) -> None:
    """Raise `UnknownNameError`, with the nearest id, unless `env_id` is registered."""
    known = {known_id.lower(): known_id for known_id in sorted({*ENVS, *FAILURES})}
    if env_id in known.values():
        return
    wanted = str(env_id)[:200]
    bare = {known_id.rpartition("/")[2]: known_id for known_id in known}
    near = difflib.get_close_matches(wanted.lower(), [*known, *bare], n=1)
    hint = f"; did you mean {known[bare.get(near[0], near[0])]!r}?" if near else ""
    raise UnknownNameError(f"unknown environment {wanted!r}{hint} (`longstep envs` lists them)")


def list_envs() -> list[EnvEntry]:
    """Every registered environment, each class loaded so that what is broken shows."""
    return [_describe(env_id) for env_id in sorted({*ENVS, *FAILURES})]


def _describe(env_id: str) -> EnvEntry:
    entry_point = ENVS.get(env_id, "")
    try:
        cls = load(env_id)
    except LongstepError as error:
        return EnvEntry(env_id, entry_point, error=str(error))
    summary = (inspect.getdoc(cls) or "").partition("\n")[0]
    level = cls.metadata
    data = _describe_data(cls.data) if cls.data is not None else "needs none"
    return EnvEntry(env_id, entry_point, summary, level["concurrency"], level["snapshot"], data)


def _describe_data(spec: DataSpec) -> str:
    try:
        folder = find_folder(spec)
    except LongstepError as error:
        return str(error)
    return str(folder) if folder is not None else f"bundled: {spec.bundled}"


def _register_plugins() -> None:
    for plugin in entry_points(group=ENTRY_POINT_GROUP):
        _register_plugin(plugin)


def _register_plugin(plugin: EntryPoint) -> None:
    try:
        register(plugin.name, plugin.value)
    except LongstepError as error:
        package = plugin.dist.name if plugin.dist else "an unknown package"
        # A plug-in that claims an id in use must not shadow the one that has it.
        key = f"{plugin.name} ({package})" if plugin.name in ENVS else plugin.name
        FAILURES[key] = f"{error} (from {package})"


for _env_id, _entry_point in list(ENVS.items()):
    register(_env_id, _entry_point)
_register_plugins()
