"""Which model answers: waiting for one, choosing another, and going on in the same conversation."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from llava_chat import ASSETS
from llava_chat.assembly import OfferedModel
from llava_chat.engine.local import LocalEngine
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import CheckpointError
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.progress import Progress, Report
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore
from llava_chat.web.chat.replies import Replies
from llava_chat.web.launch import launch
from tests.browser.conftest import Chat, Server, Visitors

HALF = Progress("reading the weights", 7_100_000_000, 14_200_000_000, "bytes")
OFFERED = tuple(OfferedModel(name, name, "14.2 GB in bfloat16") for name in ("tiny", "broken"))
IDLE_MS = 2_000  # several times the interval at which a page asks that waits for a model


@pytest.fixture
def door() -> Iterator[threading.Event]:
    """Until it is set no model is there."""
    door = threading.Event()
    yield door
    door.set()


@pytest.fixture
def held_server(
    door: threading.Event, random_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> Iterator[str]:
    """The page of a server whose model is half loaded."""

    def opened(name: str, report: Report) -> LocalEngine:
        report(HALF)
        assert door.wait(300)
        if name == "broken":
            raise CheckpointError("broken has no weights.")
        return LocalEngine(replace(random_checkpoint(), id=name))

    with pytest.MonkeyPatch.context() as environment, socket.socket() as free:
        environment.setenv("GRADIO_TEMP_DIR", "")
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        settings = Settings(
            port=port, data_dir=tmp_path, temperature=0, max_new_tokens=8, secret="x" * 16
        )
        store = ConversationStore.open(settings.database, tmp_path)
        engine, replies = SwitchingEngine(opened, "tiny"), Replies()
        blocks = launch(engine, store, replies, settings, OFFERED)
        yield f"http://127.0.0.1:{port}/"
        door.set()
        replies.close(grace_s=5)
        blocks.close(verbose=False)
        store.close()
        engine.close(grace_s=5)


@pytest.fixture
def new_page(visitors: Visitors) -> Iterator[Callable[[str], Page]]:
    with ExitStack() as visits:

        def new(url: str) -> Page:
            page = visits.enter_context(visitors.visiting(url))()
            page.goto(url)
            expect(page.locator("#composer textarea")).to_be_visible()
            return page

        yield new


def choose(page: Page, name: str) -> None:
    """Open the list of models and switch to one."""
    page.locator("details.models summary").click()
    page.get_by_role("button", name=name).click()
    page.get_by_role("button", name="Switch", exact=True).click()


def ask(page: Page, text: str) -> None:
    page.locator("#composer textarea").fill(text)
    page.locator("#composer textarea").press("Enter")


@pytest.mark.filterwarnings("default")  # Gradio's own code warns in the server's threads
def test_a_page_waits_with_its_reader_and_then_asks_nothing_more(
    held_server: str, door: threading.Event, new_page: Callable[[str], Page]
) -> None:
    page = new_page(held_server)
    bar = page.get_by_role("progressbar", name="Loading tiny")
    expect(bar).to_have_attribute("aria-valuenow", "50")
    expect(bar).to_have_attribute("aria-valuetext", "reading the weights: 7.1 of 14.2 GB")
    expect(page.locator("#model")).to_have_text("Loading tiny: 50 %")
    ask(page, "Hello")
    expect(page.locator("#live [role=status]")).to_have_text("Waiting for tiny")
    expect(page.locator("#thread .message.user .text")).to_have_text("Hello")
    door.set()
    expect(page.locator("#model strong").first).to_have_text("tiny")
    expect(bar).to_have_count(0)
    expect(page.locator("#thread .message.reply .facts")).to_contain_text("tiny")
    expect(page.locator("#own-template")).to_contain_text("vicuna_v1")
    page.wait_for_timeout(IDLE_MS)  # the last of the page's own questions is over
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(IDLE_MS)
    assert asked == []


@pytest.mark.filterwarnings("default")
def test_a_model_that_fails_brings_the_old_one_back_with_a_sentence(
    held_server: str, door: threading.Event, new_page: Callable[[str], Page]
) -> None:
    door.set()
    page = new_page(held_server)
    expect(page.locator("details.models summary")).to_contain_text("tiny")
    door.clear()
    choose(page, "broken")
    expect(page.get_by_role("progressbar", name="Loading broken")).to_be_visible()
    other = new_page(held_server)
    ask(other, "Hello")
    expect(other.locator("#live [role=status]")).to_have_text("Waiting for broken")
    door.set()
    sentence = "broken has no weights. tiny answers again."
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    expect(page.locator("details.models summary")).to_contain_text("tiny")
    expect(other.locator("#thread .message.reply .facts")).to_contain_text("tiny")


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app with the bundled model, and the same under another name to choose."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(ASSETS / "scenes", folder / "second")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(Path("scenes"), folder, port, ("--models", f"scenes,{folder / 'second'}"))
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.process.kill()
        server.process.communicate()


def test_a_conversation_goes_on_with_another_model(
    two_models: Server, new_page: Callable[[str], Page], drawing: Path
) -> None:
    chat, other = (Chat(new_page(two_models.url), two_models) for _ in range(2))
    name = chat.page.locator("details.models summary")
    expect(name).to_have_text("scenes")
    chat.ask("What colour is the circle?", drawing)
    expect(chat.replies.last).to_contain_text("red")
    # By the keyboard alone, as somebody who sees nothing of it does.
    name.focus()
    for key in ("Enter", "Tab", "Tab", "Enter", "Tab", "Enter"):
        chat.page.keyboard.press(key)
    expect(name).to_have_text("second")
    expect(chat.box).to_be_focused()
    chat.ask("What shape is it?")
    expect(chat.replies).to_have_count(2)
    expect(chat.page.locator("#thread .facts").first).to_contain_text("scenes")
    expect(chat.page.locator("#thread .facts").last).to_contain_text("second")
    expect(chat.replies.last).to_contain_text("circle")
    expect(other.page.locator("details.models summary")).to_have_text("scenes")
    other.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # looked at again
    expect(other.page.locator("details.models summary")).to_have_text("second")
    whole = "name => name.scrollWidth <= name.clientWidth"
    assert other.page.locator("details.models summary strong").evaluate(whole)  # not "sec…"
