"""The agent protocol. One object plays one episode."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from longstep_agents.types import Completion, Target
from longstep_envs.types import Info


@dataclass(frozen=True, slots=True)
class Aside:
    """What the agent did for itself in place of acting on the environment. It costs a turn."""

    target: Target
    observation: str
    """What it replied to."""
    answer: str
    """What it sees next."""
    fault: str = ""
    admissible: tuple[str, ...] = ()
    """The commands that its prompt listed."""
    ends: str = ""
    """Why the episode ends here; empty where it goes on."""


@dataclass(frozen=True, slots=True)
class Act:
    """One decision: what goes to the environment, and the tokens it came from."""

    action: str
    valid: bool = True
    bridge_ids: tuple[int, ...] = ()
    completion: Completion = field(default_factory=Completion)
    begins_row: bool = False
    aside: Aside | None = None
    """Set where the action does not go to the environment."""
    reasoning: str = ""
    unsayable: int = 0
    shown: str = ""
    """All three as in `Step`."""


class Agent(Protocol):
    """Plays one episode."""

    async def act(self, observation: str, info: Info) -> Act:
        """Choose an action. After an aside, the observation is what the aside was answered."""
        ...

    def close(self) -> None:
        """The episode is over: free what it held."""
        ...
