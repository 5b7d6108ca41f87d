import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3ForCausalLM

from longstep_envs.types import DataError
from longstep_training.batch import Row
from longstep_training.checkpoint import (
    CRITIC,
    Parts,
    Progress,
    find_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    read_methods,
    restore,
    save_checkpoint,
)
from longstep_training.critic import new_critic, values
from longstep_training.distributed import World
from longstep_training.optimizer_state import read_optimizer
from longstep_training.scores import score
from longstep_training.updater import OptimizerConfig, Updater

ModelFactory = Callable[..., Qwen3ForCausalLM]
ROW = Row([5, 6, 7, 8], [4], [1, 3], [0.0, 0.0], [None, None], [1.0, 1.0], [0, 1], [1.0, 1.0], 2.0)
METHODS = {"sampling": [{"name": "spear", "means": [0.1, 1 / 3]}]}
AT = Progress("rl", 3, seconds=12.5, policy_version=8)
Save = Callable[..., Path]


def updater_of(model: Qwen3ForCausalLM, steps: int = 0) -> Updater:
    updater = Updater(model, OptimizerConfig(weight_decay=0.1), World())
    learn(updater, steps)
    return updater


def learn(updater: Updater, steps: int) -> None:
    for _ in range(steps):
        updater.step([ROW], lambda batch: (-score(updater.model, batch).logprobs_T.sum(), {}))


@pytest.fixture
def save(tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_model: ModelFactory) -> Save:
    updater = updater_of(make_model(), steps=3)

    def write(
        progress: Progress = AT,
        keep: int = 9,
        updater: Updater = updater,
        critic: Updater | None = None,
        every: int | None = None,
    ) -> Path:
        parts = Parts(tokenizer, updater, critic, METHODS)
        return save_checkpoint(tmp_path, parts, progress, keep, every)

    return write


@pytest.mark.parametrize("steps", [0, 3])
def test_training_goes_on_exactly_where_it_was(
    save: Save, make_model: ModelFactory, steps: int
) -> None:
    going = updater_of(make_model(), steps)
    folder = save(updater=going)
    assert read_checkpoint(folder) == AT
    assert read_methods(folder) == METHODS
    resumed = updater_of(make_model(seed=7), steps=1)  # everything of it must be replaced
    if steps == 0:
        resumed = updater_of(make_model(seed=7))
    restore(folder, resumed)
    assert resumed.steps == steps
    for updater in (going, resumed):
        learn(updater, 2)
    for name, value in going.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_the_critic_goes_on_where_it_was(save: Save, make_model: ModelFactory) -> None:
    def learn_values(updater: Updater) -> None:
        updater.step([ROW], lambda batch: ((values(updater.model, batch) - 1).square().sum(), {}))

    critic = Updater(new_critic(make_model()), OptimizerConfig(), World())
    learn_values(critic)
    folder = save(critic=critic)
    read_checkpoint(folder)
    resumed = Updater(new_critic(make_model(seed=7)), OptimizerConfig(), World())
    restore(folder / CRITIC, resumed)
    for updater in (critic, resumed):
        learn_values(updater)
    for name, value in critic.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_a_checkpoint_is_a_model_that_transformers_loads_alone(
    save: Save, make_model: ModelFactory
) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(save())
    expected = updater_of(make_model(), steps=3).model
    expected.set_attn_implementation("sdpa")
    ids = torch.tensor([[5, 6, 7]])
    assert torch.allclose(loaded(ids).logits, expected(ids).logits, atol=1e-6)


@pytest.mark.case(28)
@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "optimizer/shard-00001-model-00001-of-00001.safetensors",
        "optimizer.json",
        "tokenizer.json",
        "progress.json",
        "methods.json",
    ],
)
@pytest.mark.parametrize("fault", ["flip", "cut", "delete"])
def test_a_damaged_file_is_named(save: Save, name: str, fault: str) -> None:
    folder = save()
    path = folder / name
    content = bytearray(path.read_bytes())
    if fault == "delete":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content if fault == "flip" else content[:-20])
    with pytest.raises(DataError, match=name):
        read_checkpoint(folder)


@pytest.mark.case(28)
@pytest.mark.parametrize("name", ["model.safetensors", "progress.json", "manifest.json"])
def test_the_one_before_a_damaged_checkpoint_is_taken(
    save: Save, tmp_path: Path, name: str
) -> None:
    first, second = (
        save(replace(AT, iteration=iteration, policy_version=iteration)) for iteration in (3, 4)
    )
    said: list[str] = []
    assert newest_checkpoint(tmp_path, said.append) == second
    assert not said
    (second / name).write_bytes((second / name).read_bytes()[:-20])
    assert newest_checkpoint(tmp_path, said.append) == first
    (told,) = said
    assert name in told
    assert "rl-000003 is taken instead" in told
    save(replace(AT, iteration=3, policy_version=3), keep=1)  # what is left must not be the other
    assert read_checkpoint(first).iteration == 3
    (first / name).unlink()
    with pytest.raises(DataError, match="there is none before it"):
        newest_checkpoint(tmp_path, said.append)


@pytest.mark.case(28)
def test_what_was_not_finished_is_no_checkpoint(save: Save, tmp_path: Path) -> None:
    whole = save()
    half = tmp_path / ".rl-000004.partial"
    half.mkdir()
    (half / "manifest.json").write_text("{}")
    (tmp_path / "rl-000005").mkdir()
    assert find_checkpoints(tmp_path) == [whole]
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        read_checkpoint(tmp_path / "rl-000005")
    assert find_checkpoints(tmp_path / "nowhere") == []


def test_the_newest_of_each_phase_are_kept_in_the_order_of_training(
    save: Save, tmp_path: Path
) -> None:
    places = [("imitation", n) for n in (2, 4, 10)] + [("rl", n) for n in (1, 2, 3)]
    for version, (phase, iteration) in enumerate(places):
        progress = replace(AT, phase=phase, iteration=iteration, policy_version=version)
        save(progress, keep=1)
    left = ["imitation-000010", "rl-000003"]
    assert [path.name for path in find_checkpoints(tmp_path)] == left
    assert sorted(path.name for path in tmp_path.iterdir()) == [left[0], "latest", left[1]]


def test_every_so_manieth_is_kept_to_look_back_at(save: Save, tmp_path: Path) -> None:
    for iteration in range(1, 8):
        save(replace(AT, iteration=iteration, policy_version=iteration), keep=2, every=3)
    kept = [int(path.name[3:]) for path in find_checkpoints(tmp_path)]
    assert kept == [3, 6, 7]


def test_latest_is_the_newest_whole_checkpoint_also_of_a_run_that_went_back(
    save: Save, make_model: ModelFactory, tmp_path: Path
) -> None:
    latest = tmp_path / "latest"
    for iteration in (3, 4):
        folder = save(replace(AT, iteration=iteration, policy_version=iteration))
        assert latest.resolve() == folder.resolve()
    again = save(AT, updater=updater_of(make_model(seed=7), steps=1))
    assert latest.resolve() == again.resolve()
    assert read_checkpoint(latest) == AT
    assert not list(tmp_path.glob(".*"))


def test_the_optimiser_of_another_model_is_refused(save: Save, make_model: ModelFactory) -> None:
    with pytest.raises(DataError, match="of another model"):
        read_optimizer(updater_of(make_model(kv_heads=2)), save())


def test_a_checkpoint_without_its_optimiser_is_refused(
    save: Save, make_model: ModelFactory
) -> None:
    folder = save()
    shutil.rmtree(folder / "optimizer")
    with pytest.raises(DataError, match="policy"):
        restore(folder, updater_of(make_model()))
