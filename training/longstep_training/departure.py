"""Leaving a run where it is, and coming back to it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from longstep_agents.models.engine import Statistics
from longstep_agents.models.lanes import CacheState
from longstep_envs.types import DataError
from longstep_training.tape import read_in_flight, remove_in_flight, write_in_flight

if TYPE_CHECKING:
    from longstep_training.run import Run


class Departure:
    """What a run writes beside its checkpoint when it is left, and finds there again.

    Between two updates the policy, and all that methods remember, is what the last iteration left:
    that is the checkpoint, and what has been played since goes beside it. In the middle of an
    update there is no such place; an iteration is finished where the grace period allows it, else
    the run goes on from the last checkpoint.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._saved, self._save_seconds = 0, 0.0
        self._learning = False
        self._counted = Statistics()
        self._found: tuple[Mapping[str, Any], CacheState | None] | None = None

    def saved(self, seconds: float) -> None:
        """There is a checkpoint of where the run is; what was in flight before is over.

        `seconds` are what it took to write it.
        """
        self._saved, self._save_seconds = self._run.done.policy_version, seconds
        if self._run.world.leads:
            remove_in_flight(self._run.folder)

    def resume(self) -> None:
        """Find what was in flight at the checkpoint that the run has just gone back to."""
        run, self._saved = self._run, self._run.done.policy_version
        try:
            self._found = read_in_flight(run.folder, run.world, self._saved)
        except DataError as error:
            run.display.message(str(error))
        if not all(run.world.gather(self._found is not None)):
            self._found = None
            return
        assert self._found is not None
        told, _ = self._found
        run.done = replace(run.done, seconds=told["seconds"])
        if run.producer is not None and told["orders"] is not None:
            run.producer.load_mine(told["orders"])

    def begin(self, phase: str, iteration: int) -> None:
        """An iteration begins: with what was played of it, if it was left."""
        run, sampler = self._run, self._run.player.sampler
        self._counted, found, self._found = sampler.statistics, self._found, None
        if found is None or found[0]["place"] != [phase, iteration]:
            return
        told, engine = found
        run.player.tape.load(told["episodes"])
        if engine is not None:
            sampler.load(engine)
        known = run.player.tape.known
        over = sum(flight.trajectory is not None for flight in known)
        begun = sum(not flight.start.fresh for flight in known)
        run.display.message(
            f"{phase} {iteration}: of {len(known)} episodes {over} were over, and {begun} go on"
        )

    def must_fit(self, seconds: float) -> None:
        """Leave the run here if it is to end and there is not so much time any more.

        Raises:
            InterruptedRunError: there is not.
        """
        self._learning = True
        self._run.interruption.leave(seconds + self._save_seconds)

    def end(self) -> None:
        """An iteration is over."""
        self._learning = False
        again = self._run.player.tape.clear()
        if again:
            self._run.display.message(
                f"{again} episodes could not be gone on with; they were played from their beginning"
            )

    def leave(self) -> None:
        """Write what it takes to go on from here; every rank has to call this."""
        run = self._run
        if not self._learning and self._saved != run.done.policy_version:
            run.save()
        if self._saved != run.done.policy_version:
            run.display.message("the iteration did not fit: the run goes on from its checkpoint")
            return
        episodes = run.player.tape.told()
        orders = run.producer.mine() if run.producer is not None else None
        if any(run.world.gather(bool(episodes or orders))):
            told = {
                "place": [run.done.phase, run.done.iteration + 1],
                "seconds": run.seconds,
                "episodes": episodes,
                "orders": orders,
            }
            write_in_flight(run.folder, run.world, self._saved, told, self._engine())

    def _engine(self) -> CacheState | None:
        """The engine's state, with counts of this iteration only."""
        run, sampler = self._run, self._run.player.sampler
        if run.producer is not None:
            return None
        done = asdict(sampler.statistics - self._counted)
        counts = {name: value for name, value in done.items() if isinstance(value, int)}
        if self._learning:  # all episodes are over
            return CacheState([], {}, {}, counts, {})
        state = sampler.state()
        if state is None:
            run.display.message("what the engine has read is not kept: it will be read again")
            return CacheState([], {}, {}, counts, {})
        return replace(state, counts=counts)


class Countdown:
    """Guesses how long the rest of some equal steps takes."""

    def __init__(self, steps: int) -> None:
        self._left, self._slowest = steps + 1, 0.0
        self._last: float | None = None

    def seconds_left(self) -> float:
        """To be asked before each step."""
        now = time.perf_counter()
        if self._last is not None:
            self._slowest = max(self._slowest, now - self._last)
        self._last, self._left = now, self._left - 1
        return self._left * self._slowest
