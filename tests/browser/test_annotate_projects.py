"""Around the judging: a lead's projects, a phone, and the chat beside it."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.annotating import (
    BOXES,
    CHIPS,
    FIX,
    SCALE,
    SPANS,
    Bench,
    Lead,
    NewBench,
    bench,
    lead,
    new_bench,
    red_png,
)

__all__ = ["bench", "lead", "new_bench"]  # the fixtures

NAME = "<img src=x onerror=alert(1)> Shapes"
FITS = """[document.querySelector("#annotate"), document.documentElement]
    .every(each => each.scrollWidth <= 390)"""


def test_on_a_phone_nothing_is_wider_than_the_page(new_bench: NewBench, lead: Lead) -> None:
    project = lead.project([SCALE, CHIPS, FIX, SPANS, BOXES], 2)
    study = "&PROLIFIC_PID=5f1a&STUDY_ID=s1&SESSION_ID=x"
    bench = new_bench(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    bench.begin(project, study)
    expect(bench.page.locator("#boxes canvas")).to_be_visible()
    assert bench.page.evaluate(FITS)
    bench.page.get_by_role("radio", name="4").tap()
    bench.page.get_by_role("checkbox", name="colour").tap()
    bench.page.get_by_role("button", name="Submit", exact=True).tap()
    bench.item(2)
    bench.page.get_by_role("button", name="Projects", exact=True).tap()
    expect(bench.page.get_by_role("button", name="Continue: Circles").first).to_be_visible()
    assert bench.page.evaluate(FITS)
    told = lead.post("progress", {"project": project})
    assert [one["study"] for one in told["per_annotator"]] == [
        {"PROLIFIC_PID": "5f1a", "STUDY_ID": "s1", "SESSION_ID": "x"}
    ]
    bench.open(project, "&view=lead")
    expect(bench.page.get_by_text("5f1a")).to_be_attached()
    assert bench.page.evaluate(FITS)


def test_a_lead_makes_fills_and_closes_a_project(bench: Bench) -> None:
    bench.open()
    make_it(bench.page)
    fill_it(bench.page)
    judge_it(bench.page)
    change_and_close_it(bench.page)


def make_it(page: Page) -> None:
    """What is wrong with its form is told first."""
    page.get_by_role("button", name="New project").click()
    page.get_by_label("Name", exact=True).fill(NAME)
    page.get_by_label("Guidelines").fill("# How\n\n<script>alert(2)</script>Look **twice**.")
    page.get_by_label("Begin with").select_option("Correct a reply")
    expect(page.locator("#annotate .preview")).to_contain_text("What should it say?")
    form = page.get_by_label("Form", exact=True)
    written = form.input_value()
    form.fill("[{")
    expect(page.locator("#annotate .state")).to_contain_text("not JSON")
    form.fill(written.replace('"choice"', '"stars"'))
    page.get_by_role("button", name="Make the project").click()
    expect(page.locator("#annotate .state")).to_contain_text("there is no type 'stars'")
    form.fill(written)
    page.get_by_role("button", name="Make the project").click()
    expect(page.get_by_role("heading", name=NAME)).to_be_visible()


def fill_it(page: Page) -> None:
    """First without the picture that the row names."""
    rows = {"question": "<b>What</b> is it?", "picture": "a.png", "reply": "A <i>circle</i>."}
    files: list[Any] = [
        {"name": "rows.jsonl", "mimeType": "text/plain", "buffer": json.dumps(rows).encode()},
        {"name": "a.png", "mimeType": "image/png", "buffer": red_png(30, 20)},
    ]
    page.get_by_label("Rows:").set_input_files(files[0])
    page.get_by_role("button", name="Add the file").click()
    expect(page.locator("#annotate .lead > .state")).to_contain_text("a.png")  # it is missing
    page.get_by_label("Their pictures").set_input_files(files[1])
    page.get_by_role("button", name="Add the file").click()
    expect(page.locator("#annotate .figures")).to_contain_text("0 of 1")


def judge_it(page: Page) -> None:
    """As whoever finds it among the projects, and looks at the answer again."""
    page.get_by_role("button", name="Projects", exact=True).click()
    page.get_by_role("button", name=f"Start: {NAME}").click()
    page.get_by_role("button", name="Yes, keep it").click()
    expect(page.locator("#annotate .material")).to_contain_text("<b>What</b> is it?")
    expect(page.locator("#annotate .picture img")).to_have_js_property("naturalWidth", 30)
    page.get_by_role("button", name="Guidelines").click()
    expect(page.get_by_role("dialog").locator("strong")).to_have_text("twice")
    expect(page.get_by_role("dialog").locator("script")).to_have_count(0)
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("radio", name="partly").click()
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    page.get_by_role("button", name="My answers").click()
    page.get_by_role("dialog").get_by_role("button", name="Item 1").click()
    expect(page.get_by_role("radio", name="partly")).to_be_checked()


def change_and_close_it(page: Page) -> None:
    """And take the results along."""
    page.get_by_role("button", name="Projects", exact=True).click()
    page.get_by_role("button", name=f"Manage: {NAME}").click()
    expect(page.locator("#annotate .figures")).to_contain_text("1 of 1")
    page.get_by_text("Change it").click()
    guidelines = page.get_by_label("Guidelines")
    expect(guidelines).to_have_value(re.compile("twice"))
    guidelines.fill("Look **once**.")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#annotate .lead > .state")).to_have_text("Saved.")
    page.get_by_role("button", name="Close it").click()
    expect(page.get_by_role("button", name="Open it")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Results as JSONL").click()
    assert json.loads(download.value.path().read_text())["values"] == {"right": "partly"}


def test_a_chat_keeps_its_words_while_another_tab_is_open(bench: Bench) -> None:
    page = bench.page
    page.goto(bench.server.url)
    box = page.locator("#composer textarea")
    box.fill("Half a question")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("tab", name="Annotate").click()
    expect(page.locator("#annotate .head")).to_be_visible()
    assert page.url.endswith("?tab=annotate")
    assert not any("custom_component" in url for url in asked)  # two megabytes for a box
    page.get_by_role("tab", name="Chat").click()
    expect(box).to_have_value("Half a question")
    assert "tab=" not in page.url
