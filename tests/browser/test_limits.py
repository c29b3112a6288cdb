"""A person sees what is left before it is used up, and loses nothing when it is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Chat, Server

OPTIONS = ("--messages-per-minute", "3", "--uploads-per-hour", "1")


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server where one person may have little."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(model_folder, tmp_path_factory.mktemp("limited"), port, OPTIONS)
    server.start()
    yield server
    assert server.stop() == 0


def test_what_is_left_is_shown_where_it_is_little(chat: Chat) -> None:
    left, hint = chat.page.locator("#allowances"), chat.page.locator("#hint")
    expect(left).to_be_empty()
    expect(hint).to_be_visible()
    chat.ask("One")
    expect(left).to_have_text("2 of 3 messages left this minute")
    expect(hint).to_be_hidden()
    chat.ask("Two")
    chat.ask("Three")
    expect(left).to_have_text("0 of 3 messages left this minute")
    chat.say("Four")
    expect(chat.page.get_by_role("alert")).to_contain_text("You have sent 3 messages in the last")
    expect(chat.box).to_have_value("Four")
    expect(chat.messages).to_have_text(["One", "Two", "Three"])
    left.locator("span").evaluate("line => line.style.setProperty('--free-in', '0s')")
    expect(left.locator("span")).to_be_hidden()  # it says nothing that is no longer so


def test_a_picture_too_many_is_told_in_words(chat: Chat, drawing: Path, tmp_path: Path) -> None:
    chat.attach(drawing)
    other = tmp_path / "other.png"
    other.write_bytes(drawing.read_bytes())
    chat.page.set_input_files('#composer input[type="file"]', [other])
    told = chat.page.get_by_test_id("toast-text")
    expect(told).to_have_text(
        "You have uploaded 1 picture in the last hour; there is room for more in 60 min."
    )
    expect(chat.page.locator("#composer .thumbnail-item")).to_have_count(1)
