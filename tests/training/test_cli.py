import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from longstep_envs.types import DataError
from longstep_training import cli
from longstep_training.commands import options, runs
from longstep_training.config import ConfigError

PLAY = ["play", "longstep/Treasure-v0", "--task", "train/0", "--seed", "1"]


def longstep(
    *arguments: str, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from longstep_training.cli import main; main()", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "200", **variables},
    )


def test_help_is_quick_and_names_every_command() -> None:
    started = time.perf_counter()
    shown = longstep("--help")
    assert time.perf_counter() - started < 3.0  # 0.3 s on an idle machine
    words = shown.stdout.split()
    commands = {"train", "eval", "play", "envs", "tasks", "check", "bench", "data", "view"}
    assert commands <= set(words)


def test_help_loads_no_heavy_package() -> None:
    code = (
        "import sys, longstep_training.cli\n"
        "heavy = {'torch', 'transformers', 'textworld', 'rich', 'jinja2'} & sys.modules.keys()\n"
        "print(*sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "\n", done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["play", "longstep/Treasur-v0"], 1, "did you mean 'longstep/Treasure-v0'?"),
        ([*PLAY[:2], "--task", "nope"], 1, "unknown task 'nope'"),
        ([*PLAY[:2], "--set", "colour=red"], 1, "colour"),
        ([*PLAY[:2], "--set", "a.b=1"], 1, "an option is one name"),
        (["tasks", "treasur"], 1, "did you mean 'treasure'?"),
        (["tasks", "treasure", "--set", "colour=red"], 1, "its options are: rooms"),
        (["train", "nowhere.toml"], 1, "there is no config file nowhere.toml"),
        (["view", "nowhere"], 1, "no run or evaluation in nowhere"),
        (["data", "verify", "longstep/Treasur-v0"], 1, "did you mean 'longstep/Treasure-v0'?"),
        (["data", "verify", "--folder", "nowhere"], 1, "no data folder at nowhere"),
        (["train"], 2, "name a CONFIG"),
        (["train", "--resume", "a", "--out", "b"], 2, "name no other"),
        (["train", "--resume", "a", "--set", "seed=1"], 2, "how it uses the machine"),
        (["fly"], 2, "No such command 'fly'"),
    ],
)
def test_a_failure_is_one_line_and_its_own_exit_status(
    arguments: list[str], status: int, message: str
) -> None:
    done = longstep(*arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    if status == 1:
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("error: ")


def test_the_traceback_is_there_for_who_asks() -> None:
    done = longstep("train", "nowhere.toml", LONGSTEP_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DataError("bad \x1b[31mfile"), "error: bad [31mfile\n"),
        (ConfigError("one\ntwo"), "error: one\nerror: two\n"),
        (ModuleNotFoundError("x", name="torch.nn"), "pip install 'longstep[train]'"),
        (ModuleNotFoundError("x", name="textworld"), "pip install 'longstep[textworld]'"),
        (PermissionError(13, "denied", "runs"), "error: PermissionError"),
        (ZeroDivisionError("oops"), "unexpected ZeroDivisionError: oops"),
    ],
)
def test_every_kind_of_failure_is_told_in_words(
    error: Exception,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert told in capsys.readouterr().err


def test_a_person_can_play_and_stop() -> None:
    done = longstep(*PLAY, stdin="?\nlook\n")
    assert done.returncode == 0
    assert "train/0" in done.stdout
    assert "  go " in done.stdout
    assert done.stdout.endswith("bye\n")


def test_play_tells_that_an_action_was_not_valid() -> None:
    assert "not a valid action" not in longstep(*PLAY, stdin="look\n").stdout
    told = longstep("play", "longstep/WebShop-v0", "--task", "test/0", stdin="click[nowhere]\n")
    assert "not a valid action" in told.stdout


def test_play_gives_the_same_world_for_the_same_seed() -> None:
    assert longstep(*PLAY, stdin="look\n").stdout == longstep(*PLAY, stdin="look\n").stdout


def test_envs_and_tasks_are_listed() -> None:
    assert "longstep/Treasure-v0" in longstep("envs").stdout
    assert "treasure" in longstep("tasks").stdout
    listed = longstep("tasks", "treasure", "--limit", "3")
    assert len(listed.stdout.splitlines()) == 3
    assert "tasks, hash" in listed.stderr


def test_tables_are_json_for_machines() -> None:
    entries = {entry["id"]: entry for entry in json.loads(longstep("envs", "--json").stdout)}
    treasure = entries["longstep/Treasure-v0"]
    assert (treasure["concurrency"], treasure["snapshot"]) == ("thread", "native")
    assert entries["longstep/ALFWorld-v0"]["data"].startswith("bundled: ")
    sets = json.loads(longstep("tasks", "--json").stdout)
    assert sets["treasure"]["splits"] == {"train": 1000, "valid": 200, "test": 200}
    one = json.loads(longstep("tasks", "treasure", "--json", "--limit", "2").stdout)
    assert [task["id"] for task in one["tasks"]] == ["train/0", "train/1"]
    assert one["hash"] == sets["treasure"]["hash"]


def test_every_generator_writes_what_its_environment_reads(tmp_path: Path) -> None:
    """TextWorld's needs a compiler and seconds for each game: see tests/tasks/textworld."""
    made = {
        "webshop": (["--products", "40"], "40 products, "),
        "search": (
            ["--passages", "400", "--train", "8", "--dev", "0", "--test", "4"],
            "questions: 8 train, 4 test",
        ),
    }
    for name, (sizes, contents) in made.items():
        out = tmp_path / name
        done = longstep("data", name, str(out), *sizes)
        assert done.returncode == 0, done.stderr
        verified = longstep("data", "verify", name, "--folder", str(out))
        assert verified.returncode == 0
        assert contents in verified.stdout.partition("usable: ")[2]


def test_a_corpus_is_served_until_it_is_stopped() -> None:
    command = [sys.executable, "-c", "from longstep_training.cli import main; main()"]
    with subprocess.Popen(
        [*command, "serve-search", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        # A shell lets what it starts in the background ignore Ctrl-C, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as server:
        try:
            assert server.stdout is not None
            announced = server.stdout.readline()
            url = announced.split(" at ")[1].strip()
            body = json.dumps({"queries": ["the present employer"], "topk": 2}).encode()
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as reply:
                found = json.load(reply)["result"]
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == 0
        finally:
            server.kill()
    assert [len(passages) for passages in found] == [2]


def test_an_environments_id_names_a_task_set() -> None:
    listed = longstep("tasks", "longstep/Treasure-v0", "--set", "split=valid", "--limit", "1")
    assert listed.stdout.split() == ["valid", "valid/0"]
    assert listed.stderr.startswith("200 tasks, hash ")


def test_data_verify_says_what_is_there_and_what_is_missing(tmp_path: Path) -> None:
    told = longstep("data", "verify", "alfworld")
    assert told.returncode == 0
    assert "github.com/alfworld" in told.stdout
    assert "played without it: 12 mini games" in told.stdout
    split = ["--valid-seen", "2", "--valid-unseen", "1", "--max-receptacles", "12"]
    longstep("data", "alfworld", str(tmp_path), "--train", "3", *split)
    report = json.loads(
        longstep("data", "verify", "alfworld", "--folder", str(tmp_path), "--json").stdout
    )["longstep/ALFWorld-v0"]
    assert report["problem"] == ""
    assert report["contents"].startswith("generated train, 3 games, ")
    assert [found["bytes"] > 0 for found in report["files"]] == [True] * 3
    for game in tmp_path.glob("json_2.1.1/valid_seen/*/*/game.tw-pddl"):
        game.unlink()
    broken = longstep("data", "verify", "alfworld", "--folder", str(tmp_path))
    assert broken.returncode == 1
    assert "not usable: missing: json_2.1.1/valid_seen" in broken.stdout


@pytest.mark.parametrize("name", ["scienceworld", "longstep/Treasure-v0"])
def test_data_verify_knows_environments_without_data(name: str) -> None:
    told = longstep("data", "verify", name)
    assert (told.returncode, told.stdout) == (0, "")
    assert told.stderr == f"{name} needs no data of its own\n"


def test_generated_games_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    small = ["--train", "2", "--valid-seen", "0", "--valid-unseen", "1", "--max-receptacles", "12"]
    for name in ("a", "b"):
        assert longstep("data", "alfworld", str(tmp_path / name), *small).returncode == 0
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert sum(path.name == "game.tw-pddl" for path in files) == 3
    for path in files:
        if (tmp_path / "a" / path).is_file():
            assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_a_dry_run_prints_the_config_and_writes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    config = Path(__file__).parents[2] / "configs" / "household.toml"
    out = tmp_path / "run"
    chosen = ["--set", "seed=7", "--set", "rl.siblings=4", "--out", str(out), "--dry-run"]
    done = longstep("train", str(config), *chosen)
    assert done.returncode == 0, done.stderr
    assert "seed = 7" in done.stdout
    assert "siblings = 4" in done.stdout
    assert not out.exists()


def test_a_folder_that_holds_a_run_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(ConfigError, match="holds a run already"):
        runs._config_path(Path("x.toml"), tmp_path, None)
    assert runs._config_path(None, None, tmp_path) == tmp_path / "config.toml"


def test_options_of_an_environment_are_toml_values() -> None:
    chosen = options.keyword_options(["games=data/x", "rooms=3", "deep=true"])
    assert chosen == {"games": "data/x", "rooms": 3, "deep": True}


@pytest.mark.slow
def test_check_reports_as_json_and_by_its_status() -> None:
    done = longstep("check", "longstep/Treasure-v0", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["passed"] else 1)
    assert report["env_id"] == "longstep/Treasure-v0"
    assert len(report["results"]) > 5
