"""The page in a real browser: drawn from a file without network, by address, and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.agents.page.browsing import NARROW, WIDE, Viewer, drawn

from longstep_agents.page.export import export
from longstep_agents.page.library import Library

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

MakeRun = Callable[..., Path]
RUN = "household-seed0"
ROUTES = {
    "": "leaderboard",
    f"#/run/{RUN}": "run",
    "#/run/random": "run",
    f"#/run/{RUN}/episode/3": "episode",
    f"#/run/{RUN}/episode/3/step/2?siblings=1": "episode",
    f"#/run/{RUN}/episode/3?tokens=logprob": "episode",
    "#/run/expert/episode/0": "episode",
    "#/compare/random/expert": "compare",
    "#/run/random/reliability": "reliability",
    f"#/run/{RUN}/reliability": "reliability",
    "#/run/nothing": "missing",
}


@pytest.fixture(scope="module")
def pages(make_run: MakeRun, evaluations: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pages: of honest and of hostile runs."""
    folder = tmp_path_factory.mktemp("pages")
    export([make_run(), evaluations], folder / "honest.html")
    export([make_run(hostile=True), evaluations], folder / "hostile.html")
    return folder


@pytest.fixture
def honest(pages: Path) -> str:
    return (pages / "honest.html").as_uri()


@pytest.fixture
def hostile(pages: Path) -> str:
    return (pages / "hostile.html").as_uri()


@pytest.mark.parametrize("route", ROUTES)
def test_every_view_is_drawn_from_its_address(viewer: Viewer, honest: str, route: str) -> None:
    page = viewer.open(honest, route)
    assert page.locator("main").get_attribute("data-view") == ROUTES[route]
    assert len(page.locator("main").inner_text()) > 50
    assert page.locator("h1").count() == 1


@pytest.mark.case(42)
@pytest.mark.parametrize("route", ROUTES)
def test_hostile_texts_are_inert_and_break_no_view(
    viewer: Viewer, hostile: str, route: str
) -> None:
    page = viewer.open(hostile, route)
    assert page.locator("main script, main img, iframe").count() == 0
    assert page.locator("main a:not([href^='#/'])").count() == 0  # no address that a run holds
    assert page.title() != "owned"
    assert not set("\x1b\u202e\u2066\u2028") & set(page.locator("main").inner_text())
    for width in (WIDE, NARROW):
        page.set_viewport_size({"width": width, "height": 900})
        # The charts are drawn for the new width a frame later.
        page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")


def test_a_result_tells_what_of_each_task_was_solved(viewer: Viewer, honest: str) -> None:
    card = viewer.open(honest, "#/run/expert").locator("[data-part='treasure']").inner_text()
    assert "pass@2 100.0 %" in card
    assert "pass^2 100.0 %" in card


def test_an_episode_that_is_not_there_is_said_so(viewer: Viewer, honest: str) -> None:
    page = viewer.open(honest)
    page.goto(f"{honest}#/run/random/episode/99")
    page.locator("[data-error]").wait_for()
    assert "has no episode 99; it has 24" in page.locator("[data-error]").inner_text()
    (problem,) = viewer.problems  # nothing was asked for over the network
    assert "has no episode 99" in problem
    viewer.problems.clear()


@pytest.mark.parametrize("route", ["", f"#/run/{RUN}/episode/3"])
def test_the_page_is_light_or_dark_as_the_system_is(
    viewer: Viewer, honest: str, route: str
) -> None:
    page = viewer.open(honest, route)
    shades = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3
    assert shades["dark"] < 60 < 200 < shades["light"]


@pytest.mark.case(42)
def test_hostile_texts_are_seen(viewer: Viewer, hostile: str) -> None:
    page = viewer.open(hostile, f"#/run/{RUN}/episode/0/step/1")
    shown = page.locator("[data-step='0']").inner_text()
    assert "<script>document.title='owned'</script><img src=x" in shown
    assert "\u202e" not in shown
    assert page.title() != "owned"


def test_a_task_is_reached_by_clicks(viewer: Viewer, honest: str) -> None:
    page = viewer.open(honest)
    page.get_by_role("link", name=RUN).first.click()
    drawn(page, f"#/run/{RUN}")
    page.locator("tr[data-episode='2'] a").click()
    drawn(page, f"#/run/{RUN}/episode/2")
    page.get_by_role("link", name="The next episode").click()
    drawn(page, f"#/run/{RUN}/episode/3")
    page.go_back()
    drawn(page, f"#/run/{RUN}/episode/2")


def test_steps_are_walked_by_keys(viewer: Viewer, honest: str) -> None:
    page = viewer.open(honest, f"#/run/{RUN}/episode/4")
    for key, step in (("j", 0), ("ArrowRight", 1), ("j", 2), ("k", 1), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        assert page.url.endswith(f"#/run/{RUN}/episode/4/step/{step}")
        assert page.locator(".step.here").get_attribute("data-step") == str(step)
    page.keyboard.press("]")
    drawn(page, f"#/run/{RUN}/episode/5")
    page.keyboard.press("[")
    drawn(page, f"#/run/{RUN}/episode/4")
    page.keyboard.press("s")
    page.get_by_role("region", name="Siblings of the group").wait_for()
    page.keyboard.press("t")
    page.wait_for_function("location.hash.includes('tokens=')")
    page.keyboard.press("u")
    drawn(page, f"#/run/{RUN}")


def test_the_keys_are_told(viewer: Viewer, honest: str) -> None:
    page = viewer.open(honest)
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")


def shown(page: Page) -> list[str]:
    rows = page.locator("tr[data-episode]").all()
    return [row.get_attribute("data-episode") or "" for row in rows]


def test_episodes_are_filtered_and_the_address_keeps_it(viewer: Viewer, honest: str) -> None:
    page = viewer.open(honest, f"#/run/{RUN}")
    page.keyboard.press("/")
    page.keyboard.type("Fridge-1")
    page.locator("select[data-filter='success']").select_option("1")
    page.get_by_text("of 48").wait_for()
    found = shown(page)
    assert 0 < len(found) < 16
    assert page.locator("tr[data-episode] .missed-mark").count() == 0
    cold = viewer.open(honest, page.url.partition("#")[1] + page.url.partition("#")[2])
    assert shown(cold) == found
    cold.locator("#search").fill("no such task")
    assert shown(cold) == []


def test_an_episode_shows_what_the_model_was_shown(viewer: Viewer, honest: str) -> None:
    page = viewer.open(honest, f"#/run/{RUN}/episode/0")
    step = page.locator("[data-step='2']")
    step.get_by_text("Shown to the model").click()
    seen = step.locator(".memory").inner_text()
    assert seen.count("> You arrive at") == 3
    assert seen.count("think: the") == 2


def test_credit_is_a_strip_that_leads_to_its_step(viewer: Viewer, honest: str) -> None:
    page = viewer.open(honest, f"#/run/{RUN}/episode/0")
    cells = page.locator("[data-cell]")
    assert cells.count() == page.locator("article[data-step]").count()
    cells.nth(3).click()
    assert page.url.endswith("/step/3")


@pytest.mark.parametrize("shade", ["logprob", "entropy", "chosen", "credit"])
def test_tokens_are_shown_by_what_is_known_of_them(viewer: Viewer, honest: str, shade: str) -> None:
    page = viewer.open(honest, f"#/run/{RUN}/episode/0?tokens={shade}")
    assert "go to" in page.locator("[data-step='0']").inner_text()


def test_two_runs_are_compared_down_to_the_first_divergence(
    viewer: Viewer, honest: str, evaluations: Path
) -> None:
    page = viewer.open(honest)
    for name in ("random", "expert"):
        page.get_by_role("checkbox", name=f"compare {name}").check()
    page.get_by_role("link", name="Compare the two").click()
    drawn(page, "#/compare/random/expert")
    (pair,) = Library([evaluations]).index()["pairs"]
    assert pair["lost"] == page.locator("tr[data-task] .pair-won").count() > 0
    page.get_by_role("button", name=f"only the second: {pair['lost']}").click()
    assert page.locator("tr[data-task]").count() == pair["lost"]
    page.locator("tr[data-task] a").first.click()
    page.locator("main[data-view='task']").wait_for()
    cold = viewer.open(honest, page.url[page.url.index("#") :])
    step = int(cold.locator("[data-divergence]").get_attribute("data-divergence") or -1)
    assert step >= 0
    assert cold.locator(".duel-head .side").count() == 2


def test_reliability_counts_and_leads_to_the_episodes(viewer: Viewer, hostile: str) -> None:
    page = viewer.open(hostile, "#/run/random/reliability")
    told = dict(
        zip(
            page.locator(".counts dt").all_inner_texts(),
            page.locator(".counts dd").all_inner_texts(),
            strict=True,
        )
    )
    assert (told["asked for"], told["reported"], told["lost"], told["twice"]) == (
        "24",
        "24",
        "0",
        "0",
    )
    page = viewer.open(hostile, f"#/run/{RUN}/reliability")
    page.get_by_role("region", name="Errors").locator("a").first.click()
    page.locator("main[data-view='episode']").wait_for()
    assert "broke at" in page.locator(".error").inner_text()
