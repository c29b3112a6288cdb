"""Judging in the Annotate tab: by keyboard alone, by mouse; nothing is lost or said twice."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route, expect

from tests.browser.annotating import (
    BOXES,
    CHIPS,
    CHOICE,
    FIX,
    RANK,
    REPLY,
    SCALE,
    SPANS,
    TEXT,
    Bench,
    Lead,
    NewBench,
    bench,
    lead,
    new_bench,
)

__all__ = ["bench", "lead", "new_bench"]  # the fixtures

HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_items_are_judged_by_keyboard_alone(bench: Bench, lead: Lead) -> None:
    project = lead.project(
        [SCALE, CHIPS, CHOICE, TEXT], 3, guidelines="Be **fair**.", completion_code="C0DE"
    )
    keys = bench.keys
    bench.open(project)
    expect(bench.page.get_by_role("button", name="No, save nothing")).to_be_focused()
    keys.press("Tab")
    keys.press("Enter")
    bench.item(1)
    keys.press("g")
    expect(bench.page.get_by_role("dialog")).to_contain_text("Be fair.")
    keys.press("Escape")
    keys.press("?")
    expect(bench.page.get_by_role("dialog", name="Keys")).to_be_visible()
    keys.press("Escape")
    keys.press("Control+Enter")
    expect(bench.field("good").get_by_role("alert")).to_have_text("This one is asked for.")
    keys.press("4")
    keys.press("ArrowRight")  # within the scale
    expect(bench.page.get_by_role("radio", name="5")).to_be_checked()
    keys.press("ArrowDown")
    keys.press("2")
    keys.press("3")
    keys.press("ArrowDown")
    keys.press("2")
    keys.press("ArrowDown")
    keys.type("S1 is a word?")
    keys.press("Control+Enter")
    bench.item(2)
    keys.press("3")
    bench.state("Draft saved")
    keys.press("Escape")
    keys.press("ArrowLeft")
    bench.item(1)
    bench.state("You answered this one: submit again to change it.")
    expect(bench.field("why").locator("textarea")).to_have_value("S1 is a word?")
    keys.press("ArrowDown")
    keys.press("2")
    keys.press("Control+Enter")
    bench.item(2)
    expect(bench.page.get_by_role("radio", name="3")).to_be_checked()
    keys.press("s")
    expect(bench.page.get_by_role("dialog", name="Skip this item")).to_be_visible()
    keys.type("too dark")
    keys.press("Enter")
    bench.item(3)
    keys.press("f")
    keys.press("Enter")
    expect(bench.page.locator("#annotate .code")).to_have_text("C0DE")
    said = [(one["outcome"], one["values"]) for one in lead.results(project)]
    first = {"wrong": ["colour", "place"], "right": "no", "why": "S1 is a word?"}
    assert ("answered", {**first, "good": 5}) in said
    assert ("answered", {**first, "good": 2}) in said
    assert {"skipped", "flagged"} <= {outcome for outcome, _ in said}


def test_parts_of_a_reply_are_marked_by_keyboard_and_by_mouse(bench: Bench, lead: Lead) -> None:
    project = lead.project([SPANS, FIX])
    bench.begin(project)
    keys, reply = bench.keys, bench.field("marks").locator(".marked")
    keys.press("ArrowDown")
    expect(reply).to_be_focused()
    keys.press("Control+Home")
    keys.type("not a word of it")
    for _ in range(6):  # "Two", a space, a face, a space: each is one step
        keys.press("ArrowRight")
    for _ in range(3):
        keys.press("Shift+ArrowRight")
    keys.press("1")
    expect(reply.locator("mark")).to_have_text("red")
    reply.locator("mark").dblclick()
    bench.field("marks").get_by_role("button", name="vague", exact=True).click()
    expect(bench.field("marks").locator("li")).to_contain_text(["vague"])
    assert reply.inner_text() == REPLY
    fix = bench.field("better").locator("textarea")
    expect(fix).to_have_value(REPLY)
    keys.press("Tab")
    fix.fill("Two <b>blue</b> circles.")
    fix.press("Control+Enter")
    expect(bench.page.get_by_role("heading", name="Done")).to_be_visible()
    (said,) = lead.results(project)
    start = REPLY.index("red")
    assert said["values"]["marks"] == [{"start": start, "end": start + 3, "label": "vague"}]
    assert said["values"]["better"] == "Two <b>blue</b> circles."


def test_boxes_are_drawn_or_written(bench: Bench, lead: Lead) -> None:
    project = lead.project([BOXES], 2)
    bench.begin(project)
    canvas = bench.page.locator("#boxes canvas")
    expect(canvas).to_be_visible()
    expect(bench.page.get_by_role("button", name="Create box")).to_be_visible()
    place = canvas.bounding_box()
    assert place is not None
    mouse = bench.page.mouse
    left, top, width, height = (place[name] for name in ("x", "y", "width", "height"))
    mouse.move(left + width / 4, top + height / 4)
    mouse.down()
    mouse.move(left + width / 2, top + height * 3 / 4, steps=4)
    mouse.up()
    expect(bench.page.get_by_label("Label of box 1")).to_have_value("circle")
    bench.page.get_by_role("button", name="Add a box by numbers").press("Enter")
    for side, share in (("left", 60), ("top", 10), ("right", 90), ("bottom", 50)):
        field = bench.page.get_by_label(f"{side} of box 2")
        field.fill(str(share))
        field.press("Tab")
    bench.page.get_by_label("Label of box 2").select_option("square")
    bench.state("Draft saved")
    bench.page.reload()
    expect(bench.page.get_by_label("right of box 2")).to_have_value("90")
    bench.keys.press("Control+Enter")
    bench.item(2)
    (said,) = lead.results(project)
    drawn, written = said["values"]["where"]
    assert written == {"picture": 0, "label": "square", "box": [0.6, 0.1, 0.9, 0.5]}
    assert drawn["box"] == pytest.approx([0.25, 0.25, 0.5, 0.75], abs=0.01)
    expect(canvas).to_be_visible()
    expect(bench.field("where").locator("li")).to_have_count(0)


def test_replies_are_ranked_by_the_arrows(bench: Bench, lead: Lead) -> None:
    project = lead.project([RANK], replies=3)
    bench.begin(project)
    keys = bench.keys
    keys.press("Control+Enter")
    expect(bench.field("order").get_by_role("alert")).to_be_visible()
    keys.press("ArrowDown")  # the first reply has the focus, and goes down
    expect(bench.page.get_by_role("listitem", name="Reply A, place 2 of 3")).to_be_focused()
    keys.press("3")
    expect(bench.page.get_by_role("listitem", name="Reply A, place 3 of 3")).to_be_focused()
    keys.press("Control+Enter")
    expect(bench.page.get_by_role("heading", name="Done")).to_be_visible()
    (said,) = lead.results(project)
    assert said["values"] == {"order": [1, 2, 0]}


def test_what_does_not_arrive_is_sent_again_and_is_there_once(bench: Bench, lead: Lead) -> None:
    project = lead.project([SCALE, TEXT])
    bench.begin(project)
    lost = {"draft": 0, "submit": 0}

    def lose_the_first(route: Route) -> None:
        kind = route.request.url.rsplit("/", 1)[1]
        lost[kind] += 1
        if lost[kind] > 1:
            route.fallback()
            return
        if kind == "submit":  # it arrives, and its answer does not
            route.fetch()
        route.abort()

    bench.page.route("**/annotate/draft", lose_the_first)
    bench.page.route("**/annotate/submit", lose_the_first)
    bench.keys.press("4")
    bench.state("Draft not saved. Trying again…")
    bench.state("Draft saved")
    bench.page.reload()
    bench.item(1)
    bench.state("Your draft")
    expect(bench.page.get_by_role("radio", name="4")).to_be_checked()
    bench.keys.press("Control+Enter")
    bench.state("Not saved. Trying again…")
    expect(bench.page.get_by_role("heading", name="Done")).to_be_visible()
    assert lost["submit"] == 2
    assert [one["values"] for one in lead.results(project)] == [{"good": 4}]


def test_time_counts_while_the_page_is_in_sight(new_bench: NewBench, lead: Lead) -> None:
    project, bench = lead.project([SCALE]), new_bench(for_good=True)
    bench.page.clock.install()
    bench.begin(project)
    bench.page.clock.run_for(10_000)
    bench.page.evaluate(HIDE, True)
    bench.page.clock.run_for(600_000)
    bench.page.evaluate(HIDE, False)
    bench.page.get_by_role("tab", name="Chat").click()
    bench.page.clock.run_for(600_000)
    bench.page.get_by_role("tab", name="Annotate").click()
    bench.keys.press("5")
    bench.keys.press("Control+Enter")
    expect(bench.page.get_by_role("heading", name="Done")).to_be_visible()
    (said,) = lead.results(project)
    assert 10 <= said["lead_time_s"] < 600
