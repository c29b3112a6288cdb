"""The Annotate tab: by keyboard alone, by mouse, on a phone; nothing is lost or said twice."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Server, Visitors

SCALE = {"name": "good", "type": "scale", "label": "How good?", "min": 1, "max": 5,
         "labels": {"1": "bad"}, "required": True}  # fmt: skip
CHIPS = {"name": "wrong", "type": "chips", "label": "What is wrong?",
         "options": ["count", "colour", "place"]}  # fmt: skip
CHOICE = {"name": "right", "type": "choice", "label": "Right?", "options": ["yes", "no"]}
TEXT = {"name": "why", "type": "text", "label": "Why?"}
FIX = {"name": "better", "type": "correction", "label": "What should it say?"}
SPANS = {"name": "marks", "type": "spans", "label": "Mark it", "labels": ["invented", "vague"]}
BOXES = {"name": "where", "type": "boxes", "label": "Where?", "labels": ["circle", "square"]}
RANK = {"name": "order", "type": "best_of", "label": "Best first", "required": True}
REPLY = "Two \N{SLIGHTLY SMILING FACE} red circles."


class Lead:
    """Somebody else's browser, which leads: this server is for its own machine."""

    def __init__(self, server: Server) -> None:
        self.client = httpx2.Client(base_url=server.url, timeout=60)
        self.client.get("/")

    def post(self, path: str, body: Any) -> dict[str, Any]:
        answer = self.client.post(f"/annotate/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def project(self, form: list[Any], items: int = 1, replies: int = 1, **more: Any) -> str:
        id = self.post("create", {"name": "Circles", "form": form, **more})["id"]
        rows = [
            {
                "question": f"What is it? ({number})",
                "picture": "red.png",
                "replies": [REPLY, "A square.", "I cannot tell."][:replies],
            }
            for number in range(1, items + 1)
        ]
        file = io.BytesIO()
        Image.new("RGB", (400, 200), "red").save(file, "PNG")
        url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        text = "\n".join(map(json.dumps, rows))
        body = {"project": id, "format": "jsonl", "text": text, "pictures": {"red.png": url}}
        assert self.post("add", body) == {"added": items}
        return str(id)

    def results(self, project: str) -> list[dict[str, Any]]:
        answer = self.client.get(f"/annotate/results.jsonl?project={project}")
        return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture(scope="module")
def lead(server: Server) -> Iterator[Lead]:
    lead = Lead(server)
    yield lead
    lead.client.close()


class Bench:
    """A page of the Annotate tab."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page, self.server, self.keys = page, server, page.keyboard

    def open(self, project: str = "", more: str = "") -> None:
        place = f"&project={project}" if project else ""
        self.page.goto(f"{self.server.url}?tab=annotate{place}{more}")

    def begin(self, project: str, more: str = "") -> None:
        self.open(project, more)
        self.page.get_by_role("button", name="Yes, keep it").click()
        self.item(1)

    def item(self, number: int) -> None:
        expect(self.page.locator("#annotate .far")).to_contain_text(f"Item {number} ")
        expect(self.page.locator("#annotate .work")).to_be_focused()

    def state(self, text: str) -> None:
        expect(self.page.locator("#annotate .actions .state")).to_have_text(text)

    def field(self, name: str) -> Locator:
        return self.page.locator(f'#annotate .field[data-name="{name}"]')


NewBench = Callable[..., Bench]


@pytest.fixture
def new_bench(visitors: Visitors, server: Server) -> Iterator[NewBench]:
    with visitors.visiting(server.url) as new_page:
        yield lambda **options: Bench(new_page(**options), server)


@pytest.fixture
def bench(new_bench: NewBench) -> Bench:
    return new_bench()


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
    hide = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }); document.dispatchEvent(new Event('visibilitychange')); }"  # noqa: E501
    bench.page.evaluate(hide, True)
    bench.page.clock.run_for(600_000)
    bench.page.evaluate(hide, False)
    bench.page.get_by_role("tab", name="Chat").click()
    bench.page.clock.run_for(600_000)
    bench.page.get_by_role("tab", name="Annotate").click()
    bench.keys.press("5")
    bench.keys.press("Control+Enter")
    expect(bench.page.get_by_role("heading", name="Done")).to_be_visible()
    (said,) = lead.results(project)
    assert 10 <= said["lead_time_s"] < 600


def test_on_a_phone_nothing_is_wider_than_the_page(new_bench: NewBench, lead: Lead) -> None:
    project = lead.project([SCALE, CHIPS, FIX, SPANS, BOXES], 2)
    study = "&PROLIFIC_PID=5f1a&STUDY_ID=s1&SESSION_ID=x"
    bench = new_bench(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    bench.begin(project, study)
    expect(bench.page.locator("#boxes canvas")).to_be_visible()
    wide = "document.querySelector('#annotate').scrollWidth <= 390 && document.documentElement.scrollWidth <= 390"  # noqa: E501
    assert bench.page.evaluate(wide)
    bench.page.get_by_role("radio", name="4").tap()
    bench.page.get_by_role("checkbox", name="colour").tap()
    bench.page.get_by_role("button", name="Submit", exact=True).tap()
    bench.item(2)
    bench.page.get_by_role("button", name="Projects", exact=True).tap()
    expect(bench.page.get_by_role("button", name="Continue: Circles").first).to_be_visible()
    assert bench.page.evaluate(wide)
    told = lead.post("progress", {"project": project})
    assert [one["study"] for one in told["per_annotator"]] == [
        {"PROLIFIC_PID": "5f1a", "STUDY_ID": "s1", "SESSION_ID": "x"}
    ]
    bench.open(project, "&view=lead")
    expect(bench.page.get_by_text("5f1a")).to_be_attached()
    assert bench.page.evaluate(wide)


def test_a_lead_makes_fills_and_closes_a_project(bench: Bench, lead: Lead) -> None:
    page = bench.page
    name = "<img src=x onerror=alert(1)> Shapes"
    bench.open()
    page.get_by_role("button", name="New project").click()
    page.get_by_label("Name", exact=True).fill(name)
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
    expect(page.get_by_role("heading", name=name)).to_be_visible()

    file = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(file, "PNG")
    rows = {"question": "<b>What</b> is it?", "picture": "a.png", "reply": "A <i>circle</i>."}
    files: list[Any] = [
        {"name": "rows.jsonl", "mimeType": "text/plain", "buffer": json.dumps(rows).encode()},
        {"name": "a.png", "mimeType": "image/png", "buffer": file.getvalue()},
    ]
    page.get_by_label("Rows:").set_input_files(files[0])
    page.get_by_role("button", name="Add the file").click()
    expect(page.locator("#annotate .lead > .state")).to_contain_text("a.png")  # it is missing
    page.get_by_label("Their pictures").set_input_files(files[1])
    page.get_by_role("button", name="Add the file").click()
    expect(page.locator("#annotate .figures")).to_contain_text("0 of 1")

    page.get_by_role("button", name="Projects", exact=True).click()
    page.get_by_role("button", name=f"Start: {name}").click()
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

    page.get_by_role("button", name="Projects", exact=True).click()
    page.get_by_role("button", name=f"Manage: {name}").click()
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


def test_a_chat_keeps_its_words_while_another_tab_is_open(bench: Bench, lead: Lead) -> None:
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
