"""Whole runs, tiny, whose episodes go on while the policy is trained."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.types import Completion, Group, Step, Trajectory
from longstep_training.config import ConfigError, build_config
from longstep_training.distributed import World
from longstep_training.loop import train
from longstep_training.loss.corrections import TruncateConfig
from longstep_training.recipe import TrainConfig
from longstep_training.staleness import Account, Usage, mismatch_row

TINY: dict[str, Any] = {
    "seed": 3,
    "train": {"env_id": "longstep/Treasure-v0", "split": "train", "turns": 6},
    "policy": {
        "vocabulary_episodes": 8,
        "small": {"hidden": 32, "layers": 1, "heads": 2, "feed_forward": 32},
    },
    "agent": {"max_tokens": 6, "action": {"constraint": "admissible"}},
    "imitation": {"iterations": 1, "demonstrations": 4},
    "rl": {"iterations": 5, "tasks": 4, "siblings": 4, "staleness": 2},
    "run": {"checkpoint_every": 1},
}


def config(**parts: Any) -> TrainConfig:
    tree = {key: {**TINY[key], **parts.pop(key, {})} for key in TINY if key != "seed"}
    return build_config(TrainConfig, {"seed": 3, **tree, **parts}, "test")


def rows(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["phase"] == "rl"]


def outstanding(checkpoint: Path) -> list[int]:
    """The seeds of the groups that were drawn and neither learnt from nor dropped."""
    (mine,) = json.loads((checkpoint / "methods.json").read_text())["producer"]
    return [drawn["request"]["seed"] for drawn in mine]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("asynchronous") / "run"
    train(config(), out)
    return out


def test_a_run_tells_how_far_behind_it_learnt(run: Path) -> None:
    told = [row["asynchronous"] for row in rows(run)]
    assert [row["iteration"] for row in rows(run)] == [1, 2, 3, 4, 5]
    assert told[0]["staleness_max"] == 0
    assert 0 < max(part["staleness_max"] for part in told) <= 2
    for row, part in zip(rows(run), told, strict=True):
        assert row["episodes"] == 16
        assert row["failed_episodes"] == 0
        assert part["staleness"] <= part["staleness_max"]
        assert part["sync_bytes"] > 1000
        assert 0 < part["sync_seconds"] < 5
        assert part["trainer_waited"] <= row["timing"]["rollout"]
        assert 0 <= part["in_flight"] <= 12
        assert row["mismatch_kl"] >= 0
        # The update starts from what the trainer itself makes of the tokens.
        assert row["first_ratio_deviation"] < 1e-6
    assert rows(run)[0]["mismatch_kl"] < 1e-9
    assert max(row["mismatch_kl"] for row in rows(run)) > 1e-9
    assert not outstanding(run / "checkpoints" / "rl-000005")


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_a_run_that_was_ended_goes_on_with_what_was_outstanding(
    tmp_path: Path, number: signal.Signals
) -> None:
    out, folder = tmp_path / "run", tmp_path / "run" / "checkpoints" / "rl-000003"
    told = tmp_path / "config.json"
    told.write_text(config(run={"keep_checkpoints": 9}, rl={"iterations": 40}).model_dump_json())
    script = (
        "import signal, sys; from pathlib import Path\n"
        # Where the tests run in the background, children are born deaf to it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from longstep_training.loop import train\n"
        "from longstep_training.recipe import TrainConfig\n"
        f"text = Path({str(told)!r}).read_text()\n"
        f"train(TrainConfig.model_validate_json(text), Path({str(out)!r}))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not folder.exists():
        assert time.monotonic() < deadline, f"{folder} did not come"
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    last = max((out / "checkpoints").glob("rl-*"))
    before, done = outstanding(last), int(last.name[3:])
    assert len(before) == 8
    resumed = config(run={"keep_checkpoints": 9}, rl={"iterations": done + 2})
    train(resumed, out, resume=True)
    assert [row["iteration"] for row in rows(out)] == list(range(1, done + 3))
    assert sum(row["asynchronous"]["dropped"] for row in rows(out)[done:]) == 0
    left = outstanding(out / "checkpoints" / f"rl-{done + 1:06d}")
    assert len(left) == 4  # of 8 given back and none drawn anew, for the end is near
    assert set(left) < set(before)


@pytest.mark.slow
def test_two_processes_play_their_shares(tmp_path: Path) -> None:
    train(config(run={"processes": 2}, rl={"iterations": 3}), tmp_path / "run")
    learnt = rows(tmp_path / "run")
    assert [row["episodes"] for row in learnt] == [16, 16, 16]
    assert [row["asynchronous"]["dropped"] for row in learnt] == [0, 0, 0]
    assert max(row["asynchronous"]["staleness_max"] for row in learnt) <= 2


def test_strategies_that_draw_tasks_and_refill_batches_go_along(tmp_path: Path) -> None:
    sampling = [{"name": "scaling_inter", "turns": [3, 6], "every": 2}, {"name": "difficulty"}]
    train(config(rl={"sampling": sampling}), tmp_path / "run")
    turns = [row["turns"] for row in rows(tmp_path / "run")]
    assert turns[0] <= 3
    assert max(turns) > 3


@pytest.mark.parametrize(
    ("parts", "corrections"),
    [
        ({"rl": {"staleness": 0}}, ()),
        ({}, (TruncateConfig(),)),
        ({"rl": {"staleness": 0}, "engine": {"name": "hf", "dtype": "auto"}}, (TruncateConfig(),)),
        ({"rl": {"staleness": 0}, "engine": {"name": "vllm"}}, (TruncateConfig(),)),
        ({"rl": {"staleness": 0}, "run": {"precision": "bfloat16"}}, (TruncateConfig(),)),
        ({"rl": {"corrections": []}}, ()),
        ({"rl": {"loss": {"name": "gspo"}}}, (TruncateConfig(),)),
        ({"rl": {"loss": {"name": "gmpo", "unit": "step"}}}, (TruncateConfig(unit="step"),)),
    ],
)
def test_what_differs_is_corrected_unless_the_config_says_otherwise(
    parts: dict[str, Any], corrections: tuple[TruncateConfig, ...]
) -> None:
    chosen = config(**parts).rl
    assert chosen.corrections is not None
    if getattr(chosen.loss, "couples_tokens", False):
        assert [c.name for c in chosen.corrections] == [c.name for c in corrections]
        assert chosen.corrections[0].unit == getattr(chosen.loss, "unit", "token")
    else:
        assert chosen.corrections == corrections
    assert ("trainer_logprobs" in chosen.needs) == bool(corrections)


def test_branches_are_not_played_beside_others() -> None:
    with pytest.raises(ConfigError, match=r"rl\.staleness = 0 beside the strategy"):
        config(rl={"strategy": {"name": "tree"}})


def group(*completions: Completion) -> Group:
    return Group((Trajectory(tuple(Step(completion=c) for c in completions)),))


def test_staleness_is_that_of_chosen_tokens() -> None:
    account = Account()
    mixed = Completion((1, 2, 3), (0.0, -1.0, -1.0), policy_version=3, versions=(3, 3, 5))
    forced = Completion((4,), (0.0,), policy_version=1, allowed=((4,),))
    account.learn_from([group(mixed, forced)], version=5)
    told = account.row(World())
    assert (told["staleness"], told["staleness_max"]) == (4 / 3, 2)


def test_mismatch_is_zero_where_trainer_and_sampler_agree_and_positive_elsewhere() -> None:
    same = Completion((1,), (-1.0,), trainer_logprobs=(-1.0,))
    other = Completion((1, 2), (-1.0, -1.0), trainer_logprobs=(-1.5, -0.5))
    assert mismatch_row(World(), [group(same)]) == {"mismatch_kl": 0.0}
    expected = (0.6065306597 - 1 + 0.5 + 1.6487212707 - 1 - 0.5) / 2
    assert mismatch_row(World(), [group(other)])["mismatch_kl"] == pytest.approx(expected)
    assert mismatch_row(World(), [group(Completion((1,), (-1.0,)))]) == {}


def test_usage_is_a_mean_over_time() -> None:
    usage = Usage()
    usage.take()
    usage.change(2)
    time.sleep(0.02)
    usage.change(-2)
    time.sleep(0.02)
    told = usage.take()
    assert told.seconds >= told.idle_seconds >= 0.02
    assert told.in_flight == pytest.approx(2 * (told.seconds - told.idle_seconds))
