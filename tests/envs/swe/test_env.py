from collections.abc import Iterator
from typing import Any

import pytest

from longstep_envs.sandbox import SandboxError, SandboxFileError
from longstep_envs.swe import SWEEnv
from longstep_envs.swe.tasks import Tasks, make_tasks
from longstep_envs.swe.types import Instance, Repository
from longstep_envs.types import (
    BadValueError,
    DataError,
    EnvFaultError,
    SnapshotError,
    UnknownNameError,
)


class One:
    """A repository for every instance."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def prepare(self, instance: Instance) -> Repository:
        return self._repository


@pytest.fixture(scope="session")
def tasks(instance: Instance, repository: Repository) -> Tasks:
    return make_tasks("money", [instance], One(repository))


@pytest.fixture(params=["tools", "text"])
def env(request: pytest.FixtureRequest, tasks: Tasks, backend: str) -> Iterator[SWEEnv]:
    made = SWEEnv(tasks=tasks, sandbox=backend, protocol=request.param)
    yield made
    made.close()


@pytest.fixture
def typed(tasks: Tasks, backend: str) -> Iterator[SWEEnv]:
    """In the protocol that is easy to write."""
    made = SWEEnv(tasks=tasks, sandbox=backend, protocol="text")
    made.reset(seed=0)
    yield made
    made.close()


def test_the_expert_solves_the_task(env: SWEEnv) -> None:
    observation, info = env.reset(seed=0, options={"expert": True})
    assert "gives 3.2" in observation
    assert info["score"] == 0
    results = [env.step(action) for action in info["expert_plan"]]
    assert [terminated for _, _, terminated, _, _ in results] == [False, False, True]
    assert sum(reward for _, reward, _, _, _ in results) == 1
    assert all(result[4]["action_valid"] for result in results)
    last = results[-1][4]
    assert last["success"]
    assert last["extra"]["record"]["patch"].startswith("diff --git a/money/core.py")
    assert last["reward_parts"]["test:tests/test_core.py::test_euro_to_dollar"] == 1


def test_handing_in_nothing_earns_nothing(typed: SWEEnv) -> None:
    _, reward, terminated, _, info = typed.step("submit")
    assert (reward, terminated, info["success"]) == (0, True, False)
    parts = info["reward_parts"]
    assert parts["patch"] == parts["tests"] == parts["outcome"] == 0
    assert info["extra"]["record"]["patch"] == ""


def test_a_partial_repair_is_told_in_parts(typed: SWEEnv) -> None:
    wrong = "amount * RATES[source] / RATES[target]"
    change = f"<<<<<<< old\n{wrong}\n=======\n5.0\n>>>>>>> new"
    parts = [
        typed.step("nonsense")[4],
        typed.step("view nowhere.py")[4],
        typed.step("view money/core.py")[4],
        typed.step(f"str_replace money/core.py\n{change}")[4],
    ]
    told = [{k: one["reward_parts"][k] for k in ("format", "tool", "file")} for one in parts]
    assert [tuple(one.values()) for one in told] == [(0, 0, 0), (1, 0, 0), (1, 1, 1), (1, 1, 0)]
    assert [one["action_valid"] for one in parts] == [False, True, True, True]
    _, reward, _, _, info = typed.step("submit")
    last = info["reward_parts"]
    assert reward == last["outcome"] == 0
    assert last["patch"] == 1
    assert last["tests"] == pytest.approx(1 / 3)
    assert last["kept"] == pytest.approx(1 / 2)


@pytest.mark.case(37, 38)
def test_hidden_tests_are_not_there_and_do_not_count(typed: SWEEnv) -> None:
    assert "test_core" not in typed.step("bash find . | sort; git log --all -p | head -c 9000")[0]
    typed.step("create tests/test_core.py\ndef test_euro_to_dollar(): pass")
    typed.step("create conftest.py\nimport os\nos._exit(0)")
    _, reward, _, _, info = typed.step("submit")
    assert reward == 0
    assert info["reward_parts"]["patch"] == 0
    assert info["extra"]["dropped"] == ["conftest.py"]


@pytest.mark.case(39)
def test_git_knows_one_commit_and_no_other(typed: SWEEnv) -> None:
    typed.step("bash echo >> README.md")
    shown = typed.step("bash git status --short; git log --all --oneline | wc -l; git tag")[0]
    assert shown.split() in (["M", "README.md", "1"], ["[exit", "code", "127]"])


def test_the_state_is_that_of_the_files(typed: SWEEnv) -> None:
    def state(action: str) -> str:
        return typed.step(action)[4]["state_key"]

    first = state("bash true")
    assert state("view README.md") == first
    changed = state("bash echo x > x.txt")
    assert changed != first
    assert state("bash rm x.txt") == first
    assert state("bash cd money") != first


def test_a_fork_goes_its_own_way(typed: SWEEnv) -> None:
    typed.step("bash cd money && echo 1 > ../kept.txt")
    twin = typed.fork()
    try:
        twin.step("bash echo 2 > ../kept.txt; rm core.py")
        assert typed.step("bash pwd | tail -c 6; cat ../kept.txt; ls")[0].split()[:2] == [
            "money",
            "1",
        ]
        assert "core.py" not in twin.step("bash ls")[0]
    finally:
        twin.close()


def test_a_sandbox_that_fails_is_a_fault_and_no_reward(
    typed: SWEEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise SandboxError("the machine is full")

    monkeypatch.setattr("longstep_envs.swe.grade.open_sandbox", fail)
    with pytest.raises(EnvFaultError, match="the machine is full") as raised:
        typed.step("submit")
    assert raised.value.error["retryable"]


def test_a_sandbox_that_died_is_a_fault(typed: SWEEnv) -> None:
    assert typed._bench is not None
    typed._bench.sandbox.close()
    with pytest.raises(EnvFaultError):
        typed.step("bash ls")


def test_more_files_than_can_be_compared_are_the_agents_matter(
    typed: SWEEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise SandboxFileError("more than 100000 files")

    assert typed._bench is not None
    monkeypatch.setattr(typed._bench.sandbox, "diff", fail)
    assert not typed.step("bash true")[2]
    with monkeypatch.context() as patched:
        patched.setattr(typed._bench.sandbox, "snapshot", fail)
        with pytest.raises(SnapshotError, match="cannot be kept"):
            typed.snapshot()
    _, reward, terminated, _, info = typed.step("submit")
    assert (reward, terminated) == (0, True)
    assert "nothing that counts" in info["extra"]["problem"]


def test_options_are_checked(tasks: Tasks) -> None:
    with pytest.raises(UnknownNameError, match="tools, text"):
        SWEEnv(tasks=tasks, protocol="xml")
    with pytest.raises(BadValueError, match="command_seconds=0"):
        SWEEnv(tasks=tasks, command_seconds=0.0)
    with pytest.raises(DataError, match="no instance"):
        make_tasks("nothing", [], tasks.repositories)


def test_tasks_are_told_apart(tasks: Tasks, backend: str) -> None:
    env = SWEEnv(tasks=tasks, sandbox=backend)
    assert list(env.task_ids) == ["test/money__1"]
    assert env.split_of("test/money__1") == "test"
    assert env.task_type_of("test/money__1") == "money"
    assert env.provenance.startswith("money, 1 tasks in 1 repositories, ")
