"""The agent that a language model plays: it sees what memory recalls, and replies with an act."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import JsonValue, NonNegativeFloat, PositiveInt, model_validator

from longstep_agents.actions import ActionConfig, choices, enclose, read
from longstep_agents.agent import Act, Aside
from longstep_agents.config import Config, refusal
from longstep_agents.constraint import TokenTrie
from longstep_agents.memory import (
    AnyMemoryConfig,
    Demand,
    Exchange,
    FullConfig,
    Memory,
    make_memory,
)
from longstep_agents.memory.types import Context, Count, Recall
from longstep_agents.messages import Ask, Conversation, Message, Reply, Role, ToolCall
from longstep_agents.model import EngineError
from longstep_agents.parsers import AnyParserConfig, CallFault, FaultKind, Parsed, make_parser
from longstep_agents.prompts import Prompt, Talk, Writer
from longstep_agents.tools import (
    Tool,
    Toolbox,
    ToolboxConfig,
    ToolFault,
    ToolLoopError,
    ToolResult,
    read_tools,
)
from longstep_agents.tools.mcp import McpConfig, mount
from longstep_agents.tools.output import cap
from longstep_agents.types import Completion, Step, Target
from longstep_envs.types import BadValueError, Info, StopReason, ToolSpec

_MISPLACED = (
    "one call of the environment's tools is carried out a turn, and nothing beside it. Nothing was "
    "carried out: call again, one at a time."
)
_CUT = CallFault(
    FaultKind.TRUNCATED, "The command was cut off; only whole commands are carried out."
)
_REASONING_CHARS = 20_000
_INVALID = CallFault(FaultKind.MALFORMED, "not in the format")


class LanguageAgentConfig(Config):
    """How a language model acts."""

    system: str | None = None
    """A system prompt."""
    template: Mapping[str, JsonValue] = {}
    """Options of the chat template, such as `enable_thinking = false`."""
    context: Context = "append"
    """`append` writes one talk, which grows as long as memory shows all of it; `stepwise` writes
    one fresh prompt a step."""
    prompt: Path | None = None
    """A template for `stepwise`, in place of longstep's own."""
    memory: AnyMemoryConfig = FullConfig()
    action: ActionConfig = ActionConfig()
    """How commands are written and read; replies are read by `parser` where one is set."""
    parser: AnyParserConfig | None = None
    """How a reply is read. Agents that call tools need one."""
    tell_format: bool = True
    """The system prompt tells how the parser wants a reply; off where `system` or `prompt` does."""
    tools: Mapping[str, Mapping[str, Any]] = {}
    """Tools of the agent's own, each with a table of its options."""
    mcp: tuple[McpConfig, ...] = ()
    """Servers whose tools are the agent's own, too."""
    toolbox: ToolboxConfig = ToolboxConfig()
    temperature: NonNegativeFloat = 1.0
    max_tokens: PositiveInt = 64
    """Tokens of one completion."""

    @model_validator(mode="after")
    def _go_together(self) -> LanguageAgentConfig:
        if (self.tools or self.mcp) and not self.calls_tools:
            raise refusal(
                'a parser that reads calls, for there are tools: set agent.parser.name = "hermes", '
                "say"
            )
        if self.memory.name == "scratchpad" and not self.calls_tools:
            raise refusal(
                "a parser that reads calls, for a scratchpad is written with tools: set "
                'agent.parser.name = "hermes", say'
            )
        if self.parser is not None and self.action != ActionConfig():
            raise refusal(
                "agent.action as it is by default beside agent.parser, which writes and reads "
                f"commands in its place: {_undone(self.action)}; or no agent.parser"
            )
        if self.prompt is not None and self.context != "stepwise":
            raise refusal('context = "stepwise", which is what prompt is a template for')
        return self

    @property
    def most_tokens(self) -> int:
        """How many tokens one act samples at most."""
        return max(self.max_tokens, getattr(self.memory, "max_tokens", 0))

    @property
    def calls_tools(self) -> bool:
        """Whether a reply can call tools."""
        return self.parser is not None and self.parser.calls_tools


@runtime_checkable
class Reciting(Protocol):
    """A conversation that can say again what it said, to be led to where it said it."""

    def recite(
        self, completion: Completion, fed: tuple[tuple[int, ...], bool] | None = None
    ) -> None:
        """Say this next, in place of a sample."""
        ...

    def take_up(self, begun: Completion, drawn: int, session: Hashable = None) -> None:
        """Go on with a completion that a paused engine left. See `TokenConversation`."""
        ...


class AgentKit:
    """What the agents of all episodes share: their tools, found and checked before any plays."""

    def __init__(
        self,
        config: LanguageAgentConfig,
        env_tools: Sequence[ToolSpec] = (),
        memory: Callable[[Count], Memory] | None = None,
    ) -> None:
        """Find the tools and start the servers.

        Args:
            config: How the agents act.
            env_tools: The environment's tools.
            memory: Makes the memory of an episode, in place of the one that `config` names.

        Raises:
            LongstepError: there is no such tool, a server does not start, or the environment takes
                calls and no parser reads any.
        """
        if env_tools and not config.calls_tools:
            names = ", ".join(tool.name for tool in env_tools[:5])
            raise BadValueError(
                f"the environment is acted on by calls of its tools ({names}), and nothing here "
                'reads calls: set agent.parser.name = "hermes", say'
            )
        self.make_memory = memory or partial(make_memory, config.memory)
        self.config, self.env_tools = config, tuple(env_tools)
        self._make_tools = read_tools(config.tools)
        self._mounted = tuple(tool for server in config.mcp for tool in mount(server).tools)

    def tools(self) -> tuple[Tool, ...]:
        """The agent's own tools, for one episode."""
        return (*self._make_tools(), *self._mounted)


class LanguageAgent:
    """A language model that plays one episode."""

    def __init__(self, conversation: Conversation, kit: AgentKit | LanguageAgentConfig) -> None:
        kit = kit if isinstance(kit, AgentKit) else AgentKit(kit)
        config = self._config = kit.config
        self._conversation = conversation
        self._memory = kit.make_memory(conversation.count)
        self._env_tools = {tool.name for tool in kit.env_tools}
        own = (*kit.tools(), *self._memory.tools)
        self._toolbox = Toolbox(own, config.toolbox, elsewhere=sorted(self._env_tools))
        specs = (*self._toolbox.specs, *kit.env_tools) if config.calls_tools else ()
        self._parser = make_parser(config.parser, specs) if config.parser else None
        self._native = config.parser is not None and config.parser.name in conversation.formats
        if config.parser is not None and config.parser.name == "openai" and not self._native:
            raise EngineError(
                "the parser 'openai' reads calls that an endpoint tells beside the text, and this "
                "engine tells none; set agent.parser.name to one that reads text, such as 'hermes'"
            )
        self._told = specs if self._native else ()
        self._writer = self._make_writer(specs)
        self._past: list[Exchange] = []
        self._role: Role = "user"
        self._call_id = ""

    async def act(self, observation: str, info: Info) -> Act:
        """Write down what memory asks for, or else reply to what is seen."""
        seen = Message(self._role, observation, call_id=self._call_id)
        demand = self._memory.demand(self._past, seen)
        if demand is not None:
            return await self._remember(demand, observation)
        return await self._choose(seen, info)

    async def resume(
        self, steps: Sequence[Step], observation: str, *, anew: bool = False
    ) -> list[Act]:
        """Go through recorded steps without sampling, so that `act` goes on after them.

        Memory and the agent's own tools are led through them again: they end in the same state,
        and what a tool does outside of the agent it does once more. What the tools answered then is
        what the agent sees.

        Args:
            steps: Of the episode, from its beginning.
            observation: What is seen after them.
            anew: Feed the prompts as they are now, in place of those recorded: the acts then tell
                how the same completions stand in the record of observations that differ.

        Raises:
            EngineError: the conversation cannot say again what it said.
        """
        conversation = self._conversation
        if not isinstance(conversation, Reciting):
            kind = type(conversation).__name__
            raise EngineError(f"{kind} cannot go on from recorded steps; use a TokenConversation")
        acts = []
        for number, step in enumerate(steps):
            later = (s.observation for s in steps[number:] if s.target != "memory")
            conversation.recite(
                step.completion, None if anew else (step.bridge_ids, step.begins_row)
            )
            info = Info(admissible_commands=list(step.admissible))
            acts.append(await self.act(next(later, observation), info))
        return acts

    def take_up(self, begun: Completion, drawn: int, session: Hashable = None) -> None:
        """Go on, after `resume`, with a completion that a paused engine left."""
        assert isinstance(self._conversation, Reciting)
        self._conversation.take_up(begun, drawn, session)

    def close(self) -> None:
        """Free what the conversation holds."""
        self._conversation.close()

    async def _remember(self, demand: Demand, observation: str) -> Act:
        """Have the policy write what memory asks for."""
        ask = Ask(temperature=self._config.temperature, max_tokens=demand.max_tokens)
        reply = await self._say(demand.recall, ask, ())
        self._memory.keep(reply.text.rpartition("</think>")[2])
        return _aside(reply, "memory", reply.text, observation, seen=demand.recall.seen.text)

    async def _choose(self, seen: Message, info: Info) -> Act:
        """Have the policy reply, and carry out what is the agent's own to carry out."""
        admissible = info.get("admissible_commands") or []
        options, unsayable = self._options(admissible)
        ask = Ask(
            temperature=self._config.temperature,
            max_tokens=self._config.max_tokens,
            tools=self._told,
            constraint=TokenTrie(options) if options else None,
        )
        reply = await self._say(self._memory.recall(self._past, seen), ask, admissible)
        if reply.completion.ids in options:
            text, command = options[reply.completion.ids]
            reply = replace(reply, text=text, completion=replace(reply.completion, text=text))
            parsed = Parsed(command=command)
        else:
            parsed = self._read(reply, admissible)
        act = replace(await self._carried_out(parsed, reply, seen.text), unsayable=unsayable)
        said = Message("assistant", reply.text, reply.completion, reply.calls or ())
        self._past.append(Exchange(len(self._past), seen, said, act.action))
        calls = (reply.calls or parsed.calls) if self._native else ()
        self._role, self._call_id = ("tool", calls[0].id) if calls else ("user", "")
        if act.aside is None:
            return act
        return replace(act, aside=replace(act.aside, admissible=tuple(admissible)))

    async def _say(self, recall: Recall, ask: Ask, admissible: Sequence[str]) -> Reply:
        messages = self._writer.write(recall, len(self._past), admissible)
        return await self._conversation.reply(messages, ask)

    def _read(self, reply: Reply, admissible: Sequence[str]) -> Parsed:
        """What a reply means."""
        cut = reply.completion.stop == "length"
        if self._parser is not None:
            return self._parser.read(reply.text, reply.calls, cut=cut)
        action = read(reply.text, admissible, self._config.action)
        if cut and not (self._config.action.tag and action.valid):
            return Parsed(fault=_CUT)  # only a closing tag tells that a command is whole
        return Parsed(command=action.command, fault=None if action.valid else _INVALID)

    async def _carried_out(self, parsed: Parsed, reply: Reply, seen: str) -> Act:
        """The act that a reply comes to; calls of the agent's own tools are over by then."""
        if parsed.calls:
            return await self._called(parsed.calls, reply, seen)
        fault = parsed.fault
        if fault is not None and not parsed.command:
            return _aside(reply, "nobody", reply.text, fault.message, seen=seen, fault=fault.kind)
        return _act(reply, parsed.command, valid=fault is None)

    async def _called(self, calls: Sequence[ToolCall], reply: Reply, seen: str) -> Act:
        """Run the agent's own tools; a call of the environment's goes to the environment.

        Raises:
            EngineError: what a tool needs is down.
        """
        action = "\n".join(written(call) for call in calls)
        theirs = [call for call in calls if call.name in self._env_tools]
        if theirs and len(calls) == 1:
            return _act(reply, action)
        if theirs:
            kind = FaultKind.SEVERAL
            return _aside(reply, "nobody", action, f"Error: {_MISPLACED}", seen=seen, fault=kind)
        results, ends = await self._run(calls)
        faults = [result.fault for result in results if result.fault is not None]
        if ToolFault.UNAVAILABLE in faults:
            raise EngineError("; ".join(r.text for r in results if r.fault is not None))
        answer = "\n\n".join(result.text for result in results)
        aside = Aside("tool", seen, answer, faults[0] if faults else "", ends=ends)
        return _act(reply, action, valid=not faults, aside=aside)

    async def _run(self, calls: Sequence[ToolCall]) -> tuple[Sequence[ToolResult], str]:
        """What came of calls of the agent's own tools, and why the episode ends with them."""
        try:
            return await self._toolbox.run_all(calls), ""
        except ToolLoopError as error:
            return error.results, StopReason.TOOL_LOOP

    def _options(
        self, admissible: Sequence[str]
    ) -> tuple[dict[tuple[int, ...], tuple[str, str]], int]:
        """The token sequences that may be sampled, with the text and the command of each.

        Of commands in the same tokens the last stands for all; the number of the others comes with
        them.
        """
        if self._config.action.constraint == "none":
            return {}, 0
        config, tokens = self._config.action, self._conversation.tokens
        allowed = {
            enclose(text, config): command for text, command in choices(admissible, config).items()
        }
        options = {tokens(text): (text, command) for text, command in allowed.items()}
        return options, len(allowed) - len(options)

    def _make_writer(self, specs: Sequence[ToolSpec]) -> Writer:
        """What writes prompts; it tells the format, and tools where the conversation does not."""
        config = self._config
        tells = self._parser is not None and config.tell_format and not self._native
        manual = self._parser.instructions(specs) if self._parser and tells else ""
        system = "\n\n".join(text for text in (config.system, manual) if text) or None
        return Talk(system) if config.context == "append" else Prompt(system, config.prompt)


def _undone(action: ActionConfig) -> str:
    """The lines of TOML that undo these settings."""
    lines = []
    for name, field in ActionConfig.model_fields.items():
        if getattr(action, name) != field.default:
            value = json.dumps(field.default)  # which is TOML too, but for null
            undone = value != "null"
            lines.append(f"agent.action.{name} = {value}" if undone else f"no agent.action.{name}")
    return ", ".join(lines)


def written(call: ToolCall) -> str:
    """A call as environments read it: a JSON object with a name and arguments."""
    return json.dumps({"name": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False)


def _aside(
    reply: Reply, target: Target, action: str, answer: str, *, seen: str, fault: str = ""
) -> Act:
    return _act(reply, action, valid=not fault, aside=Aside(target, seen, answer, fault))


def _act(reply: Reply, action: str, *, valid: bool = True, aside: Aside | None = None) -> Act:
    return Act(
        action,
        valid,
        reply.bridge_ids,
        reply.completion,
        reply.begins_row,
        aside,
        cap(reply.reasoning, _REASONING_CHARS),
        shown=reply.shown,
    )
