"""A gate before an engine, for its weights to be changed while episodes go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from itertools import count

from longstep_agents.model import Model, PausedError, SamplingParams
from longstep_agents.types import Completion


class Gate:
    """Passes completions on; while it is shut, those that come wait, and none is under way.

    So every completion is sampled by one policy, and an episode goes on with the next. Once it is
    paused, what is under way is the last that passes.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._under_way = 0
        self._opened: asyncio.Event | None = None
        self._idle: asyncio.Event | None = None
        self._paused = False
        self._refused = count()

    def pause(self) -> None:
        """Pass no completion any more."""
        self._paused = True

    async def sample(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """One completion of the model behind, as soon as the gate is open.

        Raises:
            PausedError: the gate is paused.
        """
        if self._paused:
            raise PausedError(Completion(), next(self._refused))
        while self._opened is not None:
            await self._opened.wait()
        self._under_way += 1
        try:
            return await self._model.sample(prompt_ids, params)
        finally:
            self._under_way -= 1
            if self._idle is not None and not self._under_way:
                self._idle.set()

    def release(self, session: Hashable) -> None:
        """Forget a session."""
        self._model.release(session)

    @asynccontextmanager
    async def shut(self) -> AsyncIterator[None]:
        """Hold back what comes, wait for what is under way, and open again after the body."""
        self._opened, self._idle = asyncio.Event(), asyncio.Event()
        try:
            if self._under_way:
                await self._idle.wait()
            yield
        finally:
            self._opened.set()
            self._opened = self._idle = None
