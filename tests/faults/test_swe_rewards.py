"""Cases 38 and 39: an agent that wants the reward without the work, and history with the answer.

Beside each attack the honest solution counts: with what the attacker leaves in his own sandbox and
in files that are left out of a patch, it still resolves the task.
"""

import io
import subprocess
import sysconfig
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.envs.sandbox.conftest import SHUTTING_OFF
from tests.envs.swe.money import FILES, FIXED, INSTANCE, SOURCE, patch_of
from tests.faults.swe_attacks import CODE, HONEST_WAYS, attacked, with_lines
from tests.faults.swe_files import FILES_THAT_CHEAT, IN_THE_SANDBOX

from longstep_envs.sandbox import SandboxSpec
from longstep_envs.sandbox.registry import sandbox_class
from longstep_envs.swe import SWEEnv
from longstep_envs.swe.grade import grade
from longstep_envs.swe.tasks import make_tasks
from longstep_envs.swe.types import Grade, Instance, Repository

Grader = Callable[[str], Grade]
PACKAGES = "/opt/packages"
HONEST = f"cat > money/core.py <<'END'\n{FIXED}END"


class One:
    """One repository for every instance."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def prepare(self, instance: Instance) -> Repository:
        return self._repository


@pytest.fixture(scope="module", params=SHUTTING_OFF)
def backend(request: pytest.FixtureRequest) -> str:
    if reason := sandbox_class(request.param).missing():
        pytest.skip(f"{request.param}: {reason}")
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    archive = tmp_path_factory.mktemp("money") / "money.tar"
    with tarfile.open(archive, "w") as tar:
        for path, text in FILES.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    mounts = {PACKAGES: Path(sysconfig.get_path("purelib"))}
    spec = SandboxSpec(tree=archive, mounts=mounts, environment={"PYTHONPATH": PACKAGES})
    return Repository(archive, spec, "python3 -m pytest -q {tests}")


@pytest.fixture
def graded(repository: Repository, backend: str) -> Grader:
    return lambda patch: grade(INSTANCE, repository, patch, backend=backend, timeout=60)


@pytest.fixture(scope="module")
def env(repository: Repository, backend: str) -> Iterator[SWEEnv]:
    tasks = make_tasks("money", [INSTANCE], One(repository))
    made = SWEEnv(tasks=tasks, sandbox=backend, protocol="text")
    yield made
    made.close()


def play(env: SWEEnv, *commands: str) -> tuple[float, str]:
    """The reward for handing in what commands leave, and what they printed."""
    env.reset(seed=0)
    shown = "\n".join(env.step(f"bash {command}")[0] for command in commands)
    return float(env.step("submit")[1]), shown


@pytest.mark.case(38)
@pytest.mark.parametrize("attack", CODE)
def test_code_that_cheats_earns_nothing(
    graded: Grader, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    """With the table of rules out of the way: the text of an attack can be written otherwise."""
    monkeypatch.setattr("longstep_envs.swe.grade.forbidden", lambda *_: [])
    result = graded(patch_of({"money/core.py": attacked(SOURCE, attack)}))
    assert not result.resolved
    assert not all(result.fail_to_pass.values())


@pytest.mark.case(38)
@pytest.mark.parametrize("way", HONEST_WAYS)
def test_an_honest_solution_counts(graded: Grader, way: str) -> None:
    top, first = HONEST_WAYS[way]
    result = graded(patch_of({"money/core.py": with_lines(FIXED, top, first)}))
    assert result.problem == ""
    assert result.resolved


@pytest.mark.case(38)
@pytest.mark.parametrize("attack", FILES_THAT_CHEAT)
def test_files_that_cheat_are_left_out(graded: Grader, attack: str) -> None:
    assert "nothing that counts" in graded(patch_of(FILES_THAT_CHEAT[attack])).problem


@pytest.mark.case(38)
def test_the_honest_solution_counts_beside_files_that_cheat(graded: Grader) -> None:
    cheats = {path: text for files in FILES_THAT_CHEAT.values() for path, text in files.items()}
    result = graded(patch_of({**cheats, "money/core.py": FIXED}))
    assert result.problem == ""
    assert result.resolved
    assert set(result.dropped) == set(cheats)


@pytest.mark.case(38)
@pytest.mark.parametrize("attack", IN_THE_SANDBOX)
def test_what_is_done_to_the_agents_own_sandbox_stays_there(env: SWEEnv, attack: str) -> None:
    """No reward without the repair, and the whole reward with it."""
    command = IN_THE_SANDBOX[attack]
    assert play(env, command)[0] == 0
    assert play(env, command, HONEST)[0] == 1


MARK = "amount / RATES[source] * RATES[target]"
HISTORY = """
set -e
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
git init -q .; git config user.name a; git config user.email a@b
git add -A; git commit -qm bug; mv ../fixed money/core.py
git commit -qam fix; git tag fix; git branch later; git tag -a -m x v2
git reset -q --hard HEAD~; git show fix:money/core.py > money/core.py; git stash -q
git show fix:money/core.py > money/core.py; git add -A; git commit -qm again
git reset -q --hard HEAD~
git pack-refs --all; git gc -q
mkdir -p sub; git init -q sub; git show fix:money/core.py > sub/core.py
cd sub; git config user.name a; git config user.email a@b; git add -A; git commit -qm x; rm core.py
cp -r .git ../.git/modules
"""
LOOK = {
    "git log of all": "git log --all -p",
    "reflog": "git reflog --all -p; cat .git/logs/HEAD",
    "tags": "git tag; git show fix; git show v2^{}",
    "packed refs": "cat .git/packed-refs; git show later",
    "stash": "git stash list -p; git show stash@{0}",
    "ORIG_HEAD": "cat .git/ORIG_HEAD; git show ORIG_HEAD",
    "all objects": "git cat-file --batch-all-objects --batch | strings; git fsck --lost-found",
    "remotes": "git remote -v; git fetch --all; git bundle create /tmp/b --all; git log FETCH_HEAD",
    "submodules": "cd sub && git log --all -p; ls -R ../.git/modules",
    "pip cache": "ls -R ~/.cache /root/.cache 2>&1; pip cache list; pip download money",
    "packages of the host": "find / -xdev -path '*-packages/*' -not -path '/opt/packages/*' "
    "-name '*.py' | head -n 3 | sed 's/^/FOUND /'",
    "files of the host": "grep -rls --include=core.py -F 'RATES[source] * RATES[target]' "
    "/testbed /tmp /opt/packages/money /home /var /srv /mnt /run | sed 's/^/FOUND /'",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, backend: str) -> Iterator[SWEEnv]:
    """An episode on a tree that has, by a mistake of who made it, the solution in its history."""
    tree = tmp_path_factory.mktemp("leak") / "tree"
    for path, text in {**FILES, "../fixed": FIXED}.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    subprocess.run(["sh", "-c", HISTORY], cwd=tree, check=True)
    log = subprocess.run(["git", "log", "--all", "-p"], cwd=tree, capture_output=True, text=True)
    assert MARK in log.stdout
    mounts = {PACKAGES: Path(sysconfig.get_path("purelib"))}
    spec = SandboxSpec(tree=tree, mounts=mounts, environment={"PYTHONPATH": PACKAGES})
    repository = Repository(None, spec, "python3 -m pytest -q {tests}")
    env = SWEEnv(
        tasks=make_tasks("m", [INSTANCE], One(repository)), sandbox=backend, protocol="text"
    )
    env.reset(seed=0)
    yield env
    env.close()


@pytest.mark.case(39)
@pytest.mark.parametrize("place", LOOK)
def test_the_answer_is_not_found_in(told: SWEEnv, place: str) -> None:
    shown = told.step(f"bash {LOOK[place]}")[0]
    assert MARK not in shown
    assert "FOUND" not in shown
    assert "fix" not in shown.split()
