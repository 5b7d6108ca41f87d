import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner, Result

from longstep_agents.small_policy import SmallPolicyConfig, build_model, save_policy
from longstep_training.cli import app
from longstep_training.config import ConfigError

TREASURE = "longstep/Treasure-v0"


def longstep(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=True)


def played(out: Path, agent: str, *more: str) -> list[dict[str, Any]]:
    done = longstep(
        "eval", TREASURE, "--agent", agent, "--tasks", "6", "--out", out, "--json", *more
    )
    assert done.exception is None, done.output
    parts: list[dict[str, Any]] = json.loads(done.stdout)
    return parts


def test_an_agent_is_evaluated_resumed_and_compared(tmp_path: Path) -> None:
    (noop,) = played(tmp_path / "noop", "noop")
    (expert,) = played(tmp_path / "expert", "expert", "-n", "2", "--set", "k=[2]")
    assert noop["success"]["mean"] == 0.0
    assert (expert["success"]["mean"], expert["success"]["episodes"]) == (1.0, 12)
    assert expert["pass_hat"]["2"]["mean"] == 1.0
    assert json.loads((tmp_path / "expert" / "results.json").read_text()) == [expert]
    again = played(tmp_path / "noop", "noop", "--resume")
    assert again == [noop]
    done = longstep("compare", tmp_path / "noop", tmp_path / "expert", "--json")
    assert json.loads(done.stdout)[TREASURE]["won"] == 6
    assert "+100.0" in longstep("compare", tmp_path / "noop", tmp_path / "expert").stdout


def test_what_became_of_the_episodes_is_told_at_the_end(tmp_path: Path) -> None:
    flags = ("--agent", "noop", "--tasks", "3", "--out", tmp_path / "noop")
    done = longstep("eval", TREASURE, *flags, "--set", "running.worker_episodes=2")
    assert "episodes: 3 dispatched, 3 reported (3 played); 0 tries again\n" in done.stdout


def test_a_file_says_the_same_as_flags(tmp_path: Path) -> None:
    config = tmp_path / "eval.toml"
    config.write_text(
        f'suite = ["{TREASURE}"]\nplayer = "random"\n[settings]\ntasks = 6\nattempts = 2\n'
    )
    shown = longstep("eval", config, "--dry-run", "--set", "settings.seed=3").stdout
    flags = ("--agent", "random", "--tasks", "6", "-n", "2", "--set", "settings.seed=3")
    assert shown == longstep("eval", TREASURE, *flags, "--dry-run").stdout
    assert "attempts = 2" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["all-min", "--agent", "noop"], "did you mean 'all-mini'"),
        ([TREASURE, "--agent", "exprt"], "did you mean 'expert'"),
        (["search", "all-mini", "--agent", "noop"], "two suites have a part 'search' of different"),
        ([TREASURE], "model: wanted a policy's folder or the name of a hosted model"),
        ([TREASURE, "--agent", "noop", "--set", "k=[3]"], "k: wanted at most settings.attempts"),
        ([TREASURE, "--agent", "noop", "--set", "actions=['a']"], 'wanted player = "scripted"'),
    ],
)
def test_what_cannot_be_played_is_told_before_anything_is(arguments: list[str], told: str) -> None:
    done = longstep("eval", *arguments)
    assert isinstance(done.exception, ConfigError)
    assert told in str(done.exception)


def test_a_policys_folder_is_evaluated_and_known_by_its_weights(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    shape = SmallPolicyConfig(hidden=16, layers=1, heads=2, feed_forward=16, context=200)
    headers = []
    for seed in (0, 1):
        policy, out = tmp_path / f"policy{seed}", tmp_path / f"run{seed}"
        save_policy(build_model(tokenizer, shape, seed=seed), tokenizer, policy)
        limits = ("--tasks", "2", "--set", "settings.turns=2", "--set", "agent.max_tokens=4")
        kept = ("--set", f"running.tokens={'true' if seed else 'false'}")
        done = longstep("eval", TREASURE, "--model", policy, *limits, *kept, "--out", out)
        assert done.exception is None, done.output
        headers.append(json.loads((out / "evaluation.json").read_text()))
        rows = [json.loads(line) for line in (out / "episodes" / "eval.jsonl").open()]
        assert all(0 < row["tokens"]["sampled"] <= 8 for row in rows)
        assert {row["env_id"] for row in rows} == {TREASURE}
        steps = [step for row in rows for step in row["steps"]]
        assert all(step["shown"] and ("tokens" in step) == bool(seed) for step in steps)
    first, second = (header["asked"]["contestant"] for header in headers)
    assert first["template"] == second["template"]
    assert first["weights"] != second["weights"]


def test_an_unknown_suite_is_told_in_one_line() -> None:
    done = longstep("eval", "nosuch", "--agent", "noop")
    assert isinstance(done.exception, ConfigError)
    (line,) = str(done.exception).splitlines()
    assert "wanted one of household" in line


def test_a_comparison_names_what_is_compared(tmp_path: Path) -> None:
    played(tmp_path / "one", "noop")
    played(tmp_path / "two", "random")
    done = longstep("compare", tmp_path / "one", tmp_path / "two")
    assert "two less one, in" in done.stdout


def test_of_several_attempts_pass_at_k_is_told_unasked(tmp_path: Path) -> None:
    (expert,) = played(tmp_path / "expert", "expert", "-n", "2")
    assert expert["pass_at"]["2"]["mean"] == 1.0
