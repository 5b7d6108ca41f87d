"""Demonstrations that were recorded elsewhere, in place of those that the expert plays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from longstep_agents.atif import read_atif
from longstep_agents.baselines import ReplayAgent
from longstep_agents.language_agent import AgentKit
from longstep_agents.model import ContextError
from longstep_agents.recording import Recording, as_played, recite, with_commands
from longstep_agents.render import Renderer
from longstep_agents.rollout import EpisodeRequest, collect
from longstep_agents.types import Group, Trajectory
from longstep_envs import EnvPool
from longstep_envs.types import BadValueError, DataError
from longstep_training.recipe import TaskSource


class Demonstrations:
    """Recordings as the policy would have played them.

    Those of tasks that are trained on are played again in the environment, which tells the commands
    that it listed, and whether they succeed. Others are taken at their word.
    """

    def __init__(
        self,
        path: Path,
        source: TaskSource,
        renderer: Renderer,
        kit: AgentKit,
        context: int | None = None,
    ) -> None:
        """Read the files of ATIF at `path`.

        Raises:
            DataError: there is none that the policy could imitate.
        """
        recordings, self.refused = read_atif(path)
        self._played: list[Trajectory] = []
        for recording, played in zip(recordings, _play_again(recordings, source), strict=True):
            try:
                checked = _checked(recording, played, source.turns)
                self._played.append(recite(checked, renderer, kit, context))
            except (BadValueError, ContextError) as error:
                self.refused.append(f"{recording.name}: {error}")
        if not self._played:
            told = "; ".join(self.refused[:3])
            raise DataError(f"{path} holds nothing that this policy could imitate: {told}")

    def __len__(self) -> int:
        return len(self._played)

    def draw(self, count: int, rng: random.Random) -> Sequence[Group]:
        """So many, drawn at random, one a group."""
        return [Group((rng.choice(self._played),)) for _ in range(count)]


def _play_again(recordings: Sequence[Recording], source: TaskSource) -> Sequence[Trajectory | None]:
    """What comes of the same actions; None for what is no task of the environment."""
    known = set(source.task_ids())
    ours = {
        EpisodeRequest(recording.task_id, recording.seed, agent_seed=number): recording
        for number, recording in enumerate(recordings)
        if recording.env_id in ("", source.env_id) and recording.task_id in known
    }
    limits = replace(source.limits, tokens=None)
    with EnvPool(source.env_id, dict(source.env_kwargs), limits=limits) as pool:
        requests = list(ours)
        found = asyncio.run(collect(pool, requests, lambda r: ReplayAgent(as_played(ours[r]))))
    played = {request.agent_seed: t for request, t in zip(requests, found, strict=True)}
    return [played.get(number) for number in range(len(recordings))]


def _checked(recording: Recording, played: Trajectory | None, turns: int | None) -> Recording:
    if recording.success is False:
        raise BadValueError("it tells of a failure")
    if turns is not None and len(recording.turns) > turns:
        raise BadValueError(f"{len(recording.turns)} turns are more than imitation.turns, {turns}")
    if played is None:
        return recording
    if played.error:
        raise BadValueError(f"it cannot be played again: {played.error}")
    acted = sum(turn.target == "environment" for turn in recording.turns)
    if not played.success or len(played.steps) != acted:
        raise BadValueError(f"played again, it ends in {played.stop_reason}")
    return with_commands(recording, played)
