"""The page itself: what it refuses, what it shows on a phone and in the dark, how keys work."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from llava_chat.web.page import FAVICON
from tests.browser.conftest import START_S, Chat, NewChat, Server


def test_a_bad_file_is_refused_in_a_sentence(chat: Chat, tmp_path: Path) -> None:
    chat.ask("Hello")
    bad = tmp_path / "broken.jpg"
    bad.write_bytes(b"not a picture")
    chat.attach(bad)
    chat.say("What is this?")
    alert = chat.page.get_by_role("alert")
    expect(alert).to_contain_text("broken.jpg")
    expect(chat.messages).to_have_text(["Hello"])
    expect(chat.box).to_have_value("What is this?")
    chat.page.get_by_role("button", name="Put this notice away").click()
    expect(alert).to_be_hidden()


def test_an_empty_message_is_refused(chat: Chat, drawing: Path) -> None:
    chat.attach(drawing)
    chat.box.press("Enter")
    expect(chat.page.get_by_role("alert")).to_contain_text("empty")
    expect(chat.messages).to_have_count(0)


def test_markup_stays_text(chat: Chat) -> None:
    hostile = '<img src="http://evil.test/x" onerror="document.title=1"> **bold** `${alert(1)}`'
    chat.ask(hostile)
    expect(chat.messages).to_have_text([hostile])
    expect(chat.page.locator("#thread .message.user .text *")).to_have_count(0)
    expect(chat.page).to_have_title("llava_chat")


def test_a_first_visit_finds_everything_and_complains_of_nothing(
    new_chat: NewChat, server: Server
) -> None:
    page = new_chat().page
    page.goto("about:blank")  # what it was about to ask for is given up, and complains of that
    missing: list[str] = []
    complaints: list[str] = []
    page.on("response", lambda one: missing.append(one.url) if one.status >= 400 else None)
    page.on("console", lambda one: complaints.append(one.text) if one.type == "error" else None)
    page.goto(server.url)
    expect(page.locator("#composer textarea")).to_be_visible()
    icon = page.request.get(f"{server.url}favicon.ico")
    assert icon.headers["content-type"] == "image/svg+xml"
    assert icon.body() == FAVICON.read_bytes()
    for one in page.request.get(f"{server.url}manifest.json").json()["icons"]:
        assert page.request.get(server.url + one["src"].lstrip("/")).ok, one
    assert missing == []
    assert complaints == []


def test_keys(chat: Chat) -> None:
    expect(chat.box).to_be_focused()
    chat.box.press_sequentially("one")
    chat.box.press("Shift+Enter")
    chat.box.press_sequentially("two")
    expect(chat.box).to_have_value("one\ntwo")
    chat.box.press("Enter")
    expect(chat.replies).to_have_count(1)
    expect(chat.messages).to_have_text("one\ntwo", use_inner_text=True)
    chat.idle()

    settings = chat.page.get_by_role("button", name="Settings", exact=True)
    settings.focus()
    chat.page.keyboard.press("Enter")
    expect(chat.page.get_by_label("System message")).to_be_visible()
    expect(settings).to_have_attribute("aria-expanded", "true")
    chat.page.keyboard.press("Escape")
    expect(chat.page.get_by_label("System message")).to_be_hidden()
    expect(settings).to_be_focused()
    chat.page.keyboard.press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert chat.page.evaluate(outline) == "solid"


def test_every_control_has_a_name(chat: Chat, drawing: Path) -> None:
    chat.ask("What is this?", drawing)
    nameless = chat.page.evaluate(
        """() => [...document.querySelectorAll('button, summary, input, textarea')]
            .filter(e => e.checkVisibility() && e.type !== 'file')
            .filter(e => !(e.ariaLabel || e.title || e.innerText || e.labels?.length))
            .map(e => e.outerHTML)"""
    )
    assert nameless == []
    assert chat.page.locator("img:not([alt])").count() == 0


@pytest.mark.parametrize("width", [390, 1920])
def test_nothing_is_wider_than_the_screen(new_chat: NewChat, drawing: Path, width: int) -> None:
    chat = new_chat(viewport={"width": width, "height": 844})
    chat.ask("What is " + "a very long word " * 8 + "x" * 200, drawing)
    wide = "document.documentElement.scrollWidth > innerWidth"
    assert not chat.page.evaluate(wide)
    box = chat.page.locator("#composer").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800), (1920, 1080)])
def test_the_page_fills_the_window_and_nothing_is_cut_off(
    new_chat: NewChat, width: int, height: int
) -> None:
    chat = new_chat(viewport={"width": width, "height": height})
    tabs = chat.page.locator("#tabs > .tab-wrapper").bounding_box()
    bar = chat.page.locator("#topbar").bounding_box()
    composer = chat.page.locator("#dock").bounding_box()
    assert tabs and bar and composer
    assert (tabs["x"], tabs["y"], tabs["width"]) == (0, 0, width)
    assert (bar["x"], bar["y"], bar["width"]) == (0, tabs["height"], width)
    assert composer["y"] + composer["height"] <= height


def test_on_a_phone_the_list_is_a_drawer(new_chat: NewChat) -> None:
    chat = new_chat(viewport={"width": 390, "height": 844}, has_touch=True)
    chat.ask("First question")
    expect(chat.listed.first).to_be_hidden()
    chat.page.get_by_role("button", name="Conversations").click()
    expect(chat.listed.first).to_be_visible()
    chat.page.get_by_role("button", name="New chat").click()
    expect(chat.messages).to_have_count(0)
    expect(chat.listed.first).to_be_hidden()


def test_dark_follows_the_system_until_somebody_chooses(new_chat: NewChat) -> None:
    background = "getComputedStyle(document.querySelector('#topbar')).backgroundColor"
    chat = new_chat(color_scheme="dark")
    dark = chat.page.evaluate(background)
    chat.page.get_by_role("button", name="Switch between dark and light").click()
    light = chat.page.evaluate(background)
    assert dark != light
    chat.reload()
    expect(chat.box).to_be_visible()
    chat.page.wait_for_function(f"{background} === {light!r}")


def test_settings_go_with_the_conversation(chat: Chat) -> None:
    settings = chat.page.get_by_role("button", name="Settings", exact=True)
    settings.click()
    chat.page.get_by_label("System message").fill("Answer like a pirate.")
    chat.page.get_by_label("Top k").fill("40")
    chat.ask("Hello")
    chat.reload()
    settings.click()
    expect(chat.page.get_by_label("System message")).to_have_value("Answer like a pirate.")
    expect(chat.page.get_by_label("Top k")).to_have_value("40")
    chat.page.get_by_role("button", name="Back to the defaults").click()
    expect(chat.page.get_by_label("System message")).to_have_value("")
    expect(chat.page.get_by_label("Top k")).to_have_value("0")


def test_a_new_chat_keeps_what_was_about_to_be_sent_and_set(chat: Chat, drawing: Path) -> None:
    chat.ask("Hello")
    chat.allow_long_replies()
    chat.attach(drawing)
    chat.box.fill("A draft")
    chat.page.get_by_role("button", name="New chat").click()
    expect(chat.messages).to_have_count(0)
    expect(chat.box).to_have_value("A draft")
    expect(chat.page.locator("#composer .thumbnail-item")).to_have_count(1)
    chat.page.get_by_role("button", name="Settings", exact=True).click()
    expect(chat.page.get_by_label("number input for Longest reply")).to_have_value("4096")


def test_a_second_picture_brings_advice(chat: Chat, drawing: Path) -> None:
    chat.ask("What is this?", drawing)
    chat.ask("And this?", drawing)
    expect(chat.page.locator("#notice [role=status]")).to_contain_text("new chat")


def test_a_picture_is_dropped_or_pasted(chat: Chat, drawing: Path) -> None:
    data = list(drawing.read_bytes())
    chat.page.evaluate(
        """data => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(data)], 'a.png', {type: 'image/png'}));
            document.querySelector('#thread').dispatchEvent(new DragEvent('drop',
                {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }""",
        data,
    )
    expect(chat.page.locator("#composer .thumbnail-item")).to_have_count(1)
    chat.box.evaluate(
        """(box, data) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(data)], 'b.png', {type: 'image/png'}));
            box.dispatchEvent(new ClipboardEvent('paste',
                {clipboardData: transfer, bubbles: true, cancelable: true}));
        }""",
        data,
    )
    expect(chat.page.locator("#composer .thumbnail-item")).to_have_count(2)


def test_a_busy_port_is_told_in_a_sentence(server: Server) -> None:
    second = server.run()
    _, told = second.communicate(timeout=START_S)
    assert second.returncode == 1
    assert str(server.port) in told
    assert "--port" in told
    assert "Traceback" not in told


def test_nobody_else_on_the_machine_reads_what_is_kept(chat: Chat, server: Server) -> None:
    chat.ask("Hello")
    kept = [server.folder / "data", *(server.folder / "data").rglob("*")]
    assert any(path.suffix == ".db" for path in kept)
    assert [path for path in kept if path.stat().st_mode & 0o077] == []
