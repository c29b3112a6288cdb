"""Results in a real browser: figures, plots, what stands behind them, the keyboard, a phone."""

from __future__ import annotations

import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import judged
from tests.browser.conftest import Server, Visitors


@pytest.fixture(scope="module")
def started(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a database in which much was said, for this machine alone: who comes, leads."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "data").mkdir()
    judged.fill(folder / "data", "llava_chat.db")  # as the settings name it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(model_folder, folder, port)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def open_page(visitors: Visitors, started: Server) -> Iterator[Callable[..., Page]]:
    """Open the page; nothing may ask another host, and no script may fail."""
    with visitors.visiting(started.url) as new_page:

        def new(width: int, height: int) -> Page:
            page = new_page(viewport={"width": width, "height": height})
            page.goto(started.url)
            expect(page.locator("#composer textarea")).to_be_visible()
            return page

        yield new


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """The tab, opened, with all figures."""
    page = open_page(1280, 900)
    page.get_by_role("tab", name="Results").click()
    expect(page.locator("#results-ranking table")).to_be_visible()
    return page


def test_figures_plots_and_intervals_are_there(page: Page) -> None:
    expect(page.locator("#results-summary")).to_contain_text("90 votes")
    for plot in ("By day", "By model", "By reason", "Strength, with its interval"):
        expect(
            page.locator(".results-plots .block", has_text=plot).locator("svg.marks")
        ).to_be_visible()
    first = page.locator("#results-ranking tbody tr").first
    expect(first).to_contain_text("scenes-large")
    expect(first.locator(".estimate")).to_contain_text(" to ")
    expect(page.locator("#results-agreement")).to_contain_text("alpha, ordinal")
    expect(page.locator("#results-gold tbody tr")).to_have_count(3)


def test_filters_leave_out_what_is_not_wanted(page: Page) -> None:
    page.get_by_label("Project").click()
    page.get_by_role("option", name="Circles").click()
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#results-summary")).not_to_contain_text("votes")
    expect(page.locator("#results-summary")).to_contain_text("72 annotations")
    page.get_by_role("textbox", name="From").fill("soon")
    page.get_by_role("textbox", name="From").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("2026-01-31")


def test_a_row_opens_what_stands_behind_it_by_keyboard_alone(page: Page) -> None:
    row = page.locator("#results-volumes").get_by_role("button", name="wrong count")
    row.focus()
    page.keyboard.press("Enter")
    heading = page.locator("#results-behind h3")
    expect(heading).to_be_focused()
    expect(heading).to_have_text("Behind “wrong count”")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#results-behind .reading")).to_contain_text("Corrected: A square")
    expect(page.locator("#results-behind h3")).to_be_focused()
    image = page.locator("#results-behind .thumb img").first
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 0
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#results-behind h3")).to_have_text("Behind “wrong count”")


def test_an_export_is_counted_first_and_then_saved(page: Page, tmp_path: Path) -> None:
    page.get_by_role("button", name="Count first").click()
    expect(page.locator("#results-export-counts")).to_contain_text("102 records")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download the zip").click()
    waiting.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as zip:
        assert "feedback/manifest.json" in zip.namelist()


def test_a_phone_shows_all_of_it_without_scrolling_aside(open_page: Callable[..., Page]) -> None:
    page = open_page(390, 844)
    page.get_by_role("tab", name="Results").click()
    expect(page.locator("#results-ranking table")).to_be_visible()
    tab = page.locator("#results-tab")
    assert tab.evaluate("tab => tab.scrollWidth <= tab.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    interval = page.locator("#results-ranking .estimate").first
    box = interval.bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390
