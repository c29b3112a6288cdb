"""The page in front of a server that makes the replies: what it shows of one, and what not."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from llava_chat.assembly import check_model, for_model, offered_models, open_engine
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore
from llava_chat.web.chat.replies import Replies
from llava_chat.web.launch import launch
from tests.browser.conftest import Visitors
from tests.engine.remote.server import Heard, ScriptedServer, Wire


@pytest.fixture
def go_on() -> threading.Event:
    return threading.Event()


@pytest.fixture
def model_server(go_on: threading.Event) -> Iterator[ScriptedServer]:
    """Two words, and more once it may go on; "fail" is refused."""

    async def answer(heard: Heard, wire: Wire) -> None:
        said = heard.fields["messages"][-1]["content"]
        if said == "fail":
            await wire.json(500, {"error": "CUDA"})
            return
        await wire.head()
        await wire.pieces("A red", " circle")
        if said == "talk":
            await wire.until_gone()
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        await wire.pieces(".")
        await wire.end(usage={"prompt_tokens": 600, "completion_tokens": 7})

    server = ScriptedServer(answer, [{"id": "llava-hf/llava-1.5-7b-hf", "max_model_len": 4096}])
    yield server
    server.close()


@pytest.fixture
def page_url(model_server: ScriptedServer, tmp_path: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as environment, socket.socket() as free:
        environment.setenv("GRADIO_TEMP_DIR", "")
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        settings = Settings(
            port=port,
            data_dir=tmp_path,
            secret="x" * 16,
            engine="remote",
            engine_url=(model_server.url,),
        )
        check_model(settings)
        offered = offered_models(settings)
        engine = SwitchingEngine(
            lambda name, report: open_engine(for_model(settings, name), report), offered[0].label
        )
        store, replies = ConversationStore.open(settings.database, tmp_path), Replies()
        blocks = launch(engine, store, replies, settings, offered)
        yield f"http://127.0.0.1:{port}/"
        replies.close(grace_s=5)
        blocks.close(verbose=False)
        store.close()
        engine.close(grace_s=5)


@pytest.fixture
def page(visitors: Visitors, page_url: str) -> Iterator[Page]:
    with visitors.visiting(page_url) as new_page:
        page = new_page()
        page.goto(page_url)
        expect(page.locator("#composer textarea")).to_be_visible()
        yield page


def say(page: Page, text: str) -> None:
    expect(page.locator("#composer .submit-button")).to_be_visible()  # nothing is being written
    page.locator("#composer textarea").fill(text)
    page.locator("#composer textarea").press("Enter")


@pytest.mark.filterwarnings("default")  # Gradio's own code warns in the server's threads
def test_the_page_in_front_of_a_server(
    page: Page, model_server: ScriptedServer, go_on: threading.Event, drawing: Path
) -> None:
    live, replies = page.locator("#live .text"), page.locator("#thread .message.reply > .text")
    expect(page.locator("#model")).to_contain_text("llava-hf/llava-1.5-7b-hf")
    expect(page.locator("details.models")).to_have_count(0)
    page.get_by_role("button", name="Settings", exact=True).click()
    expect(page.get_by_label("System message")).to_be_visible()
    expect(page.get_by_label("Conversation template")).to_have_count(0)
    expect(page.locator("#own-template p")).to_have_count(0)
    page.get_by_role("button", name="Close the settings").click()

    page.set_input_files('#composer input[type="file"]', [drawing])
    expect(page.locator("#composer .thumbnail-item")).to_have_count(1)
    say(page, "What is this?")
    expect(live).to_have_text("A red circle")
    go_on.set()
    expect(replies).to_have_text(["A red circle."])
    expect(page.locator("#thread .facts")).to_contain_text("7 tokens")
    expect(page.locator("#meter .meter")).to_be_hidden()
    sent = model_server.heard[0].fields["messages"][-1]["content"]
    assert [part["type"] for part in sent] == ["image_url", "text"]

    say(page, "talk")
    expect(live).to_have_text("A red circle")
    page.locator("#composer .stop-button").click()
    expect(replies).to_have_text(["A red circle.", "A red circle"])
    assert model_server.gone.wait(30)

    say(page, "fail")
    expect(page.locator("#notice")).to_contain_text("The model's server failed at this reply (500)")
    say(page, "And now?")
    expect(replies).to_have_text(["A red circle.", "A red circle", "A red circle."])
    last = model_server.heard[-1].fields["messages"]
    assert [message["role"] for message in last] == ["user", "assistant"] * 2 + ["user"]
