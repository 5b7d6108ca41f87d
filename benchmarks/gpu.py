"""What one GPU does, and how much more it could: one table, in less than nine minutes.

    python benchmarks/gpu.py [--tiny] [--only decode]

Each part runs in a process of its own, so that one that fails, or takes too long, takes nothing
else with it: its row tells the error. Models have the shapes of Qwen3-0.6B and Qwen3-1.7B and
random weights, for speed does not depend on what they have learnt. `--tiny` runs every part with
toy sizes, on the CPU where there is no GPU: that shows that it works, and nothing of its speed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Annotated

import torch
import typer

SECONDS = {
    "update": 190,
    "decode": 80,
    "tree": 80,
    "sync": 40,
    "household": 120,
}
"""What each part may take, its start included; together less than nine minutes."""
_SHOWN = 90


@dataclass(frozen=True, slots=True)
class Measured:
    """A row of the table."""

    part: str
    name: str
    found: float | None = None
    unit: str = ""
    limit: float | None = None
    """What the machine would do at its limit, in the same unit; more is better."""
    why: str = ""
    """Which limit that is; or what else is to be known of the row."""
    error: str = ""

    def cells(self) -> list[str]:
        """The row as the table shows it."""
        if self.error:
            return [f"{self.part}: {self.name}", f"failed: {self.error}", "", "", self.why]
        limit = "" if self.limit is None else f"{self.limit:,.4g}"
        reached = "" if self.limit is None else f"{(self.found or 0.0) / self.limit:.0%}"
        found = f"{self.found:,.4g} {self.unit}"
        return [f"{self.part}: {self.name}", found, limit, reached, self.why]


def main(
    tiny: Annotated[bool, typer.Option(help="Toy sizes, on any machine.")] = False,
    only: Annotated[str | None, typer.Option(help="One part only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    alone: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Measure, and print the table."""
    if alone and only is not None:
        _measure_here(only, tiny)
        return
    if not (tiny or torch.cuda.is_available()):
        raise typer.BadParameter("there is no GPU here; --tiny tries every part on the CPU")
    began = time.perf_counter()
    names = list(SECONDS) if only is None else [only]
    rows = [row for name in names for row in _measure_apart(name, tiny)]
    seconds = time.perf_counter() - began
    if as_json:
        told = {"device": device_name(), "torch": torch.__version__, "seconds": seconds}
        typer.echo(json.dumps({**told, "rows": [asdict(row) for row in rows]}))
        return
    columns = ("", "measured", "at the limit", "reached", "")
    typer.echo(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for row in rows:
        typer.echo(f"| {' | '.join(row.cells())} |")
    typer.echo(f"\n{device_name()}, torch {torch.__version__}, {seconds:.0f} s")


def device_name() -> str:
    """What the device calls itself."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def _measure_here(part: str, tiny: bool) -> None:
    """Tell each row as soon as it is there: what follows may fail."""
    from gpu_parts import PARTS  # type: ignore[import-not-found]  # beside this file

    for row in PARTS[part](tiny):
        typer.echo(json.dumps(asdict(row)))


def _measure_apart(part: str, tiny: bool) -> list[Measured]:
    """The rows that a process of its own tells of; the last one may be of its end."""
    command = [sys.executable, __file__, "--alone", "--only", part, *(["--tiny"] if tiny else [])]
    limit = None if tiny else SECONDS[part]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired as late:
        told = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        return [*_rows(told), Measured(part, "", error=f"not done after {limit} s")]
    rows = _rows(done.stdout)
    if done.returncode:
        last = [line.strip() for line in done.stderr.splitlines() if line.strip(" │╰─╯")][-1:]
        rows.append(Measured(part, "", error=f"{''.join(last)[:_SHOWN]} (exit {done.returncode})"))
    return rows


def _rows(told: str) -> list[Measured]:
    lines = [line for line in told.splitlines() if line.startswith('{"part"')]
    return [Measured(**json.loads(line)) for line in lines]


if __name__ == "__main__":
    typer.run(main)
