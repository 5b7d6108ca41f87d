"""Targets: what models, endpoints, MCP servers and users say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.reliability.fuzz_targets import Feed, Target

from longstep_envs.types import BadValueError, LongstepError, ToolSpec
from longstep_tasks.types import TasksError

_WORLD = [
    "You are in the hall. You see shelf 1, shelf 2 and desk 1.",
    "go to shelf 1",
    "take cup 1 from shelf 2",
]
_CALL = '{"name": "search", "arguments": {"query": "who was Oda?", "deep": [1, {"a": null}]}}'
_REPLIES = (
    "go to shelf 1",
    "<think>The cup is there.</think>\n<action>take cup 1 from shelf 2</action>",
    "Thought: the cup is there.\nAction: take cup 1 from shelf 2",
    f"<think>I look.</think>\n<tool_call>\n{_CALL}\n</tool_call>",
    "<tool_call>\n<function=search>\n<parameter=query>\nOda\n</parameter>\n</function>\n</tool_call>",
    f"I look it up.\n```json\n{_CALL}\n```",
    f"{_CALL}\n{_CALL}",
    '{"query": "who was Oda?", "deep": []}',
    f"<action>{_CALL}</action>",
    "<think>x</think><search>Oda Renn</search>",
    "<answer>Velm [p1] [p2]</answer>",
    "Action: search\nAction Input: " + _CALL,
)
_MARKS = (
    *(b"<think>", b"</think>", b"<action>", b"</action>", b"<tool_call>", b"</tool_call>"),
    *(b"<function=", b"<parameter=", b"</parameter>", b"</function>", b"```json\n", b"```"),
    *(b"Thought:", b"Action:", b"Action Input:", b"<search>", b"</answer>", b'"name"', b"\n"),
)
_TOOL = ToolSpec(
    "search",
    "Search.",
    {
        "type": "object",
        "properties": {"query": {"type": "string"}, "deep": {"type": "array"}},
        "required": ["query"],
    },
)


def parser(_folder: Path, kind: str) -> Target:
    """A parser in each of its ways; what it reads as valid, it must also be able to write."""
    from pydantic import TypeAdapter

    from longstep_agents.messages import ToolCall
    from longstep_agents.parsers import AnyParserConfig, make_parser

    options: dict[str, list[dict[str, Any]]] = {
        "action": [{}, {"calls": True, "require_think": True}],
        "verl_agent": [{"environment": e} for e in ("alfworld", "webshop", "sciworld", "search")],
    }
    calls = [{}, {"commands": True, "max_calls": 3}]
    ways = options.get(kind, [{}] if kind in ("plain", "react") else calls)
    adapter: TypeAdapter[Any] = TypeAdapter(AnyParserConfig)
    made = [make_parser(adapter.validate_python({"name": kind, **way}), [_TOOL]) for way in ways]

    def feed(data: bytes) -> None:
        read = made[len(data) % len(made)]
        reply = _text(data)
        beside = (ToolCall("search", {}, "c1", raw=reply),) if kind == "openai" else None
        parsed = read.read(reply, beside, cut=len(data) % 5 == 0)
        if parsed.fault is not None:
            raise BadValueError(parsed.fault.message)
        if kind != "verl_agent":
            for said in parsed.calls or (parsed.command,):
                _written(read, said)
                json.dumps([parsed.thought, parsed.command]).encode()

    seeds = [reply.encode() for reply in _REPLIES]
    own = [seed for seed in seeds if _is_read(feed, seed)]
    return Target(feed, [*own * 5, *seeds], _MARKS)


def _is_read(feed: Feed, seed: bytes) -> bool:
    try:
        feed(seed)
    except BadValueError:
        return False
    return True


def _written(parser: Any, said: Any) -> None:
    try:
        parser.write(said)
    except BadValueError:
        return


def renderer(_folder: Path, _name: str) -> Target:
    """Messages, calls and tools, said in the way of a chat template."""
    from longstep_agents.messages import Message
    from longstep_agents.render import Renderer
    from longstep_agents.small_policy import build_tokenizer

    said = Renderer(build_tokenizer(_WORLD))

    def feed(data: bytes) -> None:
        text = _text(data)
        roles = ("system", "user", "assistant", "tool")
        parts = text.split("|")
        messages = [Message("user", parts[0])]
        for number, part in enumerate(parts[1:40], start=len(data)):
            role: Any = roles[1 + number % 3]
            messages.append(Message(role, part))
        tools = [ToolSpec("search", parts[-1], _TOOL.parameters)] if len(data) % 3 == 0 else []
        replies = sum(message.role == "assistant" for message in messages)
        assert said.prompt(messages, tools).count(said.end_id) == replies, "a text ended a turn"
        if messages[-1].role in ("user", "tool"):
            said.bridge(messages, ended=False)

    marks: tuple[bytes, ...] = (
        b"<end>",
        b"<pad>",
        b"|",
        b"\n> ",
        "\ue0000\ue001".encode(),
        b"{{",
        b"{%",
        b"</think>",
    )
    return Target(feed, ["|".join([*_WORLD, *_REPLIES]).encode(), *map(str.encode, _WORLD)], marks)


def prompt_template(folder: Path, _name: str) -> Target:
    """Prompts of the user's own."""
    from longstep_agents.memory.types import Recall
    from longstep_agents.messages import Message
    from longstep_agents.prompts import STEPWISE, Prompt

    path, number = folder / "prompt", iter(range(10**9))
    recall = Recall("Find the cup.", (), Message("user", "A hall."))

    def feed(data: bytes) -> None:
        mine = path.with_suffix(f".{next(number)}")  # templates are read once for each path
        mine.write_bytes(data)
        try:
            Prompt(None, mine).write(recall, 0, ["look"])
        finally:
            mine.unlink()

    marks: tuple[bytes, ...] = (
        b"{{ 1/0 }}",
        b"{{ ''.__class__ }}",
        b"{% include 'x' %}",
        b"{% raw %}",
        b"{{",
        b"%}",
    )
    return Target(feed, [STEPWISE.encode()], marks)


def endpoint_answer(_folder: Path, _name: str) -> Target:
    """What an endpoint answers."""
    from longstep_agents.models.chat_wire import read_answer

    function = {"name": "search", "arguments": '{"query": "x"}'}
    message = {
        "content": "go",
        "reasoning": "so",
        "tool_calls": [{"id": "c", "function": function}],
    }
    choice = {"message": message, "finish_reason": "stop", "stop_reason": None, "token_ids": [1]}
    choice["logprobs"] = {"content": [{"logprob": -0.1}]}
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": None}
    body = {"choices": [choice], "usage": usage, "prompt_token_ids": [1, 2]}

    def feed(data: bytes) -> None:
        answer = read_answer(data)
        answer.calls(1)
        answer.tokens()
        json.dumps([answer.text, answer.reasoning, answer.stop])

    return Target(feed, [json.dumps(body).encode()])


def mcp_content(_folder: Path, _name: str) -> Target:
    """Manuals, schemas and results of MCP servers."""
    from mcp.types import CallToolResult, Tool
    from pydantic import ValidationError

    from longstep_agents.tools.mcp.config import McpConfig
    from longstep_agents.tools.mcp.content import read_result, read_spec

    config = McpConfig(command=("x",))
    tool = {"name": "t", "description": "d", "inputSchema": _TOOL.parameters}
    block = {"type": "text", "text": "found"}
    result = {"content": [block, {"type": "image", "data": "AA==", "mimeType": "image/png"}]}
    seeds = [json.dumps({"tool": tool, "result": result}).encode()]

    def feed(data: bytes) -> None:
        value = _parsed(data)
        try:  # the SDK refuses these before we see them
            listed = Tool.model_validate(value["tool"])
            came = CallToolResult.model_validate(value["result"])
        except (ValidationError, LookupError, TypeError, RecursionError):
            raise BadValueError("no MCP") from None
        read_result(came)
        read_spec(listed, config)

    return Target(feed, seeds)


def config_file(folder: Path, _name: str) -> Target:
    """Configs of training runs."""
    from longstep_training.config import build_config, dump_toml, read_tree
    from longstep_training.recipe import TrainConfig

    root = Path(__file__).parents[2] / "configs"
    path = folder / "methods" / "run.toml"
    path.parent.mkdir()
    seeds = [one.read_bytes() for one in sorted(root.glob("methods/*.toml"))]
    for one in root.glob("*.toml"):
        (folder / one.name).write_bytes(one.read_bytes())

    def feed(data: bytes) -> None:
        path.write_bytes(data)
        config = build_config(TrainConfig, read_tree(path), source="run.toml")
        dump_toml(config)

    marks: tuple[bytes, ...] = (
        b"turns = 1000000000\n",
        b"[rl]\n",
        b"= nan\n",
        b"= -inf\n",
        b'extends = "\\u0000"\n',
    )
    marks += (b'extends = "/etc/passwd"\n', b'"""', b"a.b.c = 1\n", b"= 1979-05-27T07:32:00Z\n")
    marks += (
        b"= 0x" + b"f" * 6_000 + b"\n",
        b"x = " + b"9" * 6_000 + b"\n",
        b"x = " + b"[" * 9_000,
    )
    marks += (b"a." * 9_000 + b"a = 1\n",)
    return Target(feed, seeds, marks)


def override(_folder: Path, _name: str) -> Target:
    """Overrides on the command line."""
    from longstep_training.config import build_config, override_tree
    from longstep_training.recipe import TrainConfig

    def feed(data: bytes) -> None:
        tree: dict[str, Any] = {"train": {"env_id": "longstep/Treasure-v0"}}
        build_config(TrainConfig, override_tree(tree, _text(data).split("|")), source="--set")

    seeds = [b"seed=3|train.turns=5", b"train.env_kwargs={a = 1, b = [2, 3]}", b'agent.system="x"']
    return Target(
        feed, seeds, (b"=", b".", b"|", b"name=", b"{", b"[", b"'''", b"9" * 6_000, b"a." * 9_000)
    )


def names(_folder: Path, _name: str) -> Target:
    """Ids of environments, task sets, tasks, sandboxes and exports."""
    from longstep_agents.exports import export
    from longstep_envs.registry import make
    from longstep_tasks.registry import load_tasks

    env = make("longstep/Treasure-v0")

    def feed(data: bytes) -> None:
        name = _text(data)
        asked: list[Any] = [
            lambda: make(name),
            lambda: load_tasks(name),
            lambda: env.reset(options={"task": name}),
            lambda: export(name, Path("nowhere"), Path("never")),
        ]
        for ask in asked:
            try:
                ask()
            except (LongstepError, TasksError):
                continue

    seeds = [b"longstep/Treasure-v0", b"treasure", env.task_ids[0].encode(), b"jsonl"]
    tokens = (
        b"os:system",
        b"json:loads",
        b"longstep_envs:",
        b"../",
        b"/",
        b":",
        b"-v0",
        b"CartPole",
    )
    return Target(feed, seeds, tokens)


def _text(data: bytes) -> str:
    """Any text: what is not UTF-8 becomes halves of surrogate pairs."""
    return data.decode("utf-8", "surrogateescape")


def _parsed(data: bytes) -> Any:
    """JSON as a library hands it on."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise BadValueError("no JSON") from None
