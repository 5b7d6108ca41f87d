"""The page of runs that go on, and of folders on a static host."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.agents.page.browsing import Viewer, drawn

from longstep_agents.page.export import export
from longstep_agents.page.serve import Live, make_server

pytestmark = pytest.mark.browser

MakeRun = Callable[..., Path]


@contextmanager
def serving(server: http.server.ThreadingHTTPServer) -> Iterator[str]:
    with server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_what_is_appended_is_shown_without_a_reload(
    viewer: Viewer, evaluations: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "half"
    shutil.copytree(evaluations / "random", folder)
    log = folder / "episodes" / "eval.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:12]))
    with serving(make_server(Live([folder], seconds=0.0))) as address:
        page = viewer.open(address, "#/run/half")
        page.evaluate("window.here = true")
        page.get_by_text("12 of 12").wait_for()
        assert page.locator("#live").inner_text() == "live"
        with log.open("a") as file:
            file.write("".join(lines[12:]))
        page.get_by_text("24 of 24").wait_for()
        page.locator("#live").wait_for(state="hidden")
        assert page.evaluate("window.here")
        page.locator("tr[data-episode='23'] a").click()
        drawn(page, "#/run/half/episode/23")


def test_training_is_followed_until_it_ends(
    viewer: Viewer, make_run: MakeRun, tmp_path: Path
) -> None:
    whole, folder = make_run(), tmp_path / "run"
    shutil.copytree(whole, folder)
    lines = (whole / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:40]))
    with serving(make_server(Live([folder], seconds=0.0))) as address:
        page = viewer.open(address, "#/run/run")
        results = page.get_by_role("region", name="Results")
        assert "48.0" in results.inner_text()
        with (folder / "metrics.jsonl").open("a") as file:
            file.write("".join(lines[40:]))
        page.locator("#live").wait_for(state="hidden")
        assert "80.0" in results.inner_text()


def test_a_folder_works_on_a_static_host(viewer: Viewer, evaluations: Path, tmp_path: Path) -> None:
    folder = export([evaluations], tmp_path / "page")
    handler = functools.partial(Quiet, directory=str(folder))
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        page = viewer.open(address, "#/run/random/episode/3")
        assert page.locator("main").get_attribute("data-view") == "episode"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Requests are not told."""
