from collections.abc import Iterator

import pytest

from longstep_envs.sandbox import Sandbox, open_sandbox
from longstep_envs.swe.tools import Bash, Create, Search, StrReplace, View
from longstep_envs.swe.types import Repository
from longstep_envs.swe.workbench import Workbench


@pytest.fixture(scope="module")
def sandbox(repository: Repository, backend: str) -> Iterator[Sandbox]:
    with open_sandbox(repository.sandbox, backend) as opened:
        yield opened


@pytest.fixture
def bench(sandbox: Sandbox) -> Workbench:
    return Workbench(sandbox, seconds=20, chars=2_000)


def test_the_folder_is_kept_between_commands(bench: Workbench) -> None:
    assert bench.carry_out(Bash(command="cd money && X=1")).good
    assert "core.py" in bench.carry_out(Bash(command="ls; echo $X")).text
    assert bench.carry_out(View(path="names.py")).path == "money/names.py"
    assert bench.carry_out(Bash(command="cd ..; exit 3")).text == "[exit code 3]"
    assert bench.carry_out(View(path="money/names.py")).good


def test_a_folder_that_is_gone_is_left(bench: Workbench) -> None:
    bench.carry_out(Bash(command="mkdir -p gone && cd gone && rmdir ../gone"))
    assert "money" in bench.carry_out(Bash(command="ls")).text


@pytest.mark.parametrize(
    "trick", ["printf '../../etc\\n' > $TMPDIR/.cwd", "ln -sf /etc/passwd $TMPDIR/.cwd", "kill $$"]
)
def test_the_folder_cannot_be_faked(bench: Workbench, trick: str) -> None:
    bench.carry_out(Bash(command=f"trap - EXIT; {trick}"))
    assert bench.cwd == bench.sandbox.spec.workspace
    bench.carry_out(Bash(command="rm -f $TMPDIR/.cwd"))


@pytest.mark.case(33)
def test_output_is_shown_clean_and_at_both_ends(bench: Workbench) -> None:
    shown = bench.carry_out(Bash(command="echo first; seq 100000; echo last")).text
    assert shown.startswith("first\n1\n")
    assert shown.endswith("\nlast")
    assert "characters are left out" in shown
    assert len(shown) <= 2_000
    escapes = bench.carry_out(Bash(command="printf '\\033[31mred\\033[0m \\033]0;x\\007\\001.'"))
    assert escapes.text == "red \N{REPLACEMENT CHARACTER}."
    assert bench.carry_out(Bash(command="printf '\\377'; true")).good


def test_a_command_that_does_not_end_is_ended(sandbox: Sandbox) -> None:
    bench = Workbench(sandbox, seconds=0.5, chars=2_000)
    result = bench.carry_out(Bash(command="echo begun; sleep 100"))
    assert not result.good
    assert result.text.startswith("begun\n[the command was ended after 0.5 s")


def test_files_are_shown_in_windows_with_numbers(bench: Workbench) -> None:
    bench.carry_out(Bash(command="seq 1000 1299 > numbers.txt"))
    whole = bench.carry_out(View(path="numbers.txt")).text
    assert whole.startswith("  1  1000\n")
    assert whole.endswith("100  1099\n[lines 1 to 100 of 300 of numbers.txt]")
    part = bench.carry_out(View(path="numbers.txt", start=299, end=500)).text
    assert part == "299  1298\n300  1299\n[lines 299 to 300 of 300 of numbers.txt]"
    assert not bench.carry_out(View(path="numbers.txt", start=301)).good


def test_folders_are_listed(bench: Workbench) -> None:
    shown = bench.carry_out(View(path="."))
    assert shown.good
    assert "money/\nmoney/__init__.py\nmoney/core.py\n" in shown.text
    missing = bench.carry_out(View(path="src/core.py"))
    assert not missing.good
    assert "did you mean money/core.py?" in missing.text


def test_what_is_no_text_is_not_shown(bench: Workbench) -> None:
    bench.carry_out(
        Bash(command="printf '\\377\\376' > binary; mkfifo pipe; ln -s /etc/passwd link")
    )
    for path in ("binary", "pipe", "link", "/dev/zero", "/root/x"):
        assert not bench.carry_out(View(path=path)).good
        assert not bench.carry_out(StrReplace(path=path, old="a", new="b")).good


def test_a_text_is_replaced_where_it_stands_once(bench: Workbench) -> None:
    bench.carry_out(Create(path="deep/er/a.py", text="x = 1\ny = 1\n"))
    done = bench.carry_out(StrReplace(path="deep/er/a.py", old="x = 1", new="x = 2"))
    assert done.good
    assert done.path == "deep/er/a.py"
    assert done.text == "1  x = 2\n2  y = 1\n[deep/er/a.py was changed]"
    assert "2  y = 1" in bench.carry_out(View(path="deep/er/a.py")).text


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("= 1", "= 3", "2 times, at lines 1, 2"),
        ("x  = 1", "z = 2", "line 1 is near it: 'x = 1'"),
        ("nothing like that", "x", "not in the file; view the lines"),
        ("x = 1", "x = 1", "old and new are the same"),
        ("", "x", "only fits an empty file"),
    ],
)
def test_what_cannot_be_replaced_is_told_why(
    bench: Workbench, old: str, new: str, told: str
) -> None:
    bench.sandbox.write("b.py", b"x = 1\ny = 1\n")
    result = bench.carry_out(StrReplace(path="b.py", old=old, new=new))
    assert not result.good
    assert told in result.text
    assert bench.sandbox.read("b.py") == b"x = 1\ny = 1\n"


def test_a_file_is_created_once(bench: Workbench) -> None:
    assert bench.carry_out(Create(path="c.py", text="x\n")).good
    assert "is there already" in bench.carry_out(Create(path="c.py", text="y\n")).text
    assert "line 1: " in bench.carry_out(Create(path="d.py", text="def x(:\n")).text
    assert not bench.carry_out(Create(path="c.py/e.py", text="")).good
    assert bench.carry_out(Create(path="/testbed/../f.py", text="")).path == ""


def test_lines_are_found(bench: Workbench) -> None:
    found = bench.carry_out(Search(pattern="RATES\\[(source|target)\\]"))
    assert found.text.startswith("money/core.py:19:")
    assert not bench.carry_out(Search(pattern="nothing like that")).good
    assert "Unmatched" in bench.carry_out(Search(pattern="((")).text
    assert bench.carry_out(Search(pattern="-x|EUR", path="money")).text.count("\n") == 1
    bench.carry_out(Bash(command="seq 5000 > many.txt"))
    many = bench.carry_out(Search(pattern="1", path="many.txt")).text
    assert many.startswith("many.txt:1:1\nmany.txt:10:10\n")
    assert "more lines match" in many
