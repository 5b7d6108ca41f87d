"""What is in flight when a run is left, in a folder of the run, as JSON and safetensors.

The folder is of one policy: it goes with the checkpoint of the same version, and is written before
the run ends. It is sealed, as checkpoints are.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from longstep_agents.models.lanes import CacheState
from longstep_agents.rollout import EpisodeRequest
from longstep_agents.suspension import Flight, Suspended
from longstep_agents.types import Trajectory
from longstep_envs.types import DataError
from longstep_envs.untrusted import parse_json
from longstep_training.distributed import World
from longstep_training.sealed import sealing, verify

FOLDER = "in-flight"
_OWNER = "owner.json"
_TRAJECTORY = TypeAdapter(Trajectory)
_SUSPENDED = TypeAdapter(Suspended)


class Tape:
    """The episodes that this process plays in one iteration, in the order of their requests.

    A resumed iteration asks for the same episodes again, and so is given what was played of them.
    """

    def __init__(self) -> None:
        self._flights: list[Flight] = []
        self._known: list[Flight] = []

    def flights(self, requests: Sequence[EpisodeRequest]) -> list[Flight]:
        """The episodes of these requests, as far as they have come."""
        flights = []
        for request in requests:
            known = self._known.pop(0) if self._known else None
            if known is None or known.start.request != request:
                self._known.clear()  # the run goes another way, as with other settings
                known = Flight(Suspended(request))
            flights.append(known)
        self._flights += flights
        return flights

    def clear(self) -> int:
        """The iteration is over; how many episodes could not be gone on with."""
        again = sum(flight.again for flight in self._flights)
        self._flights, self._known = [], []
        return again

    def told(self) -> list[dict[str, Any]]:
        """All episodes, as JSON can say it."""
        return [tell(flight) for flight in self._flights]

    def load(self, told: Sequence[Mapping[str, Any]]) -> None:
        """Go on with what was told.

        Raises:
            DataError: it is not what `told` gave.
        """
        self._known = [read(one) for one in told]

    @property
    def known(self) -> Sequence[Flight]:
        """What there is to go on with."""
        return self._known


def size(flight: Flight) -> int:
    """The tokens of an episode, and those among which it chose them."""
    steps = flight.left().steps if flight.trajectory is None else flight.trajectory.steps
    return sum(
        len(step.bridge_ids)
        + len(step.completion.ids)
        + sum(len(ids or ()) for ids in step.completion.allowed or ())
        for step in steps
    )


def tell(flight: Flight, *, whole: bool = True) -> dict[str, Any]:
    """An episode, as JSON can say it; only its request unless it is to be told whole."""
    over = flight.trajectory if whole else None
    left = flight.left() if whole and over is None else Suspended(flight.start.request)
    told = {"left": _SUSPENDED.dump_python(left, mode="json", exclude_defaults=True)}
    if over is not None:
        told["trajectory"] = _TRAJECTORY.dump_python(over, mode="json", exclude_defaults=True)
    return told


def read(told: Mapping[str, Any]) -> Flight:
    """The episode that was told so.

    Raises:
        DataError: it is none.
    """
    try:
        flight = Flight(_SUSPENDED.validate_python(told["left"]))
        if "trajectory" in told:
            flight.trajectory = _TRAJECTORY.validate_python(told["trajectory"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"an episode in flight cannot be read ({type(error).__name__}: {error!s:.200}); delete "
            f"the run's folder {FOLDER} to have its episodes played from their beginning"
        ) from error
    return flight


def write_in_flight(
    run: Path, world: World, version: int, told: Mapping[str, Any], engine: CacheState | None
) -> None:
    """Write each process's part; every rank has to call this."""
    name = f"rank-{world.rank}"
    with sealing(run / FOLDER, world) as draft:
        if engine is not None:
            save_file(dict(engine.tensors), draft / f"{name}.safetensors")
        part = {**told, "engine": None if engine is None else engine.told()}
        (draft / f"{name}.json").write_text(json.dumps(part) + "\n", "utf-8")
        if world.leads:
            owner = {"policy_version": version, "processes": world.size}
            (draft / _OWNER).write_text(json.dumps(owner) + "\n", "utf-8")


def read_in_flight(
    run: Path, world: World, version: int
) -> tuple[dict[str, Any], CacheState | None] | None:
    """This process's part of what goes with the policy of `version`; None where nothing does.

    Raises:
        DataError: it was changed since it was written.
    """
    if not (run / FOLDER).exists():
        return None
    verify(run / FOLDER, "its episodes are played from their beginning")
    owner = parse_json((run / FOLDER / _OWNER).read_bytes())
    if owner != {"policy_version": version, "processes": world.size}:
        return None
    path = run / FOLDER / f"rank-{world.rank}.json"
    told: dict[str, Any] = parse_json(path.read_bytes())
    engine = told.pop("engine")
    if engine is None:
        return told, None
    return told, CacheState.read(engine, load_file(path.with_suffix(".safetensors")))


def remove_in_flight(run: Path) -> None:
    """It was gone on with, and is over."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)
