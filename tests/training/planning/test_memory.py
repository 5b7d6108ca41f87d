from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longstep_training.planning.costs import Layout, Setting
from longstep_training.planning.episodes import draw_groups
from longstep_training.planning.machines import MACHINES
from longstep_training.planning.memory import layer_bytes, plan_memory
from longstep_training.planning.settings import Assumptions, Recipe
from longstep_training.planning.shapes import SHAPES, Shape

SHARDED = Recipe.model_validate(
    {
        "run": {"shard": True, "precision": "bfloat16"},
        "engine": {"name": "vllm"},
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
    assert one.has == pytest.approx(sum(one.resident.values()) + max(update, engine) + one.left)
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
