"""What each kind of memory shows of a past, and what it asks of the policy."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import bm25s  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from longstep_agents.memory import MEMORY, AnyMemoryConfig, Exchange, make_memory
from longstep_agents.memory.summary import Overwrite, OverwriteConfig
from longstep_agents.memory.types import Count, Memory
from longstep_agents.messages import Message
from longstep_agents.prompts import Talk
from longstep_agents.small_policy import build_tokenizer


def count(text: str) -> int:
    return len(text.split())


def memory(name: str, **options: Any) -> Memory:
    config = TypeAdapter(AnyMemoryConfig).validate_python({"name": name, **options})
    return make_memory(config, count)


def past(*pairs: tuple[str, str]) -> list[Exchange]:
    return [
        Exchange(n, Message("user", seen), Message("assistant", said), said)
        for n, (seen, said) in enumerate(pairs)
    ]


PAST = past(
    ("Find the key.", "look"), ("a red door", "open red door"), ("a hall", "go on"), ("a", "b")
)
NOW = Message("user", "a garden")


def numbers(kept: Sequence[Exchange]) -> list[int]:
    return [exchange.number for exchange in kept]


@pytest.mark.case(19)
@pytest.mark.parametrize(
    ("name", "options", "shown"),
    [
        ("full", {}, [0, 1, 2, 3]),
        ("window", {"turns": 2}, [2, 3]),
        ("window", {"turns": 0}, []),
        ("window", {"turns": 9}, [0, 1, 2, 3]),
        ("budget", {"tokens": 6}, [2, 3]),
        ("budget", {"tokens": 5}, [3]),
        ("budget", {"tokens": 1}, []),
        ("budget", {"tokens": 99}, [0, 1, 2, 3]),
    ],
)
def test_what_is_shown(name: str, options: dict[str, int], shown: list[int]) -> None:
    recall = memory(name, **options).recall(PAST, NOW)
    assert numbers(recall.past) == shown
    assert recall.seen == NOW
    assert recall.task == "Find the key."
    assert recall.opens == (0 in shown)


def test_retrieval_finds_the_exchange_that_tells_of_what_is_seen() -> None:
    recall = memory("retrieval", turns=1, found=1).recall(PAST, Message("user", "the RED door"))
    assert numbers(recall.past) == [1, 3]
    nothing = memory("retrieval", turns=0, found=3).recall(PAST, Message("user", "?!"))
    assert nothing.past == ()


@given(
    st.sampled_from(sorted(MEMORY)),
    st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), max_size=6),
    st.text(max_size=60),
)
def test_the_same_past_gives_the_same_prompt_and_shows_the_task(
    name: str, talk: list[tuple[str, str]], now: str
) -> None:
    def prompt() -> list[Message]:
        kept = memory(name)
        told = past(*talk)
        seen = Message("user", now)
        for _ in range(100):
            demand = kept.demand(told, seen)
            if demand is None:
                break
            kept.keep(demand.example)
        return Talk(None).write(kept.recall(told, seen), len(told), ())

    assert prompt() == prompt()
    first = talk[0][0] if talk else now
    assert first in prompt()[0].text
    roles = [message.role for message in prompt()]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]


@pytest.mark.case(19)
def test_a_summary_is_asked_for_when_the_past_is_long_and_takes_its_place() -> None:
    kept = memory("summary", tokens=5, prompt="Sum up.")
    assert kept.demand(PAST[:1], NOW) is None
    demand = kept.demand(PAST[:3], NOW)
    assert demand is not None
    assert numbers(demand.recall.past) == [0, 1, 2]
    assert demand.recall.seen.text == "Sum up."
    assert demand.example == "look; open red door; go on"
    kept.keep(" The red door is open. \n")
    assert kept.demand(PAST[:3], NOW) is None
    recall = kept.recall(PAST[:3], NOW)
    assert (recall.past, recall.notes) == ((), "The red door is open.")
    later = kept.recall(PAST, NOW)
    assert numbers(later.past) == [3]
    (opening, *_) = Talk("Be brief.").write(later, 4, ())[1:]
    told = "Find the key.\n\nThe red door is open.\n\n[Earlier steps not shown: 1 to 3]\n\na"
    assert opening.text == told


@pytest.mark.case(19)
def test_what_is_too_long_is_read_in_parts_into_a_memory_that_is_written_anew() -> None:
    lines = [f"line {n} says w{n}" for n in range(6)]
    seen = Message("user", "\n".join([*lines, "What does line 4 say?"]))
    kept = memory("overwrite", chunk=10, prompt="{part}/{parts}")
    read = []
    while (demand := kept.demand([], seen)) is not None:
        read.append(demand.recall.seen.text)
        assert demand.recall.past == ()
        assert demand.recall.task == "What does line 4 say?"
        assert demand.recall.notes == "".join(f"m{n}" for n in range(len(read) - 1))
        kept.keep("".join(f"m{n}" for n in range(len(read))))
    assert len(read) == 4
    assert "".join(text.rpartition("\n\n")[0] for text in read) == seen.text
    recall = kept.recall([], seen)
    assert (recall.seen.text, recall.notes) == ("What does line 4 say?", "m0m1m2m3")
    assert kept.demand([], seen) is None
    (prompt,) = Talk(None).write(recall, 0, ())
    assert prompt.text == "m0m1m2m3\n\nWhat does line 4 say?"


@given(st.text(max_size=400), st.integers(1, 7))
def test_parts_hold_every_character_and_no_more_tokens_than_they_may(text: str, chunk: int) -> None:
    reader = Overwrite(OverwriteConfig(chunk=chunk), len)
    parts = reader._split(text)
    assert "".join(parts) == text
    assert all(len(part) <= chunk for part in parts)


def by_lines(text: str, chunk: int, count: Count) -> list[str]:
    """Parts, a line after the other: what `Overwrite` cuts with fewer looks at the tokens."""
    pieces, waiting = [], text.splitlines(keepends=True)[::-1]
    while waiting:
        line = waiting.pop()
        if len(line) < 2 or count(line) <= chunk:
            pieces.append(line)
        else:
            waiting += [line[len(line) // 2 :], line[: len(line) // 2]]
    parts, held = [], ""
    for piece in pieces:
        if held and count(held + piece) > chunk:
            parts.append(held)
            held = ""
        held += piece
    return [*parts, held]


@cache
def counts() -> dict[str, Count]:
    """How tokenizers count: by characters, by words, by merged bytes, by whole phrases."""
    talk = "You see a red door. \n\n  You go to shelf 12 and take cup 3 from it; nothing happens.\n"
    merged = Tokenizer(models.BPE())
    merged.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=330, show_progress=False)
    merged.train_from_iterator([talk] * 3, trainer)
    phrases = build_tokenizer([talk, "shelf 1", "cup 2 is red"])
    return {
        "characters": len,
        "words": count,
        "merged": lambda text: len(merged.encode(text).ids),
        "phrases": lambda text: len(phrases.encode(text, add_special_tokens=False)),
    }


PIECES = ["You see ", "a red door", "shelf 1", "2", "cup", " ", "\n", "\n\n", ".\n", "é"]
lines = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=60)


@given(lines.map("".join), st.integers(1, 40))
@settings(deadline=None)
@pytest.mark.parametrize("kind", ["characters", "words", "merged", "phrases"])
def test_parts_are_those_of_reading_line_by_line(kind: str, text: str, chunk: int) -> None:
    count = counts()[kind]
    parts = Overwrite(OverwriteConfig(chunk=chunk), count)._split(text)
    assert parts == by_lines(text, chunk, count)


def test_a_long_text_is_cut_with_few_looks_at_its_tokens() -> None:
    looked = 0

    def count(text: str) -> int:
        nonlocal looked
        looked += len(text)
        return len(text)

    text = "a line of twenty-one\n" * 2_000
    Overwrite(OverwriteConfig(chunk=4_200), count)._split(text)
    assert looked < 5 * len(text)


def test_the_example_of_a_summary_is_the_last_actions_that_fit_one() -> None:
    long = past(*((f"seen {n}", f"do {n}") for n in range(50)))
    for most, example in ((128, 50), (100, 49), (7, 3), (5, 2), (2, 0)):
        kept = memory("summary", tokens=5, max_tokens=most)
        demand = kept.demand(long, NOW)
        assert demand is not None
        assert demand.example == "; ".join(f"do {n}" for n in range(50 - example, 50))


words = st.lists(st.sampled_from(["red", "door", "shelf", "1", "a", "A", "é", "?"]), max_size=8)


@given(st.lists(words, max_size=12), words, st.integers(1, 3))
@settings(deadline=None)
def test_retrieval_is_bm25_as_bm25s_computes_it(
    texts: list[list[str]], query: list[str], found: int
) -> None:
    kept = memory("retrieval", turns=0, found=found)
    for number in range(len(texts) + 1):
        talk = past(*((" ".join(text), "") for text in texts[:number]))
        recall = kept.recall(talk, Message("user", " ".join(query)))
        assert numbers(recall.past) == ranked(talk, query, found)


def ranked(talk: Sequence[Exchange], query: Sequence[str], found: int) -> list[int]:
    """What bm25s finds, of equals the latest."""
    texts = [re.findall(r"\w+", exchange.seen.text.lower()) for exchange in talk]
    wanted = re.findall(r"\w+", " ".join(query).lower())
    if not any(texts) or not wanted:
        return []
    index = bm25s.BM25()
    index.index(texts, show_progress=False)
    scores = index.get_scores(wanted)
    best = sorted(range(len(texts)), key=lambda i: (-scores[i], -i))[:found]
    return sorted(i for i in best if scores[i] > 0)


def test_retrieval_looks_into_the_past_that_it_is_given() -> None:
    kept, now = memory("retrieval", turns=0, found=1), Message("user", "the red door")
    assert numbers(kept.recall(PAST, now).past) == [1]
    assert numbers(kept.recall(PAST[2:], now).past) == []
    assert numbers(kept.recall(PAST[:2], now).past) == [1]


def test_an_unknown_kind_or_option_is_refused() -> None:
    with pytest.raises(ValidationError, match="windw"):
        memory("windw")
    with pytest.raises(ValidationError, match="Extra inputs"):
        memory("full", turns=3)
    with pytest.raises(ValidationError):
        memory("window", turns=-1)
