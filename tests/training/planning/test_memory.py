from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longstep_training.planning.costs import Layout, Setting, update_flops
from longstep_training.planning.episodes import draw_groups
from longstep_training.planning.machines import MACHINES
from longstep_training.planning.memory import Memory, layer_bytes, plan_memory
from longstep_training.planning.settings import Assumptions, Policy, Recipe
from longstep_training.planning.shapes import SHAPES, Shape

SHARDED = Recipe.model_validate(
    {
        "run": {"shard": True, "precision": "bfloat16"},
        "engine": {"name": "vllm_server"},
        "agent": {"max_tokens": 512},
    }
)


def with_run(**options: object) -> Recipe:
    return SHARDED.model_copy(update={"run": SHARDED.run.model_copy(update=options)})


def setting_of(size: str, recipe: Recipe = SHARDED, **assumed: object) -> Setting:
    return Setting(SHAPES[size], MACHINES["h100"], recipe, Assumptions.model_validate(assumed))


@settings(max_examples=40, deadline=None)
@given(
    size=st.sampled_from(["0.6B", "7B", "32B", "70B"]),
    count=st.sampled_from([1, 2, 8, 64, 512]),
    shard=st.booleans(),
    checkpointing=st.sampled_from(["none", "selective", "full"]),
)
def test_memory_adds_up(size: str, count: int, shard: bool, checkpointing: str) -> None:
    recipe = with_run(shard=shard, activation_checkpointing=checkpointing)
    setting = setting_of(size, recipe)
    groups = draw_groups(recipe, setting.assumed, 4)
    (one,) = plan_memory(setting, Layout(count, count, apart=False), groups)
    update, engine = sum(one.update.values()), sum(one.engine.values()) + one.lanes * one.lane
    assert one.has == pytest.approx(sum(one.resident.values()) + update + engine + one.left)
    state = sum(one.resident.values()) + one.update["gradients (float32)"]
    each = count if shard else 1
    assert state == pytest.approx(16 * setting.shape.parameters / each)
    assert 0 <= one.lanes <= one.wanted


def test_a_trainer_and_a_sampler_hold_different_things() -> None:
    groups = draw_groups(SHARDED, Assumptions(), 4)
    trainer, sampler = plan_memory(setting_of("7B"), Layout(8, 4, apart=True, tensor=2), groups)
    assert not trainer.engine
    assert not trainer.lane
    assert not sampler.resident
    assert not sampler.update
    assert sampler.engine["engine's weights"] == pytest.approx(2 * SHAPES["7B"].parameters / 2)


def of_hf(size: str, count: int, **engine: object) -> Memory:
    """Of an accelerator that trains a sharded policy and samples from a copy of it."""
    tree = {**SHARDED.model_dump(), "engine": {"name": "hf", **engine}}
    recipe = Recipe.model_validate(tree)
    setting = setting_of(size, recipe)
    groups = draw_groups(recipe, setting.assumed, 4)
    return plan_memory(setting, Layout(count, count, apart=False), groups)[0]


def test_hf_takes_the_cache_of_all_episodes_at_once() -> None:
    shape = SHAPES["7B"]
    one = of_hf("7B", 64)
    assert one.cache == 256 * shape.context * shape.cache_bytes(4)
    assert one.cache == pytest.approx(962e9, rel=0.01)
    assert not one.fits
    short = of_hf("7B", 64, context=1000, dtype="bfloat16")
    assert short.cache == 256 * 1000 * shape.cache_bytes(2)
    recipe = Recipe.model_validate({"engine": {"name": "ray", "gpus": 1, "replicas": 4}})
    layout = Layout(1, 4, apart=True)
    groups = draw_groups(recipe, Assumptions(), 1)
    _, actor = plan_memory(setting_of("0.6B", recipe), layout, groups)
    assert actor.lanes == 256 / 4


def test_the_cache_leaves_a_tenth_of_what_is_free_at_the_start() -> None:
    one = of_hf("0.6B", 8, context=2000)
    assert one.start == pytest.approx(
        max(
            4 * SHAPES["0.6B"].parameters + one.cache / 0.9,
            8 * SHAPES["0.6B"].parameters + one.cache,
        )
    )


def test_a_sharded_policy_is_loaded_whole_first() -> None:
    whole = 4 * SHAPES["32B"].parameters
    groups = draw_groups(SHARDED, Assumptions(), 4)
    trainer, sampler = plan_memory(setting_of("32B"), Layout(56, 8, apart=True, tensor=8), groups)
    assert trainer.start == pytest.approx(whole)
    assert trainer.start > trainer.has
    assert not trainer.fits
    assert sampler.starts
    copied = of_hf("7B", 64, dtype="bfloat16", context=10)
    assert copied.start == pytest.approx(2 * 4 * SHAPES["7B"].parameters)


def test_a_reference_is_loaded_whole_beside_the_engine() -> None:
    learning = SHARDED.rl.model_copy(update={"reference": "start"})
    recipe = SHARDED.model_copy(update={"rl": learning})
    groups = draw_groups(recipe, Assumptions(), 4)
    whole = 4 * SHAPES["7B"].parameters
    (trainer, _) = plan_memory(setting_of("7B", recipe), Layout(8, 8, apart=True), groups)
    assert trainer.start == pytest.approx(whole + whole / 8)


def test_vllm_beside_a_trainer_takes_its_share() -> None:
    def beside(**engine: object) -> Memory:
        recipe = Recipe.model_validate({"engine": {"name": "vllm", **engine}})
        setting = setting_of("0.6B", recipe)
        groups = draw_groups(recipe, setting.assumed, 1)
        return plan_memory(setting, Layout(1, 1, apart=False), groups)[0]

    one = beside(memory=0.5)
    assert sum(one.engine.values()) + one.cache == pytest.approx(0.5 * 80e9)
    assert not beside().fits
    told = beside(cache_gib=4)
    weights = 2 * SHAPES["0.6B"].parameters
    assert sum(told.engine.values()) + told.cache == pytest.approx(weights + 4 * 2**30)


def test_checkpointing_keeps_less() -> None:
    groups = draw_groups(SHARDED, Assumptions(), 4)
    layout = Layout(64, 64, apart=False)
    kept, part, again = (
        plan_memory(setting_of("7B", with_run(activation_checkpointing=what)), layout, groups)[0]
        for what in ("none", "selective", "full")
    )
    assert again.update["activations"] < kept.update["activations"] / 8
    assert again.update["activations"] < part.update["activations"] < kept.update["activations"]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_a_layer_keeps_as_much_as_autograd_saves(half: bool, kind: str) -> None:
    """Of a real model: the difference of two depths, without weights and their rounded copies."""
    torch = pytest.importorskip("torch")
    shape = Shape("tiny", 256, 2, 4, 2, 64, 768, 64, tied=True, head_norms=kind == "qwen3")
    tokens = 256
    saved = [_saved(torch, kind, shape, layers, tokens, half=half) for layers in (2, 4)]
    copies = 2 * shape.layer_weights if half else 0
    each = ((saved[1] - saved[0]) / 2 - copies) / tokens
    recipe = Recipe.model_validate({"run": {"precision": "bfloat16" if half else "float32"}})
    setting = Setting(shape, MACHINES["h100"], recipe, Assumptions())
    assert layer_bytes(setting) == pytest.approx(each, rel=0.03)


def _saved(torch: Any, kind: str, shape: Shape, layers: int, tokens: int, *, half: bool) -> int:
    import transformers

    from longstep_agents.attention import ATTENTION, Documents

    family = {"qwen3": "Qwen3", "llama": "Llama"}[kind]
    config = getattr(transformers, f"{family}Config")(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.feed_forward,
        tie_word_embeddings=True,
    )
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    model.set_attn_implementation(ATTENTION)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, tuple[int, Any]] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    context = torch.autocast("cpu", torch.bfloat16) if half else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), context:
        model(
            input_ids=torch.zeros(1, tokens, dtype=torch.long),
            position_ids=torch.arange(tokens)[None],
            packing=Documents([tokens]),
            use_cache=False,
            logits_to_keep=torch.tensor([tokens - 1]),
        )
    return sum(size for size, _ in kept.values())


def test_adapters_have_the_only_gradients_and_moments() -> None:
    recipe = SHARDED.model_copy(update={"policy": Policy.model_validate({"lora": {"rank": 16}})})
    setting = setting_of("7B", recipe)
    groups = draw_groups(recipe, setting.assumed, 4)
    (one,) = plan_memory(setting, Layout(8, 8, apart=False), groups)
    adapters = SHAPES["7B"].adapter_weights(16)
    assert 0.004 < adapters / SHAPES["7B"].parameters < 0.007
    assert one.update["gradients (float32)"] == pytest.approx(4 * adapters / 8)
    assert one.resident["moments of AdamW"] == pytest.approx(8 * adapters / 8)
    whole = 4 * (SHAPES["7B"].parameters + adapters) / 8
    assert one.resident["weights (float32)"] == pytest.approx(whole)
    without = update_flops(setting_of("7B"), groups)
    assert without - update_flops(setting, groups) == pytest.approx(without / 4, rel=0.01)
