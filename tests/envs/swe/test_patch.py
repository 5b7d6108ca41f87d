from collections.abc import Iterator

import pytest
from tests.envs.swe.money import FIXED, SOURCE, TESTS, patch_of

from longstep_envs.sandbox import Sandbox, open_sandbox
from longstep_envs.swe.diffs import PatchError
from longstep_envs.swe.patch import changes_of, is_test, remove_files, sift, write_changes
from longstep_envs.swe.types import Repository


@pytest.fixture(scope="module")
def sandbox(repository: Repository, backend: str) -> Iterator[Sandbox]:
    with open_sandbox(repository.sandbox, backend) as opened:
        yield opened


CORE = patch_of({"money/core.py": FIXED})


def test_changes_are_what_a_patch_makes_of_the_files(sandbox: Sandbox) -> None:
    patch = CORE + patch_of({"money/new.py": "x = 1\n", "money/names.py": None})
    changes, special = changes_of(patch, sandbox)
    assert special == {}
    assert changes["money/core.py"].before == SOURCE.encode()
    assert changes["money/core.py"].after == FIXED.encode()
    assert changes["money/new.py"].before is None
    assert changes["money/names.py"].after is None


def test_changes_are_carried_out_elsewhere(repository: Repository, backend: str) -> None:
    patch = CORE + patch_of({"a b/é 'x'.py": "x = 1\n", "money/names.py": None})
    with open_sandbox(repository.sandbox, backend) as sandbox:
        changes, _ = changes_of(patch, sandbox)
        write_changes(changes, sandbox)
        assert sandbox.read("money/core.py") == FIXED.encode()
        assert sandbox.read("a b/é 'x'.py") == b"x = 1\n"
        with pytest.raises(OSError, match="names"):
            sandbox.read("money/names.py")
        remove_files(["-rf", "nowhere", "README.md"], sandbox)
        with pytest.raises(OSError, match="README"):
            sandbox.read("README.md")


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        (CORE.replace("RATES[source] /", "nothing"), "does not fit"),
        ("no patch at all", "names no file"),
        (CORE.replace("money/core.py", "../core.py"), "not a path inside"),
        (CORE.replace("money/core.py", "/etc/passwd"), "names|not there"),
        (CORE.replace("money/core.py", "money/./core.py"), "no patch may touch"),
        (CORE.replace("money/core.py", "money//core.py"), "no patch may touch"),
        (CORE.replace("money/core.py", ".git/config"), "no patch may touch"),
        (CORE.replace("a/money/core.py", '"a/\\x"'), "is no name"),
        (CORE.replace("@@ -", "@@ -9"), "does not fit"),
        (CORE.replace("@@ -", f"@@ -{'9' * 5_000}"), "cannot be read"),
        (CORE.replace("money/core.py", "money/nowhere.py"), "not there"),
        (patch_of({"money/core.py": "x\n"}, {}), "there already"),
        ("".join(patch_of({f"f{k}.py": "x\n"}) for k in range(200)), "at most"),
        ("x" * 2_000_000, "at most"),
        ("diff --git a/x.py b/x.py\nGIT binary patch\nliteral 3\n", "binary"),
        (CORE.replace("RATES[source] *", "\ud800"), "cannot be read"),
    ],
)
def test_a_patch_that_cannot_be_applied_is_told_why(
    sandbox: Sandbox, patch: str, told: str
) -> None:
    with pytest.raises(PatchError, match=told):
        changes_of(patch, sandbox)


@pytest.mark.case(38)
def test_links_and_submodules_are_left_out(sandbox: Sandbox) -> None:
    patch = patch_of({"link.py": "/etc/passwd\n"}).replace("100644", "120000")
    patch += patch_of({"module": "abc\n"}).replace("100644", "160000")
    changes, special = changes_of(patch, sandbox)
    assert changes == {}
    assert special == {"link.py": "not a plain file", "module": "not a plain file"}


LEFT_OUT = [
    *("tests/test_core.py", "test_it.py", "money/core_test.py", "money/test/data.json"),
    *("conftest.py", "money/conftest.py", "pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml"),
    *("sitecustomize.py", "money/usercustomize.py", "money.pth", "money/core.pyc", "core.so"),
    *("pytest.py", "pytest/__init__.py", "random.py", "src/json/__init__.py", "lib/_pytest.py"),
    *("money/__pycache__/core.cpython-311.pyc", "pluggy.py"),
]


@pytest.mark.case(38)
@pytest.mark.parametrize("path", LEFT_OUT)
def test_tests_their_configuration_and_what_starts_by_itself_are_left_out(
    sandbox: Sandbox, path: str
) -> None:
    before = {path: TESTS} if path == "tests/test_core.py" else {}
    before |= {path: "[metadata]\nname = money\n"} if path == "setup.cfg" else {}
    changes, _ = changes_of(patch_of({path: "x\n"}, before), sandbox)
    kept, dropped = sift(changes)
    assert kept == {}
    assert list(dropped) == [path]


def test_what_the_gold_patch_changes_may_be_changed(sandbox: Sandbox) -> None:
    changes, _ = changes_of(patch_of({"setup.cfg": "[metadata]\nname = gold\n"}), sandbox)
    assert list(sift(changes, spared=["setup.cfg"])[0]) == ["setup.cfg"]


@pytest.mark.parametrize(
    "path", ["money/core.py", "money/random.py", "src/money/json.py", "docs/a.md", "latest.py"]
)
def test_other_files_are_kept(sandbox: Sandbox, path: str) -> None:
    before = {path: SOURCE} if path == "money/core.py" else {}
    changes, _ = changes_of(patch_of({path: "x\n"}, before), sandbox)
    assert list(sift(changes)[0]) == [path]
    assert not is_test(path)


def test_binary_files_are_left_out(sandbox: Sandbox) -> None:
    changes, _ = changes_of(patch_of({"money/data.py": "x\0\n"}), sandbox)
    assert list(sift(changes)[1].values()) == ["binary"]
