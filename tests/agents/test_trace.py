import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.agents.conftest import Family
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from longstep_agents.encoding import TextDecoder
from longstep_agents.trace import append_rows, read_rows, trace_row
from longstep_agents.types import Completion, Step, Trajectory

SAMPLED = Completion(
    ids=(4, 5, 6),
    logprobs=(-1.0, 0.0, -0.1234567),
    text="go on",
    allowed=(None, (5,), (6, 7)),
    entropies=(0.5, -0.0, 1e-9),
)


class Spelling(TextDecoder):
    """Token 4 is "<4>"."""

    def __init__(self) -> None: ...

    def decode(self, ids: object) -> str:
        return "".join(f"<{i}>" for i in ids)  # type: ignore[attr-defined]

    def pieces(self, ids: object) -> list[str]:
        return [f"<{i}>" for i in ids]  # type: ignore[attr-defined]


@pytest.fixture
def bytewise() -> TextDecoder:
    """Of a tokenizer in which every byte is a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[])
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    decoder = TextDecoder(PreTrainedTokenizerFast(tokenizer_object=tokenizer))
    decoder.ids = lambda text: tokenizer.encode(text).ids  # type: ignore[attr-defined]
    return decoder


def test_replies_are_kept_token_by_token_where_that_is_asked_for() -> None:
    step = Step("seen", "go on", bridge_ids=(1, 2), begins_row=True, completion=SAMPLED)
    played = Trajectory((step,), env_id="longstep/Treasure-v0", seed=7, seconds=1.23456)
    row = trace_row(played, [[0.1, 0.3, 0.2]], Spelling(), tokens=True)
    assert (row["env_id"], row["seed"], row["seconds"]) == ("longstep/Treasure-v0", 7, 1.235)
    (kept,) = row["steps"]
    assert (kept["shown"], kept["begins"], kept["credit"]) == ("<1><2>", True, 0.2)
    assert kept["tokens"] == {
        "text": ["<4>", "<5>", "<6>"],
        "logprob": [-1.0, 0.0, -0.12346],
        "entropy": [0.5, 0.0, 1e-9],
        "chosen": [1, 0, 1],
        "credit": [0.1, 0.3, 0.2],
    }
    assert "-0.0" not in json.dumps(row)
    (kept,) = trace_row(played, [0.25], Spelling(), tokens=True)["steps"]
    assert (kept["credit"], "credit" in kept["tokens"]) == (0.25, False)
    (kept,) = trace_row(played, decoder=Spelling())["steps"]
    assert (kept["shown"], kept["credit"], "tokens" in kept) == ("<1><2>", None, False)


def test_nothing_is_told_where_there_is_nothing_to_tell() -> None:
    bare = {"observation", "action", "reward", "credit", "state_key", "action_valid", "logprob"}
    (kept,) = trace_row(Trajectory((Step("a", "b"),)), decoder=Spelling(), tokens=True)["steps"]
    assert set(kept) == bare
    assert "env_id" not in trace_row(Trajectory())
    assert trace_row(Trajectory(error="lost"), [])["error"] == "lost"


def test_what_an_endpoint_was_shown_is_kept_as_it_is_told() -> None:
    step = Step("seen", "go", shown="[user]\nseen", begins_row=True, bridge_ids=(1,))
    (kept,) = trace_row(Trajectory((step, replace(step, begins_row=False))))["steps"][:1]
    assert (kept["shown"], kept["begins"]) == ("[user]\nseen", True)


def test_rewards_stay_as_they_are_and_their_parts_are_rounded() -> None:
    step = Step(reward=0.1 + 0.2, reward_parts={"environment": 1 / 3})
    (kept,) = trace_row(Trajectory((step,)))["steps"]
    assert (kept["reward"], kept["parts"]) == (0.1 + 0.2, {"environment": 0.33333})


def test_pieces_of_a_text_are_the_text(family: Family) -> None:
    decoder, text = TextDecoder(family.tokenizer), "look go to shelf 1 On shelf 2, you see cup 1."
    ids = family.renderer.completion(text)
    assert "".join(decoder.pieces(ids)) == decoder.decode(ids)
    assert decoder.pieces(ids)[-1] == family.tokenizer.convert_ids_to_tokens(ids[-1])
    assert len(decoder.pieces(ids)) == len(ids)


@pytest.mark.parametrize("text", ["a é 日本 🙂.", "é" * 600, ""])
def test_parts_of_a_character_are_told_with_its_last(bytewise: TextDecoder, text: str) -> None:
    ids = bytewise.ids(text)  # type: ignore[attr-defined]
    pieces = bytewise.pieces(ids)
    assert ("".join(pieces), len(pieces)) == (text, len(ids))
    assert "\ufffd" not in "".join(pieces)


def test_bytes_that_are_no_text_are_told_all_the_same(bytewise: TextDecoder) -> None:
    ids = [bytewise.ids("é")[1]] * 20_000  # type: ignore[attr-defined]
    pieces = bytewise.pieces(ids)
    assert len(pieces) == len(ids)
    assert set("".join(pieces)) == {"\ufffd"}


def test_a_character_that_was_cut_is_told_as_such(bytewise: TextDecoder) -> None:
    ids = bytewise.ids("é")[:1]  # type: ignore[attr-defined]
    assert bytewise.pieces(ids) == ["\ufffd"]


def test_rows_of_before_are_read_as_they_are(tmp_path: Path) -> None:
    old = {"task_id": "a", "steps": [{"observation": "x", "action": "y", "credit": None}]}
    append_rows(tmp_path / "rl.jsonl", [old])
    assert read_rows(tmp_path / "rl.jsonl") == [old]
