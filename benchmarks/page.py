"""What the page of a run of 100,000 steps costs: to write, to open, and to read an episode of.

    python benchmarks/page.py [--episodes 5000] [--turns 20] [--repeats 3]

The run is invented; its texts are as long as those of household games, and its replies are kept
token by token. The page is one file, opened in the system's Chromium without network. Painted is
when the leaderboard stands with its numbers; memory is what the renderer's process holds, beside
what it holds for an empty page.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from longstep_agents.page.export import export

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Page

GROUP = 8
PLACES = [f"{name} {i}" for name in ("cabinet", "drawer", "shelf", "countertop") for i in range(9)]
THINGS = [f"{name} {i}" for name in ("apple", "mug", "knife", "plate", "pillow") for i in range(5)]
TYPES = ("pick_and_place_simple", "pick_heat_then_place_in_recep", "look_at_obj_in_light")
WATCH = """
new MutationObserver(() => {
  if (!document.body?.dataset.ready || window.painted) return;
  requestAnimationFrame(() => setTimeout(() => { window.painted = performance.now(); }));
}).observe(document, { subtree: true, childList: true, attributes: true });
"""
MILLION = 1_000_000


@dataclass(frozen=True)
class Opened:
    """One visit to the page."""

    empty: float
    """Megabytes of the process before it opens the page."""
    first_paint: float
    """Seconds until anything is seen."""
    painted: float
    """Seconds until the leaderboard is seen with its numbers."""
    heap: float
    """Megabytes of the page's objects."""
    renderer: float
    """Megabytes of the process, at the leaderboard."""
    run: float
    """Seconds from the leaderboard to the run, curves and table."""
    episode: float
    """Seconds from the run to an episode in the middle of it."""
    renderer_after: float
    """Megabytes of the process, with that episode shown."""


def main(
    episodes: Annotated[int, typer.Option(help="A multiple of 8.")] = 5000,
    turns: Annotated[int, typer.Option(help="Of an episode.")] = 20,
    repeats: Annotated[int, typer.Option(help="Visits, each in a fresh process.")] = 3,
) -> None:
    """Write, open, read; print what each took."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as name:
        run, page = Path(name) / "run", Path(name) / "page.html"
        write_run(run, episodes, turns)
        size = sum(path.stat().st_size for path in run.rglob("*.jsonl"))
        console.print(f"{episodes * turns:,} steps, {size / MILLION:.0f} MB as the run has them")
        began = time.process_time()
        export([run], page)
        console.print(f"exported in {time.process_time() - began:.1f} s of CPU time")
        console.print(f"one file of {page.stat().st_size / MILLION:.1f} MB")
        visits = [visit(page, episodes // 2) for _ in range(repeats)]
    told = {
        "renderer, empty": ("empty", "MB"),
        "first paint": ("first_paint", "s"),
        "leaderboard painted": ("painted", "s"),
        "objects": ("heap", "MB"),
        "renderer, leaderboard": ("renderer", "MB"),
        "leaderboard to run": ("run", "s"),
        "run to episode": ("episode", "s"),
        "renderer, episode": ("renderer_after", "MB"),
    }
    for title, (field, unit) in told.items():
        values = sorted(getattr(one, field) for one in visits)
        middle = statistics.median(values)
        console.print(f"{title}: {middle:.2f} {unit} ({values[0]:.2f} to {values[-1]:.2f})")


def visit(file: Path, episode: int) -> Opened:
    """Open the page in a fresh browser, and go to an episode."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("google-chrome")
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=args)
        page = browser.new_context(offline=True).new_page()
        page.add_init_script(WATCH)
        empty = _renderer(browser)
        page.goto(file.as_uri())
        page.wait_for_function("window.painted")
        cdp = page.context.new_cdp_session(page)
        opened = Opened(
            empty=empty,
            first_paint=page.evaluate(
                "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"
            ),
            painted=page.evaluate("window.painted / 1000"),
            heap=_heap(cdp),
            renderer=_renderer(browser),
            run=_go(page, "#/run/run"),
            episode=_go(page, f"#/run/run/episode/{episode}"),
            renderer_after=_renderer(browser),
        )
        browser.close()
    return opened


def _go(page: Page, route: str) -> float:
    """Seconds until the view of a route is painted."""
    seconds: float = page.evaluate(
        """route => new Promise((done) => {
          const began = performance.now();
          new MutationObserver(() => {
            if (document.body.dataset.ready !== route) return;
            requestAnimationFrame(() => setTimeout(() => done((performance.now() - began) / 1000)));
          }).observe(document.body, { attributes: true });
          location.hash = route;
        })""",
        route,
    )
    return seconds


def _heap(cdp: CDPSession) -> float:
    cdp.send("Performance.enable")
    metrics = cdp.send("Performance.getMetrics")["metrics"]
    found: float = next(one["value"] for one in metrics if one["name"] == "JSHeapUsedSize")
    return found / MILLION


def _renderer(browser: Browser) -> float:
    """The memory of the largest renderer: others are kept for pages to come."""
    cdp = browser.new_browser_cdp_session()
    processes = cdp.send("SystemInfo.getProcessInfo")["processInfo"]
    cdp.detach()
    return max(_resident(one["id"]) for one in processes if one["type"] == "renderer")


def _resident(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MILLION


def write_run(folder: Path, episodes: int, turns: int) -> None:
    """A run of RL, as training leaves it."""
    (folder / "episodes").mkdir(parents=True)
    iterations = episodes // GROUP
    (folder / "config.toml").write_text(f"[rl]\niterations = {iterations}\n")
    rng = random.Random(0)
    _write(folder / "metrics.jsonl", (_metrics(rng, i + 1, turns) for i in range(iterations)))
    rate = {"success": 0.8, "low": 0.77, "high": 0.83, "episodes": 512}
    place = {"phase": "eval", "after": "rl", "iteration": iterations, "stage": "rl"}
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({**place, "name": "held-out", **rate}) + "\n")
    played = (_episode(rng, i // GROUP + 1, turns) for i in range(episodes))
    _write(folder / "episodes" / "rl.jsonl", played)


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _metrics(rng: random.Random, iteration: int, turns: int) -> dict[str, Any]:
    names = ("success", "reward", "entropy", "loss", "grad_norm", "clip_fraction", "reference_kl")
    return {
        "phase": "rl",
        "iteration": iteration,
        **{name: rng.random() for name in names},
        "episodes": 256,
        "seconds": 4.0 * iteration,
        "entropy_by_turn": [rng.random() for _ in range(turns)],
        "timing": {"rollout": 2.0, "credit": 0.1, "update": 1.5},
    }


def _episode(rng: random.Random, iteration: int, turns: int) -> dict[str, Any]:
    success = rng.random() < 0.7
    return {
        "phase": "rl",
        "iteration": iteration,
        "group": 0,
        "env_id": "longstep/ALFWorld-v0",
        "task_id": f"{TYPES[iteration % 3]}-Apple-None-Fridge-{iteration}/trial_T{iteration:09}",
        "task_type": TYPES[iteration % 3],
        "seed": iteration,
        "success": success,
        "score": float(success),
        "outcome": "ok" if success else "truncated",
        "stop_reason": "success" if success else "turn_limit",
        "error": None,
        "seconds": 2.5,
        "steps": [_step(rng, iteration, turn) for turn in range(turns)],
        "final_observation": "You won!" if success else "Nothing happens.",
    }


def _step(rng: random.Random, iteration: int, turn: int) -> dict[str, Any]:
    place, thing = rng.choice(PLACES), rng.choice(THINGS)
    seen = ", ".join(f"a {one}" for one in rng.sample(THINGS, 6))
    observation = f"You arrive at {place}. On the {place}, you see {seen}, and a {thing}."
    words = ["take", f" {thing}", " from", f" {place}", "<|im_end|>"]
    return {
        "observation": observation,
        "action": "".join(words[:-1]),
        "reward": -0.02,
        "credit": round(rng.gauss(0, 0.5), 5),
        "state_key": f"{iteration:08x}{rng.randrange(1 + 4 * turn):08x}",
        "action_valid": rng.random() < 0.95,
        "logprob": round(-rng.random(), 5),
        "shown": f"<|im_start|>user\n{observation}<|im_end|>\n<|im_start|>assistant\n",
        "tokens": {
            "text": words,
            "logprob": [round(-rng.random(), 5) for _ in words],
            "entropy": [round(rng.random(), 5) for _ in words],
            "chosen": [int(rng.random() < 0.6) for _ in words],
        },
    }


if __name__ == "__main__":
    typer.run(main)
