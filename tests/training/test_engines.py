"""Which engine samples is one line of the config."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import Qwen3Config, Qwen3ForCausalLM

from longstep_agents.attention import ATTENTION
from longstep_agents.models.lanes import CacheState
from longstep_envs.types import BadValueError
from longstep_training.config import ConfigError, build_config
from longstep_training.engines import Use, make_sampler
from longstep_training.loop import train
from longstep_training.recipe import TrainConfig

TINY: dict[str, Any] = {
    "train": {"env_id": "longstep/Treasure-v0", "split": "train", "turns": 6},
    "policy": {
        "vocabulary_episodes": 8,
        "small": {"hidden": 64, "layers": 1, "heads": 2, "feed_forward": 64},
    },
    "agent": {"max_tokens": 6},
    "imitation": {"iterations": 1, "demonstrations": 4},
    "rl": {
        "iterations": 2,
        "tasks": 4,
        "siblings": 4,
        "rewards": {"terms": {"turn": -0.1, "environment": 1.0, "invalid_action": -0.1}},
    },
}


def rows(engine: dict[str, Any], out: Path) -> list[dict[str, Any]]:
    train(build_config(TrainConfig, {**TINY, "engine": engine}, "test"), out)
    lines = (out / "metrics.jsonl").read_text("utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["phase"] == "rl"]


@pytest.mark.parametrize("options", [{"share_prefixes": True}, {"dtype": "bfloat16"}])
def test_the_embedded_engine_takes_its_options(options: dict[str, Any], tmp_path: Path) -> None:
    learnt = rows({"name": "hf", **options}, tmp_path / "run")
    assert [row["iteration"] for row in learnt] == [1, 2]
    assert not any(row["failed_episodes"] for row in learnt)
    differs = any(row.get("mismatch_kl", 0.0) > 1e-9 for row in learnt)
    assert differs == ("dtype" in options)
    for row in learnt:
        assert row["first_ratio_deviation"] < 1e-5  # what differs is corrected
        told = row["engine"]
        assert 1 < told["batch"] <= 16
        assert 0 < told["kept"] < 1
        assert 0 < told["busy"] < 1
        assert (told["shared"] > 0) == ("share_prefixes" in options)
        assert told["wasted"] == 0
        useful = row["sampled_tokens_per_second"] * row["timing"]["rollout"]
        assert useful > 0.99 * row["chosen_tokens"]  # some of which taught nothing


@pytest.mark.vllm
def test_vllm_samples_from_each_new_policy(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    learnt = rows({"name": "vllm", "cache_gib": 0.5, "eager": True}, tmp_path / "run")
    assert [row["iteration"] for row in learnt] == [1, 2]
    assert not any(row["failed_episodes"] for row in learnt)
    # Its rounding is not ours; weights that were not handed over would differ by far more.
    assert all(row["first_ratio_deviation"] < 5e-3 for row in learnt)


def test_an_engine_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'vllm'"):
        build_config(TrainConfig, {**TINY, "engine": {"name": "vlm"}}, "test")
    with pytest.raises(ConfigError, match="eager"):
        build_config(TrainConfig, {**TINY, "engine": {"name": "hf", "eager": True}}, "test")


def test_engines_on_ray_want_a_cluster_also_without_processors() -> None:
    engine = {"name": "ray", "cpus": 0}
    with pytest.raises(ConfigError, match=r"cluster\.address = auto, local or HOST:PORT"):
        build_config(TrainConfig, {**TINY, "engine": engine}, "test")


def test_what_another_number_of_lanes_held_is_read_again(tmp_path: Path) -> None:
    shape = Qwen3Config(hidden_size=8, intermediate_size=8, num_hidden_layers=1, vocab_size=8)
    shape.max_position_embeddings = 48
    model = Qwen3ForCausalLM(shape)
    model.set_attn_implementation(ATTENTION)
    config = build_config(TrainConfig, TINY, "test").engine
    held = CacheState(places=[], fed={3: [1, 2]}, holders={}, counts={}, tensors={})
    make_sampler(config, model, tmp_path, Use(2)).load(held)


@pytest.mark.parametrize(("context", "held"), [({"context": 32}, 32), ({}, 48)])
def test_the_context_of_a_server_is_set_or_the_policys_own(
    context: dict[str, int], held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def taken(self: Any, weights: Any) -> None:
        pass

    module = pytest.importorskip("longstep_agents.models.vllm_server")
    monkeypatch.setattr(module.VLLMServer, "_load", taken)
    shape = Qwen3Config(hidden_size=8, intermediate_size=8, num_hidden_layers=1, vocab_size=8)
    shape.max_position_embeddings = 48
    model = Qwen3ForCausalLM(shape)
    engine = {"name": "vllm_server", "model": "m", "base_url": "http://x/v1", **context}
    config = build_config(TrainConfig, {**TINY, "engine": engine}, "test").engine
    assert make_sampler(config, model, tmp_path, Use(4)).context == held


SERVER = {"name": "vllm_server", "model": "m", "base_url": "http://x/v1"}


def test_weights_go_between_gpus_only_where_there_are_some(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    config = build_config(TrainConfig, {**TINY, "engine": {**SERVER, "sync": "nccl"}}, "test")
    shape = Qwen3Config(hidden_size=8, intermediate_size=8, num_hidden_layers=1, vocab_size=8)
    with pytest.raises(BadValueError, match=r"run\.device is cpu"):
        make_sampler(config.engine, Qwen3ForCausalLM(shape), tmp_path, Use(4))


def test_a_folder_is_for_weights_that_go_through_one() -> None:
    engine = {**SERVER, "sync": "nccl", "exchange": "/shared"}
    with pytest.raises(ConfigError, match="exchange is a folder"):
        build_config(TrainConfig, {**TINY, "engine": engine}, "test")
