import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from longstep_training.report import compare, difference, write_report
from longstep_training.run_files import Evaluation, Rate

MakeRun = Callable[..., Path]
BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
)


class Tags(HTMLParser):
    """Which tags a page holds, with their attributes, and whether they nest."""

    void = frozenset({"meta"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def read_page(run: Path) -> Tags:
    return Tags(write_report(run).read_text(encoding="utf-8"))


def test_the_report_tells_start_end_and_gain(make_run: MakeRun) -> None:
    words = read_page(make_run()).words
    assert "Warm start 48.0 %" in words
    assert "After RL 79.7 %" in words
    assert "Gain by RL +31.6 points, +25.9 to +37.0; intervals apart" in words
    for heading in ("Learning", "By task type", "One group of siblings", "Episodes", "Time"):
        assert heading in words
    assert "pick two obj and place" in words
    assert "clip fraction" in words


def test_the_page_is_well_formed_and_asks_the_network_for_nothing(make_run: MakeRun) -> None:
    page = read_page(make_run(hostile=True))
    assert page.open == []
    tags = {tag for tag, _ in page.seen}
    assert not tags & {"script", "img", "link", "iframe", "object", "form", "base"}
    for tag, attributes in page.seen:
        assert not {"src", "href", "style", "onerror", "onload"} & attributes.keys(), tag
    policies = [a["content"] for t, a in page.seen if t == "meta" and "http-equiv" in a]
    assert len(policies) == 1
    assert str(policies[0]).startswith("default-src 'none'; style-src 'sha256-")


def test_hostile_text_is_shown_as_text(make_run: MakeRun) -> None:
    run = make_run(hostile=True)
    html = write_report(run).read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img" not in html
    assert "\x1b" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("kept", ["config.toml", "metrics.jsonl", "episodes"])
def test_a_part_of_a_run_makes_a_report_too(make_run: MakeRun, kept: str) -> None:
    run = make_run()
    for path in run.iterdir():
        if path.name != kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = read_page(run)
    assert page.open == []
    assert ("One group of siblings" in page.words) == (kept == "episodes")
    assert ("No evaluation has been written yet" in page.words) == (kept != "metrics.jsonl")


def test_a_run_that_has_only_begun_has_no_gain(make_run: MakeRun) -> None:
    run = make_run(iterations=1)
    words = read_page(run).words
    assert "Warm start 48.0 %" in words
    assert "Gain by RL" not in words
    (run / "metrics.jsonl").write_text("")
    assert "No evaluation has been written yet" in read_page(run).words


def test_a_second_report_replaces_the_first_and_leaves_nothing_else(make_run: MakeRun) -> None:
    run = make_run()
    first = write_report(run).read_bytes()
    before = sorted(run.iterdir())
    assert write_report(run).read_bytes() == first
    assert sorted(run.iterdir()) == before


def test_newcombes_interval_matches_his_worked_example() -> None:
    # Newcombe 1998, table II, example (a), method 10: 56/70 - 48/80 = 0.2, (0.0524, 0.3339).
    after = Rate(episodes=70, successes=56, low=0.6918, high=0.8769)
    before = Rate(episodes=80, successes=48, low=0.4905, high=0.7004)
    gain = difference(before, after)
    assert gain.points == pytest.approx(20.0)
    assert (gain.low, gain.high) == pytest.approx((5.24, 33.39), abs=0.02)
    assert not gain.apart


def test_only_evaluations_of_the_same_kind_are_compared() -> None:
    def row(stage: str, name: str, successes: int) -> Evaluation:
        return Evaluation(
            episodes=10, successes=successes, low=0.0, high=1.0, name=name, stage=stage
        )

    rows = [row("warm start", "a", 1), row("rl", "b", 2), row("rl", "a", 3), row("rl", "a", 4)]
    first, second = compare(rows)
    assert (first.name, second.name) == ("a", "b")
    assert first.before == rows[0]
    assert first.after == rows[3]
    assert second.before is None
    assert second.gain is None


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 420])
def test_a_browser_draws_it_and_runs_nothing(make_run: MakeRun, tmp_path: Path, width: int) -> None:
    page, picture = write_report(make_run(hostile=True)), tmp_path / "report.png"
    drawn = browse(page, tmp_path / "a", f"--window-size={width},2000", f"--screenshot={picture}")
    assert "Content Security Policy" not in drawn.stderr
    assert picture.stat().st_size > 20_000
    title = re.search("<title>(.*?)</title>", browse(page, tmp_path / "b", "--dump-dom").stdout)
    assert title is not None
    assert title[1] == "household-seed0 · longstep"


def browse(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    command = [browser, *BROWSER_FLAGS, f"--user-data-dir={profile}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
