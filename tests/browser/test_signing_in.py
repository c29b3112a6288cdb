"""Signing in by name and password: what is one's own follows the name, and nobody else sees it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from llava_chat.accounts import AccountFile
from tests.browser.conftest import PATIENCE_MS, Server

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def guarded(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks who somebody is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("guarded")
    people = AccountFile(folder / "data" / "people.json")
    people.put("ada", "lead", PASSWORD)
    people.put("bob", "annotator", PASSWORD)
    server = Server(model_folder, folder, port, ("--sign-in", "people"))
    server.start()
    yield server
    assert server.process is not None
    server.process.kill()
    server.process.communicate()


def sign_in(browser: Browser, server: Server, name: str, password: str = PASSWORD) -> Page:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.set_default_timeout(PATIENCE_MS)
    page.goto(server.url)
    page.get_by_label("username").fill(name)
    page.get_by_label("password").fill(password)
    page.get_by_role("button", name="Login").click()
    return page


def ready(page: Page) -> None:
    expect(page.locator("#thread .thread")).to_be_attached()


def test_who_signs_in_finds_their_own_and_leaves(chromium: Browser, guarded: Server) -> None:
    wrong = sign_in(chromium, guarded, "ada", "a wrong password")
    expect(wrong.get_by_text("Incorrect Credentials")).to_be_visible()
    expect(wrong.locator("#composer")).to_have_count(0)
    wrong.close()

    ada = sign_in(chromium, guarded, "ada")
    ready(ada)
    ada.locator("#composer textarea").fill("Who am I?")
    ada.locator("#composer textarea").press("Enter")
    expect(ada.locator("#thread .message.reply > .text")).to_have_count(1)
    address = ada.url
    expect(ada.get_by_role("link", name="Sign out")).to_be_visible()

    again = sign_in(chromium, guarded, "ada")
    ready(again)
    again.goto(address)
    expect(again.locator("#thread .message.user .text")).to_have_text("Who am I?")
    again.goto(f"{guarded.url}?tab=annotate")
    expect(again.get_by_role("button", name="New project")).to_be_visible()

    bob = sign_in(chromium, guarded, "bob")
    ready(bob)
    bob.goto(address)
    ready(bob)
    expect(bob.locator("#thread .message")).to_have_count(0)
    bob.goto(f"{guarded.url}?tab=annotate")
    expect(bob.get_by_text("nothing to annotate")).to_be_visible()
    expect(bob.get_by_role("button", name="New project")).to_have_count(0)

    ada.get_by_role("link", name="Sign out").click()
    expect(ada.get_by_label("username")).to_be_visible()
    again.reload()
    expect(again.locator("#annotate .head")).to_be_visible()  # one browser left, not the other
    for page in (ada, again, bob):
        page.context.close()
