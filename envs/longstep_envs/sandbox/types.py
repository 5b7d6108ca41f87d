"""The words of sandboxes: what one starts from, what bounds it, and what it can do.

A sandbox is a workspace that nothing else sees, and a way to run commands in it. What runs inside
is taken to be hostile: it reaches no network, no file of the host that was not given to it, and
nothing of it is left once the command that started it, or the sandbox, has ended.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from longstep_envs.types import BadValueError, LongstepError


class SandboxError(LongstepError, RuntimeError):
    """A sandbox could not be started, or has died: the machine's fault, never the agent's."""


class SandboxFileError(LongstepError, OSError):
    """A file of a sandbox cannot be read or written: missing, too large, or not a plain file."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Bounds of one sandbox."""

    memory_mb: int = 2_048
    """Of all its processes together."""
    processes: int = 256
    """Processes and threads at one time."""
    disk_mb: int = 512
    """Of the workspace; `/tmp` has as much again."""
    file_mb: int = 256
    """Of one file that is written."""
    output_kb: int = 256
    """Of a command's output that is kept; of more, both ends."""

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not value > 0:
                raise BadValueError(f"SandboxLimits.{limit.name} is {value!r}; it must be above 0")


@dataclass(frozen=True, slots=True)
class DockerOptions:
    """What only containers have."""

    runtime: str = ""
    """The daemon's name of a runtime, such as "runsc" of gVisor; its default where empty."""
    user: str = "1000:1000"
    """Who commands run as, "user:group" in numbers. "0:0", which has no capability either, where
    an image's programs lie in a folder that only root may enter."""
    cpus: float = 1.0
    """Processor time at most, in processors."""

    def __post_init__(self) -> None:
        if not isinstance(self.runtime, str):
            raise BadValueError(f"DockerOptions.runtime is {self.runtime!r}; wanted is a name")
        if not re.fullmatch(r"\d+:\d+", str(self.user)):
            raise BadValueError(f'DockerOptions.user is {self.user!r}; wanted is "user:group"')
        if not isinstance(self.cpus, int | float) or not self.cpus > 0:
            raise BadValueError(f"DockerOptions.cpus is {self.cpus!r}; it must be above 0")

    def changed(self, options: Mapping[str, Any]) -> Self:
        """The same with other values, by their names.

        Raises:
            BadValueError: there is no such option, or a value is none of its kind.
        """
        known = [option.name for option in fields(self)]
        for name in options:
            if name not in known:
                raise BadValueError(
                    f"no option of docker sandboxes: {name!r:.80}; there are {', '.join(known)}"
                )
        return replace(self, **options)


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What a sandbox starts from."""

    image: str = ""
    """A folder that holds a root file system (bubblewrap), or the name of an image (docker). Empty:
    the host's own programs, or the backend's own image."""
    tree: Path | None = None
    """A folder or a tar archive of the host: its files, but for those of git, are copied into the
    workspace."""
    workspace: str = "/testbed"
    """Where commands run."""
    mounts: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the host that are seen inside, read only: path inside to path of the host."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside PATH, HOME, LANG and TMPDIR; nothing of the host's is passed on."""
    limits: SandboxLimits = SandboxLimits()
    docker: DockerOptions = DockerOptions()


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of a command."""

    exit_code: int
    """As a shell tells it: 128 + n for signal n; 124 where its time was over."""
    output: str
    """What it printed on both channels, in order, capped."""
    seconds: float
    output_bytes: int = 0
    """How much it printed, before the cap."""
    timed_out: bool = False
    out_of_memory: bool = False
    """It was killed for the memory that it used."""


@dataclass(frozen=True, slots=True)
class SandboxSnapshot:
    """A point of a sandbox that `Sandbox.restore` can return to, on any sandbox of its backend."""

    backend: str
    state: Any = field(repr=False)
    cwd: str = ""


class Sandbox(ABC):
    """A workspace shut off from the host; starting it is making it."""

    backend: str
    """Its name in `SANDBOXES`."""

    def __init__(self, spec: SandboxSpec) -> None:
        self.spec = spec

    @classmethod
    @abstractmethod
    def missing(cls) -> str:
        """Why this backend does not work on this machine; empty where it does."""

    @abstractmethod
    def run(
        self,
        command: str,
        *,
        timeout: float,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> CommandResult:
        """Run a command in `/bin/sh`; whatever it has started is dead when this returns.

        Args:
            command: Text for the shell.
            timeout: Seconds after which it is killed.
            cwd: Where it runs; the workspace where None.
            environment: More variables.
            stdin: What it reads.

        Raises:
            SandboxError: the sandbox itself failed.
        """

    @abstractmethod
    def read(self, path: str, *, limit: int = 10_000_000) -> bytes:
        """A plain file's contents; links are not followed, pipes and devices not opened.

        Raises:
            SandboxFileError: there is none, it is larger than `limit`, or it is no plain file.
        """

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Write a plain file, with its folders.

        Raises:
            SandboxFileError: it cannot be written.
        """

    @abstractmethod
    def diff(self) -> str:
        """What changed in the workspace since the start, as a git patch that the host made.

        Only plain files count. Nothing inside the sandbox takes part: neither its git nor its
        `.git` folder is asked.
        """

    @abstractmethod
    def snapshot(self) -> SandboxSnapshot:
        """The files of the workspace and of `/tmp` at this moment."""

    @abstractmethod
    def restore(self, snapshot: SandboxSnapshot) -> None:
        """Return to the files of a snapshot, possibly of another sandbox of the same spec."""

    @abstractmethod
    def close(self) -> None:
        """End everything inside and remove every trace; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
