"""What the fuzzer attacks: everything that reads input, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

Feed = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """Something that reads input."""

    feed: Feed
    """Reads one input to the end: a value, or an error that is meant for the user."""
    seeds: Sequence[bytes]
    """Valid inputs."""
    tokens: Sequence[bytes] = ()
    """What may make a difference in the midst of one."""


class Line(NamedTuple):
    """A target that is not opened yet."""

    place: str
    """"module:function", which takes a scratch folder and what the name says behind the slash."""
    inputs: int
    """Inputs of a whole run."""


_PARSERS = ["plain", "action", "react", "hermes", "qwen_xml", "json", "openai", "verl_agent"]
_AGENTS = "benchmarks.reliability.fuzz_agents"
_FILES = "benchmarks.reliability.fuzz_files"
_RECORDS = "benchmarks.reliability.fuzz_records"
_SERVERS = "benchmarks.reliability.fuzz_servers"

TARGETS: dict[str, Line] = {
    **{f"parser/{name}": Line(f"{_AGENTS}:parser", 110_000) for name in _PARSERS},
    "renderer/messages": Line(f"{_AGENTS}:renderer", 20_000),
    "prompt/template": Line(f"{_AGENTS}:prompt_template", 2_500),
    "endpoint/answer": Line(f"{_AGENTS}:endpoint_answer", 50_000),
    "mcp/content": Line(f"{_AGENTS}:mcp_content", 5_000),
    "config/toml": Line(f"{_AGENTS}:config_file", 2_500),
    "config/override": Line(f"{_AGENTS}:override", 5_000),
    "ids/names": Line(f"{_AGENTS}:names", 20_000),
    "file/alfworld": Line(f"{_FILES}:alfworld", 2_500),
    "file/alfworld-zip": Line(f"{_FILES}:alfworld_zip", 2_000),
    "file/textworld": Line(f"{_FILES}:textworld", 2_000),
    "file/webshop-products": Line(f"{_FILES}:webshop_products", 2_500),
    "file/webshop-catalogue": Line(f"{_FILES}:webshop_catalogue", 2_000),
    "file/search-corpus": Line(f"{_FILES}:search_corpus", 2_000),
    "file/search-questions": Line(f"{_FILES}:search_questions", 50_000),
    "file/search-parquet": Line(f"{_FILES}:search_parquet", 2_500),
    "file/swe-rows": Line(f"{_FILES}:swe_rows", 3_000),
    "file/swe-parquet": Line(f"{_FILES}:swe_parquet", 2_500),
    "file/patch": Line(f"{_FILES}:patch", 100_000),
    "file/tar": Line(f"{_FILES}:tar", 10_000),
    "record/frames": Line(f"{_RECORDS}:frames", 100_000),
    "record/snapshot": Line(f"{_RECORDS}:snapshot", 50_000),
    "record/atif": Line(f"{_RECORDS}:atif", 10_000),
    "record/evaluation": Line(f"{_RECORDS}:evaluation", 2_500),
    "record/training": Line(f"{_RECORDS}:training", 2_500),
    "record/checkpoint": Line(f"{_RECORDS}:checkpoint", 2_500),
    "record/page": Line(f"{_RECORDS}:page", 2_000),
    "record/export": Line(f"{_RECORDS}:export", 2_000),
    "server/openai": Line(f"{_SERVERS}:openai", 10_000),
    "server/search": Line(f"{_SERVERS}:search", 10_000),
    "server/page": Line(f"{_SERVERS}:page", 5_000),
    "server/mcp": Line(f"{_SERVERS}:mcp", 2_000),
}
"""Name -> how it is opened."""


def open_target(name: str, folder: Path) -> Target:
    """A target, which may write into this folder."""
    module, _, function = TARGETS[name].place.partition(":")
    opened: Target = getattr(import_module(module), function)(folder, name.partition("/")[2])
    return opened
