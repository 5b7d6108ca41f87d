"""`longstep/SWE-v0`: mend a repository with tools in a sandbox, and hand in a patch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from longstep_envs.env import TextEnv
from longstep_envs.sandbox.registry import open_sandbox
from longstep_envs.sandbox.types import (
    DockerOptions,
    SandboxError,
    SandboxFileError,
    SandboxSnapshot,
)
from longstep_envs.swe.expert import paths_of, plan
from longstep_envs.swe.grade import grade
from longstep_envs.swe.parts import SIGNALS, counted, final_parts, step_parts
from longstep_envs.swe.patch import remove_files
from longstep_envs.swe.protocol import PROTOCOLS
from longstep_envs.swe.rows import DATA
from longstep_envs.swe.tasks import Tasks, open_tasks
from longstep_envs.swe.tools import Search, Submit, View
from longstep_envs.swe.types import Instance, Repository
from longstep_envs.swe.workbench import Workbench
from longstep_envs.types import (
    BadValueError,
    EnvFaultError,
    ErrorInfo,
    Info,
    SnapshotError,
    UnknownNameError,
    text_hash,
)

_COMMIT = (
    "command -v git >/dev/null && export GIT_AUTHOR_DATE=2000-01-01T00:00:00Z && "
    "export GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE && git init -q && git add -A -f && "
    "git -c user.name=longstep -c user.email=longstep@localhost commit -q -m base"
)
"""One commit of what the agent is given, so that it can ask git what it has changed."""
_TASK = """\
{instruction}

You are in {workspace}, a repository with this problem:
<problem>
{problem}
</problem>
Mend the code. Hidden tests will judge it: change no tests and no configuration of them, these \
changes do not count. A command is ended after {seconds:g} s, and there is no network. `submit` \
hands in what you have changed, and ends the task."""


class Episode(NamedTuple):
    """What changes beside the files. Immutable, so that a snapshot costs nothing."""

    instance: Instance
    repository: Repository
    met: frozenset[str] = frozenset()
    """The files of the gold patch that were read or changed."""
    score: float = 0.0
    state_key: str = ""


class SWEEnv(TextEnv):
    """Problems in repositories, solved by commands and edits in a sandbox, judged by hidden tests.

    `data` is a file of rows in the format of SWE-bench or its kin; without it, the tasks that come
    along are played. `tasks` are given by programs, in place of `data`. `sandbox_options` are those
    of containers (`DockerOptions`), such as `{"runtime": "runsc"}`, for `sandbox="docker"`.

    The score is 1 for a patch that makes every hidden test pass, else 0. What stands beside it in
    `reward_parts` (`signals`) tells of the steps on the way there, for rewards that want them.
    """

    metadata = TextEnv.metadata | {"concurrency": "thread", "snapshot": "native", "waits": True}
    signals = SIGNALS
    data = DATA

    def __init__(  # noqa: PLR0913 - each names one property of the task
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        tasks: Tasks | None = None,
        sandbox: str = "any",
        sandbox_options: Mapping[str, Any] | None = None,
        protocol: str = "tools",
        command_seconds: float = 60.0,
        grading_seconds: float = 600.0,
        observation_chars: int = 12_000,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        if protocol not in PROTOCOLS:
            known = ", ".join(PROTOCOLS)
            raise UnknownNameError(f"SWE: unknown protocol {protocol!r}; there are {known}")
        if not (command_seconds > 0 < grading_seconds and observation_chars >= 1_000):
            raise BadValueError(
                f"SWE: command_seconds={command_seconds}, grading_seconds={grading_seconds}, "
                f"observation_chars={observation_chars}; wanted times above 0 and at least 1,000"
            )
        if sandbox_options and sandbox != "docker":
            raise BadValueError(
                f'SWE: sandbox_options are for sandbox="docker", and sandbox is {sandbox!r:.80}'
            )
        DockerOptions().changed(sandbox_options or {})  # what is wrong with them is told at once
        self._tasks = tasks or open_tasks(data)
        self._backend = sandbox
        self._options = dict(sandbox_options or {})
        self._protocol = PROTOCOLS[protocol]
        self.tools = self._protocol.tools
        self._seconds = (command_seconds, grading_seconds)
        self._chars = observation_chars
        self._bench: Workbench | None = None
        self._episode: Episode | None = None

    @property
    def task_ids(self) -> Sequence[str]:
        """Split and instance id, in the order of the rows."""
        return self._tasks.ids

    @property
    def provenance(self) -> str:
        """Where the rows come from, how many they are, and a hash of them."""
        return self._tasks.provenance

    def task_type_of(self, task_id: str) -> str:
        """The difficulty where it is known, else the repository."""
        instance = self._tasks.instances[task_id]
        return instance.difficulty or instance.repo

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        instance = self._tasks.instances[task_id]
        with _faults():
            repository = self._prepare(instance)
            bench = self._open(repository)
            remove_files(_hidden(instance), bench.sandbox)
            bench.sandbox.run(_COMMIT, timeout=self._seconds[0])
            self._episode = Episode(instance, repository)
            self._look_round()
            info = self._describe()
            if expert and (actions := self._plan(bench)):
                info["expert_plan"] = actions
        observation = _TASK.format(
            instruction=self._protocol.instruction,
            workspace=bench.cwd,
            problem=instance.problem_statement.strip(),
            seconds=self._seconds[0],
        )
        return observation, info

    def _prepare(self, instance: Instance) -> Repository:
        """The repository of an instance, with the options that were asked for."""
        repository = self._tasks.repositories.prepare(instance)
        docker = repository.sandbox.docker.changed(self._options)
        return replace(repository, sandbox=replace(repository.sandbox, docker=docker))

    def _open(self, repository: Repository) -> Workbench:
        """A fresh sandbox, in place of the one before."""
        self.close()
        sandbox = open_sandbox(repository.sandbox, self._backend)
        self._bench = Workbench(sandbox, seconds=self._seconds[0], chars=self._chars)
        return self._bench

    def _plan(self, bench: Workbench) -> list[str]:
        instance = self._now.instance
        files = {}
        for path in paths_of(instance.gold_patch):
            try:
                files[path] = bench.sandbox.read(path).decode()
            except (SandboxFileError, UnicodeDecodeError):
                continue  # it is made by the patch, or no plan can change it
        return [self._protocol.write(call) for call in plan(instance.gold_patch, files)]

    @property
    def _now(self) -> Episode:
        assert self._episode is not None, "there is an episode once reset() was called"
        return self._episode

    @property
    def _work(self) -> Workbench:
        assert self._bench is not None, "an episode has a sandbox"
        return self._bench

    def _act(self, action: str) -> tuple[str, bool, Info]:
        call = self._protocol.read(action)
        if call.arguments is None:
            told: Info = {"action_valid": False, "reward_parts": step_parts(readable=False)}
            return f"[{call.problem}]", False, self._describe() | told
        with _faults():
            if isinstance(call.arguments, Submit):
                return self._submit()
            result = self._work.carry_out(call.arguments)
            if not isinstance(call.arguments, View | Search):
                self._look_round()
        parts = step_parts(readable=True, good=result.good, file=self._meet([result.path]))
        told = {"action_valid": True, "reward_parts": parts}
        return result.text, False, self._describe() | told

    def _submit(self) -> tuple[str, bool, Info]:
        """Grade what was changed, and end."""
        instance, repository = self._now.instance, self._now.repository
        diff, seconds = self._diff(), self._seconds[1]
        graded = grade(instance, repository, diff, backend=self._backend, timeout=seconds)
        hidden = _hidden(instance)
        changes = counted(diff, {*hidden, *graded.dropped})
        parts = step_parts(readable=True, good=True, file=self._meet(list(changes)))
        self._episode = self._now._replace(score=float(graded.resolved))
        told: Info = {
            "action_valid": True,
            "success": graded.resolved,
            "reward_parts": parts | final_parts(graded, changes),
            "extra": {
                "problem": graded.problem,
                "dropped": [path for path in graded.dropped if path not in hidden],
                "record": {
                    "patch": "".join(changes.values()),
                    "gold_patch": instance.gold_patch,
                    "problem": graded.problem,
                },
            },
        }
        return "Your work was handed in.", True, self._describe() | told

    def _meet(self, paths: Sequence[str]) -> float:
        """The share of the gold patch's files that these are, and that were not met before."""
        wanted = paths_of(self._now.instance.gold_patch)
        new = {path for path in paths if path in wanted} - self._now.met
        self._episode = self._now._replace(met=self._now.met | new)
        return len(new) / len(wanted)

    def _look_round(self) -> None:
        """Take note of what the workspace has become."""
        key = text_hash(self._now.instance.instance_id, self._diff(), self._work.cwd)
        self._episode = self._now._replace(state_key=key)

    def _diff(self) -> str:
        """What the agent has changed; nothing where it has filled the disk with files."""
        try:
            return self._work.sandbox.diff()
        except SandboxFileError:
            return ""

    def _get_state(self) -> tuple[Episode, str, SandboxSnapshot]:
        try:
            with _faults():
                return self._now, self._work.cwd, self._work.sandbox.snapshot()
        except SandboxFileError as error:
            raise SnapshotError(f"SWE: the workspace cannot be kept: {error}") from error

    def _set_state(self, state: tuple[Episode, str, SandboxSnapshot]) -> Info:
        episode, cwd, snapshot = state
        with _faults():
            bench = self._open(episode.repository)
            bench.sandbox.restore(snapshot)
        bench.cwd = cwd
        self._episode = episode
        return self._describe()

    def _describe(self) -> Info:
        return {"score": self._now.score, "state_key": self._now.state_key}

    def close(self) -> None:
        """End the sandbox."""
        if self._bench is not None:
            self._bench.sandbox.close()
            self._bench = None
        super().close()


def _hidden(instance: Instance) -> tuple[str, ...]:
    """Files that the agent does not get: those of the tests that its patch has to make pass."""
    return tuple(dict.fromkeys(test.partition("::")[0] for test in instance.fail_to_pass))


@contextmanager
def _faults() -> Iterator[None]:
    """A sandbox that fails is no fault of the agent's."""
    try:
        yield
    except SandboxError as error:
        fault = ErrorInfo(type="SandboxError", message=str(error), retryable=True)
        raise EnvFaultError(fault) from error
