"""A discrete-event simulation of rollouts and updates, synchronous or with staleness.

Every replica of the engine works off what it is given: the work before a turn's first token, one
after another, then passes, in which all its running episodes get a token each. Between two events
the time of a pass is taken as it was at the first of them. Environments answer meanwhile; a trainer
takes groups as `longstep train` does, so many whole ones an iteration.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from longstep_training.planning.costs import Costs
from longstep_training.planning.episodes import Episode, Group

Event = tuple[float, int, Callable[[], None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulation of some iterations came to."""

    iterations: int
    seconds: float
    """From the first draw to the end of the last update."""
    update_seconds: float
    """Of this, in updates."""
    trainer_waited: float
    """Of this, the trainer without groups to learn from."""
    engine_busy: float
    """The share of it in which a replica works, in the mean."""
    in_environment: float
    """Environments that were answering at a time, in the mean."""
    batch: float
    """Tokens that a pass drew, in the mean."""
    drawn: float
    """Tokens drawn for what was learnt from."""
    learnt: Sequence[int]
    """The groups that were learnt from, in order."""

    @property
    def step(self) -> float:
        """Seconds of an iteration."""
        return self.seconds / self.iterations


@dataclass(slots=True, eq=False)
class _Play:
    """An episode under way."""

    group: int
    episode: Episode
    replica: _Replica
    turn: int = 0
    past: float = 0.0


@dataclass(slots=True, eq=False)
class _Replica:
    """One copy of the engine."""

    now: float = 0.0
    work: float = 0.0
    """Seconds to be worked off before the next pass."""
    passes: float = 0.0
    cached: float = 0.0
    """Tokens that the running episodes see."""
    running: list[tuple[float, int, _Play]] = field(default_factory=list)
    """A heap by the pass after which each is done."""
    waiting: deque[_Play] = field(default_factory=deque)
    lanes: int = 0
    """Episodes that hold one."""
    held: int = 0
    """Episodes, those that wait for a lane included."""
    version: int = 0
    busy: float = 0.0
    drawn: float = 0.0

    def advance(self, now: float, costs: Costs) -> None:
        """Let the time until `now` pass."""
        left, self.now = now - self.now, now
        worked = min(left, self.work)
        self.work -= worked
        self.busy += worked
        left -= worked
        if not self.running or left <= 0:
            return
        count = len(self.running)
        most = max(0.0, self.running[0][0] - self.passes)  # then there is an event
        tick = costs.pass_time(count, self.cached)
        done = min(most, left / tick) if tick else most
        self.busy += left
        self.passes += done
        self.drawn += done * count
        self.cached += done * count

    def due(self, costs: Costs) -> float | None:
        """When the first of the running episodes has its reply."""
        if not self.running:
            return None
        left = max(0.0, self.running[0][0] - self.passes)
        return self.now + self.work + left * costs.pass_time(len(self.running), self.cached)


class Simulation:
    """Plays groups in order and learns from them."""

    def __init__(
        self,
        costs: Costs,
        groups: Sequence[Group],
        update: Callable[[Sequence[Group]], float],
        tasks: int,
        staleness: int,
    ) -> None:
        """`update` tells the seconds of an iteration's updates."""
        self._costs, self._groups, self._update = costs, groups, update
        self._tasks, self._staleness = tasks, staleness
        self._replicas = [_Replica() for _ in range(costs.replicas)]
        self._events: list[Event] = []
        self._count = 0
        self._now = 0.0
        self._left = [len(group) for group in groups]
        self._begun, self._whole = 0, list[int]()
        self._queued: deque[tuple[float, _Play]] = deque()
        self._answering, self._answered = 0, 0.0
        self._updates, self._waited, self._idle_since = 0.0, 0.0, 0.0
        self._learnt: list[int] = []
        self._training = False
        self._drawn_at = list[int]()
        """Of each group, the version of the weights it was begun with."""

    def run(self) -> Outcome:
        """Play and learn until all iterations are done."""
        iterations = len(self._groups) // self._tasks
        self._draw()
        while len(self._learnt) < iterations * self._tasks or self._training:
            self._now, _, act = heapq.heappop(self._events)
            act()
        seconds = max(self._now, 1e-12)
        passes = sum(r.passes for r in self._replicas)
        return Outcome(
            iterations=iterations,
            seconds=seconds,
            update_seconds=self._updates,
            trainer_waited=self._waited,
            engine_busy=sum(r.busy for r in self._replicas) / seconds / len(self._replicas),
            in_environment=self._answered / seconds,
            batch=sum(r.drawn for r in self._replicas) / max(passes, 1e-12),
            drawn=sum(e.drawn for g in self._learnt for e in self._groups[g]),
            learnt=tuple(self._learnt),
        )

    def _at(self, when: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, act))

    # The trainer.

    def _draw(self) -> None:
        """Begin groups until as many are outstanding as this and later iterations take."""
        ahead = len(self._learnt) + self._tasks * (1 + self._staleness)
        while self._begun < min(ahead, len(self._groups)):
            for episode in self._groups[self._begun]:
                replica = min(self._replicas, key=lambda one: one.held)
                replica.held += 1
                replica.waiting.append(_Play(self._begun, episode, replica))
            self._drawn_at.append(self._version)
            self._begun += 1
        for replica in self._replicas:
            self._admit(replica)

    def _take(self) -> None:
        """Begin an update if there are groups enough, the oldest first."""
        if self._training or len(self._whole) < self._tasks or not self._in_time():
            return
        self._whole.sort()
        taken, self._whole = self._whole[: self._tasks], self._whole[self._tasks :]
        self._learnt += taken
        groups = [self._groups[g] for g in taken]
        spent = self._update(groups)
        self._updates += spent
        self._waited += self._now - self._idle_since
        self._training = True
        spent += self._costs.credit_seconds * sum(map(len, groups))
        if self._costs.stalls:
            self._rest(spent)
        self._at(self._now + spent, self._send)

    def _in_time(self) -> bool:
        """Whether no group under way would fall behind further than it may."""
        late = (self._left[g] for g in range(self._begun) if self._drawn_at[g] <= self._overdue)
        return not any(late)

    @property
    def _version(self) -> int:
        """How many updates there have been."""
        return len(self._learnt) // self._tasks

    @property
    def _overdue(self) -> int:
        """What was begun with this version, or one before it, the next update must learn from."""
        return self._version - self._staleness

    def _send(self) -> None:
        """The update is over: the engine rests while it gets its weights."""
        self._rest(self._costs.sync_seconds)
        self._at(self._now + self._costs.sync_seconds, self._learn)

    def _learn(self) -> None:
        """The next iteration begins."""
        self._training = False
        self._idle_since = self._now
        self._draw()
        self._take()

    def _rest(self, seconds: float) -> None:
        for replica in self._replicas:
            replica.advance(self._now, self._costs)
            replica.work += seconds
            replica.busy -= seconds
            self._schedule(replica)

    # The engine.

    def _admit(self, replica: _Replica) -> None:
        while replica.waiting and replica.lanes < self._costs.lanes:
            replica.lanes += 1
            self._ask(replica.waiting.popleft())

    def _ask(self, play: _Play) -> None:
        """Give an episode's next turn to its replica."""
        replica, turn = play.replica, play.episode.turns[play.turn]
        replica.advance(self._now, self._costs)
        replica.work += self._costs.turn_work(turn, play.past)
        play.past += turn.read
        replica.cached += play.past
        self._count += 1
        heapq.heappush(replica.running, (replica.passes + turn.drawn, self._count, play))
        self._schedule(replica)

    def _schedule(self, replica: _Replica) -> None:
        replica.version += 1
        due, version = replica.due(self._costs), replica.version
        if due is not None:
            self._at(due, lambda: self._reply(replica, version))

    def _reply(self, replica: _Replica, version: int) -> None:
        if version != replica.version:  # something has come in between
            return
        replica.advance(self._now, self._costs)
        _, _, play = heapq.heappop(replica.running)
        turn = play.episode.turns[play.turn]
        play.past += turn.drawn
        replica.cached = max(0.0, replica.cached - play.past) if replica.running else 0.0
        self._schedule(replica)
        self._wait(play, turn.waited * self._costs.wait)

    # Environments.

    def _wait(self, play: _Play, seconds: float) -> None:
        if self._costs.workers is not None and self._answering >= self._costs.workers:
            self._queued.append((seconds, play))
            return
        self._answering += 1
        self._answered += seconds
        self._at(self._now + seconds, lambda: self._answer(play))

    def _answer(self, play: _Play) -> None:
        self._answering -= 1
        if self._queued:
            seconds, other = self._queued.popleft()
            self._wait(other, seconds)
        play.turn += 1
        if play.turn < len(play.episode.turns):
            self._ask(play)
            return
        play.replica.lanes -= 1
        play.replica.held -= 1
        self._left[play.group] -= 1
        self._admit(play.replica)
        if not self._left[play.group]:
            self._whole.append(play.group)
            self._take()
