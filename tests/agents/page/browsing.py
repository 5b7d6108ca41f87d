"""A real browser, which fails the test where the page does what a page of ours must not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE, NARROW = 1440, 390


@contextmanager
def start_chromium() -> Iterator[Browser]:
    """A headless Chromium, the system's own; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium is installed")
    # A sandbox of its own cannot be had by root.
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=args)
        yield browser
        browser.close()


class Viewer:
    """Opens pages, and keeps what was wrong with them."""

    def __init__(self, browser: Browser) -> None:
        self.problems: list[str] = []
        self._browser = browser

    def open(self, address: str, route: str = "") -> Page:
        """A page with its view drawn; one of a file has no network at all."""
        context = self._browser.new_context(
            offline=address.startswith("file:"),
            viewport={"width": WIDE, "height": 900},
            reduced_motion="reduce",
        )
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.set_default_timeout(30_000)
        self._watch(page, address)
        page.goto(f"{address}{route}")
        drawn(page, route or "#/")
        return page

    def _watch(self, page: Page, address: str) -> None:
        own = address if address.startswith("http") else "file:"

        def told(message: Any) -> None:
            if message.type in ("error", "warning"):
                self.problems.append(f"console: {message.text}")

        def asked(request: Any) -> None:
            if not request.url.startswith((own, "data:", "blob:")):
                self.problems.append(f"asked for {request.url}")

        page.on("console", told)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", asked)
        page.on("requestfailed", lambda request: self.problems.append(f"failed: {request.url}"))


def drawn(page: Page, route: str) -> None:
    """Wait until the view of a route is drawn."""
    page.wait_for_function("route => document.body.dataset.ready === route", arg=route)
    assert page.locator("[data-error]").count() == 0, page.locator("[data-error]").all_inner_texts()
