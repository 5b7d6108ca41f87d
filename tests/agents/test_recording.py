import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from longstep_agents.atif import read_atif
from longstep_agents.baselines import ExpertAgent
from longstep_agents.demonstration import DemonstratingAgent
from longstep_agents.exports import export
from longstep_agents.language_agent import AgentKit, LanguageAgentConfig
from longstep_agents.messages import ToolCall
from longstep_agents.model import ContextError
from longstep_agents.recording import Recording, Turn, recite, with_commands
from longstep_agents.render import Renderer
from longstep_agents.rollout import EpisodeRequest, collect
from longstep_agents.tools import Toolbox
from longstep_agents.trace import trace_row
from longstep_agents.types import Trajectory
from longstep_envs import EnvPool
from longstep_envs.types import BadValueError, ToolSpec

SUMMARY = {"name": "summary", "tokens": 200, "max_tokens": 40}
LOOK = ToolSpec("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}})
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "desk"}}\n</tool_call>'


def demonstrate(renderer: Renderer, kit: AgentKit) -> list[Trajectory]:
    requests = [EpisodeRequest(f"test/{n}", expert=True) for n in range(3)]
    with EnvPool("longstep/Treasure-v0", {}) as pool:
        make = lambda _: DemonstratingAgent(ExpertAgent(), renderer, kit)  # noqa: E731
        return asyncio.run(collect(pool, requests, make))


def exported(played: Sequence[Trajectory], folder: Path) -> Path:
    (folder / "run" / "episodes").mkdir(parents=True)
    rows = [{"phase": "rl", "iteration": 1, **trace_row(trajectory)} for trajectory in played]
    path = folder / "run" / "episodes" / "rl.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    export("atif", folder / "run", folder / "atif")
    return folder / "atif"


def acted(trajectory: Trajectory) -> Trajectory:
    """As the environment knows it."""
    steps = tuple(step for step in trajectory.steps if step.target == "environment")
    return replace(trajectory, steps=steps)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"system": "Find it.", "action": {"tag": "act"}},
        {"action": {"order": "noun_first"}},
        {"parser": {"name": "action"}},
        {"action": {"order": "noun_first", "constraint": "admissible"}},
        {"context": "stepwise", "memory": {"name": "window", "turns": 2}},
        {"memory": SUMMARY},
    ],
)
def test_what_was_exported_is_recited_token_by_token(
    options: dict[str, Any], chat_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    config = LanguageAgentConfig.model_validate({"max_tokens": 80, **options})
    renderer, kit = Renderer(chat_tokenizer), AgentKit(config)
    played = demonstrate(renderer, kit)
    recordings, _ = read_atif(exported(played, tmp_path))
    for recording, original in zip(recordings, played, strict=True):
        said = recite(with_commands(recording, acted(original)), renderer, kit)
        assert (said.task_id, said.success) == (original.task_id, True)
        assert said.total_reward == pytest.approx(original.total_reward)
        for mine, theirs in zip(said.steps, original.steps, strict=True):
            assert mine.completion.ids == theirs.completion.ids
            assert mine.completion.allowed == theirs.completion.allowed
            assert mine.bridge_ids == theirs.bridge_ids
            assert (mine.begins_row, mine.action) == (theirs.begins_row, theirs.action)


def test_another_agents_words_are_written_as_this_agent_writes_them(
    chat_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    renderer = Renderer(chat_tokenizer)
    tagged = LanguageAgentConfig.model_validate({"action": {"tag": "act"}, "max_tokens": 80})
    recordings, _ = read_atif(exported(demonstrate(renderer, AgentKit(tagged)), tmp_path))
    plain = recite(recordings[0], renderer, AgentKit(LanguageAgentConfig(max_tokens=80)))
    assert plain.steps[0].completion.text == plain.steps[0].action
    assert "<act>" in recordings[0].turns[0].message


@pytest.mark.parametrize(
    ("message", "said"),
    [("I look.", f"<think>I look.</think>\n{CALL}"), (f"So: {CALL}", f"So: {CALL}"), ("", CALL)],
)
def test_calls_are_said_in_the_agents_format_and_not_carried_out(
    message: str,
    said: str,
    chat_tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Toolbox, "run_all", lambda *_: pytest.fail("a tool was run"))
    config = LanguageAgentConfig.model_validate(
        {"parser": {"name": "hermes"}, "max_tokens": 200, "tools": {"calculator": {}}}
    )
    calls = (ToolCall("look", {"at": "desk"}), ToolCall("calculator", {"expression": "1"}))
    for call in calls:
        turns = (Turn("A desk.", message.replace("look", call.name), (call,)), Turn("1", "Done."))
        played = recite(Recording(turns), Renderer(chat_tokenizer), AgentKit(config, [LOOK]))
        assert json.loads(played.steps[0].action) == {
            "name": call.name,
            "arguments": dict(call.arguments),
        }
        if call.name == "look":
            assert played.steps[0].completion.text == said


def test_what_does_not_fit_is_refused(chat_tokenizer: PreTrainedTokenizerFast) -> None:
    renderer, kit = Renderer(chat_tokenizer), AgentKit(LanguageAgentConfig(max_tokens=8))
    with pytest.raises(BadValueError, match="longer than the policy may write"):
        recite(Recording((Turn("a", "a very long command"),)), renderer, kit)
    with pytest.raises(ContextError, match="context"):
        recite(Recording((Turn("a" * 100, "look"),)), renderer, kit, context=50)
    fits = len(recite(Recording((Turn("a", "look"),)), renderer, kit).steps[0].bridge_ids)
    with pytest.raises(ContextError, match="within a reply"):
        recite(Recording((Turn("a", "look"),)), renderer, kit, context=fits + 2)
    with pytest.raises(BadValueError, match="cannot be told"):
        recite(Recording((Turn("a", "", (ToolCall("look"),)),)), renderer, kit)
    with pytest.raises(BadValueError, match="cannot be told"):
        recite(Recording((Turn("a", ""),)), renderer, kit)
