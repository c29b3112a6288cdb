"""What the first command gives: the bundled model, a drawing from elsewhere, right answers.

The drawing is an SVG that Chromium itself paints: no code of this project draws it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from llava_chat.training.scenes.boxes import overlap_share
from tests.browser.conftest import Chat, Server, Visitors

DRAWING = """
<svg xmlns="http://www.w3.org/2000/svg" width="600" height="450" style="background:#fff">
  <circle cx="130" cy="130" r="85" fill="red"/>
  <rect x="390" y="70" width="130" height="130" fill="blue"/>
  <polygon points="300,270 385,410 215,410" fill="green"/>
</svg>
"""


@pytest.fixture(scope="module")
def scenes_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page with the model that comes with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(Path("scenes"), tmp_path_factory.mktemp("scenes"), port)
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="module")
def painted(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawing as Chromium paints it."""
    page = chromium.new_page(viewport={"width": 600, "height": 450})
    page.set_content(f"<body style='margin:0'>{DRAWING}</body>")
    file = tmp_path_factory.mktemp("painted") / "drawing.png"
    page.screenshot(path=file)
    page.close()
    return file


@pytest.fixture
def new_page(visitors: Visitors, scenes_server: Server) -> Iterator[Callable[..., Page]]:
    """Pages of people who are here for the first time."""
    with visitors.visiting(scenes_server.url) as new_page:
        yield new_page


@pytest.fixture
def chat(new_page: Callable[..., Page], scenes_server: Server) -> Chat:
    """Somebody who opens the page for the first time."""
    chat = Chat(new_page(), scenes_server)
    chat.open()
    return chat


def test_three_questions_then_found_again_after_a_restart(
    chat: Chat, scenes_server: Server, painted: Path
) -> None:
    chat.ask("What colour is the circle?", painted)
    chat.ask("How many objects are there?")
    chat.ask("Where is the square?")
    said = [re.compile("red", re.I), re.compile("three", re.I), re.compile("top right", re.I)]
    expect(chat.replies).to_have_text(said)

    assert scenes_server.stop() == 0
    scenes_server.start()
    chat.open()
    chat.listed.first.click()
    expect(chat.replies).to_have_text(said)
    chat.ask("Is there a star?")
    expect(chat.replies.last).to_have_text(re.compile("^no", re.I))


def test_a_box_is_drawn_on_the_picture(chat: Chat, painted: Path) -> None:
    chat.allow_long_replies()
    chat.ask("Give the box of the red circle.", painted)
    shown = chat.replies.locator("..").locator(".boxed")
    expect(shown).to_have_count(1)
    drawn = shown.locator("rect").last.evaluate(
        "r => ['x', 'y', 'width', 'height'].map(name => Number(r.getAttribute(name)))"
    )
    left, top, width, height = drawn
    found = (left, top, left + width, top + height)
    assert overlap_share(found, (45 / 600, 45 / 450, 215 / 600, 215 / 450)) > 0.6
    assert_covers(shown)
    shown.click()
    assert_covers(chat.page.locator("dialog.lightbox .boxed"))


def test_pictures_that_come_in_late_do_not_push_the_newest_words_out_of_sight(
    chat: Chat, new_page: Callable[..., Page], scenes_server: Server, painted: Path
) -> None:
    chat.allow_long_replies()
    chat.ask("Give the box of the red circle.", painted)
    (session,) = chat.page.context.cookies()
    phone = new_page(viewport={"width": 390, "height": 600})
    phone.context.add_cookies(
        [{"name": session["name"], "value": session["value"], "url": scenes_server.url}]
    )
    again = Chat(phone, scenes_server)
    late: list[Route] = []
    held = True
    phone.route("**/pictures/**", lambda one: late.append(one) if held else one.continue_())
    again.open(chat.page.url.removeprefix(scenes_server.url))
    expect(again.replies).to_have_count(1)
    expect(again.page.locator("#thread .boxed img")).to_have_count(1)
    held = False  # one that is asked for only now must not wait for ever
    for picture in late:
        picture.continue_()
    expect(again.page.locator("#thread .boxed img")).to_have_js_property("complete", True)
    again.page.wait_for_function(
        """() => {
            const s = document.querySelector("#scroller");
            return s.scrollHeight > s.clientHeight + 50
                && s.scrollHeight - s.scrollTop - s.clientHeight < 2;
        }"""
    )


def assert_covers(boxed: Locator) -> None:
    """The drawing of the boxes lies exactly on the picture, once that is there."""
    image = boxed.locator("img")
    expect(image).to_have_js_property("complete", True)
    picture, drawing = image.bounding_box(), boxed.locator("svg").bounding_box()
    assert picture is not None and drawing is not None
    assert picture["width"] > 100
    assert all(abs(picture[side] - drawing[side]) < 1 for side in ("x", "y", "width", "height"))
