"""`/chat` as programs use it: with gradio_client, against a server that runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from llava_chat.store import ConversationStore
from llava_chat.web.session import COOKIE_NAME

OwnerOf = Callable[[Mapping[str, str]], str]


def connect(server: str, cookies: dict[str, str] | None = None) -> Client:
    return Client(server, verbose=False, httpx_kwargs={"cookies": cookies} if cookies else None)


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return connect(server)


@pytest.fixture(scope="module")
def owner(client: Client, owner_of: OwnerOf) -> str:
    return owner_of(client.cookies)


def test_a_conversation_with_a_picture_goes_on(
    client: Client, owner: str, store: ConversationStore, draw: Callable[[str], Path]
) -> None:
    pictures = [handle_file(str(draw("red")))]
    reply, conversation_id = client.predict("What is this?", pictures, api_name="/chat")
    again, same = client.predict("And its colour?", [], conversation_id, api_name="/chat")
    assert same == conversation_id
    stored = store.load(owner, conversation_id)
    assert [message.text for message in stored.path] == [
        "What is this?", reply, "And its colour?", again,
    ]  # fmt: skip
    assert [len(message.picture_ids) for message in stored.path] == [1, 0, 0, 0]
    assert store.picture(stored.path[0].picture_ids[0]).width == 80


def test_a_greedy_reply_is_the_same_again(client: Client) -> None:
    first, _ = client.predict("Hello", api_name="/chat")
    again, _ = client.predict("Hello", api_name="/chat")
    assert first == again


def test_what_is_left_out_stays_as_the_conversation_has_it(
    client: Client, owner: str, store: ConversationStore
) -> None:
    _, conversation_id = client.predict(
        message="Hello", max_new_tokens=3, seed=7, temperature=1, system="Be brief.",
        template="plain", api_name="/chat",
    )  # fmt: skip
    client.predict(message="More", conversation_id=conversation_id, top_p=0.5, api_name="/chat")
    stored = store.load(owner, conversation_id)
    assert stored.system == "Be brief." and stored.template == "plain"
    chosen = {name: stored.settings[name] for name in ("max_new_tokens", "seed", "top_p")}
    assert chosen == {"max_new_tokens": 3, "seed": 7, "top_p": 0.5}


def test_a_stop_ends_the_reply_and_stays_with_the_conversation(
    client: Client, owner: str, store: ConversationStore
) -> None:
    whole, _ = client.predict("Hello", api_name="/chat")
    stop = whole[len(whole) // 2 :][:3]
    shown, conversation_id = client.predict(
        message="Hello", stop=[stop, "never said"], top_k=5, api_name="/chat"
    )
    assert shown == whole[: whole.index(stop)]
    stored = store.load(owner, conversation_id)
    assert stored.path[1].finish == "stop"
    client.predict(message="More", conversation_id=conversation_id, api_name="/chat")
    settings = store.load(owner, conversation_id).settings
    assert (settings["top_k"], settings["stop"]) == (5, [stop, "never said"])
    client.predict(message="More", conversation_id=conversation_id, stop=[], api_name="/chat")
    assert store.load(owner, conversation_id).settings["stop"] == []


def test_cookies_carry_a_conversation_to_another_program(server: str, client: Client) -> None:
    _, conversation_id = client.predict("Hello", api_name="/chat")
    elsewhere = connect(server, dict(client.cookies))
    _, same = elsewhere.predict("Still me", [], conversation_id, api_name="/chat")
    assert same == conversation_id


def test_the_id_alone_opens_nothing(
    server: str, client: Client, owner: str, store: ConversationStore
) -> None:
    _, conversation_id = client.predict("My secret", api_name="/chat")
    with pytest.raises(AppError, match="conversation"):
        connect(server).predict("Let me in", [], conversation_id, api_name="/chat")
    assert len(store.load(owner, conversation_id).path) == 2


WRONG_NUMBERS = [
    ({"temperature": -1}, "temperature must be between 0 and 2, not -1"),
    ({"temperature": float("nan")}, "temperature must be a number, not nan"),
    ({"temperature": float("inf")}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"max_new_tokens": 10**9}, "max_new_tokens must be between 1 and 4096"),
    ({"max_new_tokens": 1.5}, "max_new_tokens must be a whole number"),
    ({"max_new_tokens": 0}, "max_new_tokens"),
    ({"top_p": 0}, "top_p must be above 0"),
    ({"top_p": [1]}, "top_p"),
    ({"repetition_penalty": 99}, "repetition_penalty"),
    ({"seed": -5}, "seed"),
    ({"top_k": -1}, "top_k must be between 0 and"),
    ({"top_k": 1.5}, "top_k must be a whole number"),
    ({"stop": 5}, "stop must be texts of 1 to 200 characters"),
    ({"stop": [""]}, "stop must be texts"),
    ({"stop": ["x" * 201]}, "stop must be texts"),
    ({"stop": list("abcde")}, "stop must be at most 4 texts, not 5"),
    ({"stop": {"#": 1}}, "stop must be texts"),
]
WRONG = [
    ({"message": ""}, "empty"),
    ({"message": " \n\t"}, "empty"),
    ({"message": 5}, "message must be text"),
    ({"message": "x" * 1001}, "1,000"),
    ({"pictures": "cat.png"}, "pictures must be a list"),
    ({"pictures": ["cat.png"]}, "not uploaded here"),
    ({"pictures": [{"path": "/etc/passwd"}]}, "not uploaded here"),
    ({"pictures": [{"path": "../../etc/passwd"}]}, "not uploaded here"),
    ({"conversation_id": "0" * 32}, "conversation"),
    ({"conversation_id": "\ud800"}, "conversation"),
    ({"conversation_id": {"$ne": None}}, "conversation_id must be text"),
    ({"template": "no such template"}, "template"),
]


@pytest.mark.parametrize(("arguments", "sentence"), [*WRONG_NUMBERS, *WRONG])
def test_a_wrong_call_is_refused_with_a_sentence(
    server: str,
    client: Client,
    owner: str,
    store: ConversationStore,
    arguments: dict[str, Any],
    sentence: str,
) -> None:
    before = len(store.list(owner))
    assert sentence in refusal(server, dict(client.cookies), **arguments)
    assert len(store.list(owner)) == before


FOREIGN = [
    "/etc/passwd",
    "file:///etc/passwd",
    "http://169.254.169.254/latest",
    "//169.254.169.254/",
    "https://example.org/cat.png",
    "data:image/png;base64,AAAA",
    "FILE:/etc/passwd",
]


@pytest.mark.parametrize("path", FOREIGN)
def test_a_file_that_was_not_uploaded_is_refused(server: str, client: Client, path: str) -> None:
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    answer = call(server, dict(client.cookies), pictures=[file])
    assert answer.status_code == 403
    assert "upload" in answer.json()["detail"].lower()


def test_too_many_pictures_are_refused(client: Client, draw: Callable[[str], Path]) -> None:
    pictures = [handle_file(str(draw(colour))) for colour in ("red", "green", "blue")]
    with pytest.raises(AppError, match="at most 2"):
        client.predict("Three", pictures, api_name="/chat")


def test_without_a_session_nothing_is_answered(server: str) -> None:
    assert "Allow cookies" in refusal(server, {})
    assert "not known here" in refusal(server, {COOKIE_NAME: "forged.forged"})


def call(server: str, cookies: dict[str, str], **arguments: Any) -> httpx2.Response:
    """A raw call, as no well-behaved client would send it: NaN and Infinity included."""
    names = ("message", "pictures", "conversation_id", "temperature", "top_p",
             "repetition_penalty", "max_new_tokens", "seed", "system", "template",
             "top_k", "stop", "adapter")  # fmt: skip
    data = [{"message": "Hello", **arguments}.get(name) for name in names]
    return httpx2.post(
        f"{server}gradio_api/call/chat",
        content=json.dumps({"data": data}),
        headers={"content-type": "application/json"},
        cookies=cookies,
    )


def refusal(server: str, cookies: dict[str, str], **arguments: Any) -> str:
    """The sentence that comes back in place of a reply."""
    event_id = call(server, cookies, **arguments).json()["event_id"]
    url = f"{server}gradio_api/call/chat/{event_id}"
    events = httpx2.get(url, cookies=cookies, timeout=30).text
    assert "event: error" in events, events
    return str(json.loads(events.rpartition("data: ")[2])["error"])
