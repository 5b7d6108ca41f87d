from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from longstep_agents.small_policy import (
    END,
    PROMPT,
    UNKNOWN,
    SmallPolicyConfig,
    build_model,
    build_tokenizer,
    save_policy,
)
from longstep_envs import make

SMALL = SmallPolicyConfig(hidden=16, layers=2, heads=2, feed_forward=32)


def walk(env_id: str, tasks: int) -> list[str]:
    """What the expert sees and may do in some tasks."""
    texts = []
    env = make(env_id)
    for task in env.task_ids[:tasks]:
        observation, info = env.reset(seed=0, options={"task": task, "expert": True})
        texts += [observation, *info["admissible_commands"]]
        for action in info["expert_plan"]:
            observation, _, _, _, info = env.step(action)
            texts += [observation, *info["admissible_commands"]]
    return texts


@pytest.mark.parametrize("env_id", ["longstep/ALFWorld-v0", "longstep/Treasure-v0"])
def test_what_was_seen_is_encoded_without_loss(env_id: str) -> None:
    texts = walk(env_id, 8)
    tokenizer = build_tokenizer(texts)
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text
        assert tokenizer.unk_token_id not in ids


def test_a_numbered_entity_is_one_token_also_a_little_beyond_the_numbers_seen() -> None:
    tokenizer = build_tokenizer(["go to shelf 9, then to side table 2", "the shelf"])
    assert tokenizer.tokenize("shelf 11") == ["shelf 11"]
    assert tokenizer.tokenize("shelf 12") == [UNKNOWN]
    assert tokenizer.tokenize("the shelf") == ["the ", "shelf"]


def test_the_vocabulary_does_not_depend_on_the_order_of_the_texts() -> None:
    texts = walk("longstep/Treasure-v0", 3)
    assert build_tokenizer(texts).get_vocab() == build_tokenizer(reversed(texts)).get_vocab()


def test_the_chat_template_marks_turns_with_known_tokens() -> None:
    tokenizer = build_tokenizer(["look", "You see cup 1."])
    talk = [
        {"role": "user", "content": "You see cup 1."},
        {"role": "assistant", "content": "look"},
        {"role": "user", "content": "You see cup 1."},
    ]
    rendered = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    assert rendered == f"You see cup 1.{PROMPT}look{END}You see cup 1.{PROMPT}"
    seen = ["You see ", "cup 1", ".", PROMPT]
    assert tokenizer.tokenize(rendered) == [*seen, "look", END, *seen]


def test_what_is_saved_is_loaded_by_transformers_alone(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(["look", "take cup 1"])
    model = build_model(tokenizer, SMALL, seed=3)
    save_policy(model, tokenizer, tmp_path)
    loaded, words = (
        AutoModelForCausalLM.from_pretrained(tmp_path),
        AutoTokenizer.from_pretrained(tmp_path),
    )
    assert words.get_vocab() == tokenizer.get_vocab()
    assert words.chat_template == tokenizer.chat_template
    ids = torch.tensor([words.encode(f"look{PROMPT}take cup 1{END}", add_special_tokens=False)])
    assert ids.tolist() == [
        tokenizer.encode(f"look{PROMPT}take cup 1{END}", add_special_tokens=False)
    ]
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, model.eval()(ids).logits)


def test_weights_are_a_function_of_the_seed() -> None:
    tokenizer = build_tokenizer(["look"])
    first, again, other = (build_model(tokenizer, SMALL, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


@pytest.mark.case(20)
def test_half_a_character_in_what_an_environment_says_is_a_question_mark() -> None:
    broken, plain = (build_tokenizer([f"look {mark} at cup 1"]) for mark in ("\ud800", "?"))
    assert broken.get_vocab() == plain.get_vocab()
