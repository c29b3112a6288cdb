"""A server with small allowances: whoever asks too much gets a sentence, and loses nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from llava_chat.engine.switching import SwitchingEngine
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore
from llava_chat.web.allowances import SHARED_BY
from llava_chat.web.chat.replies import Replies
from llava_chat.web.launch import launch
from tests.web.conftest import SECRET, OwnerOf

MESSAGES, UPLOADS, KEY = 2, 2, "a key of the API"


@pytest.fixture
def server(
    engine: SwitchingEngine,
    store: ConversationStore,
    data_dir: Path,
    request: pytest.FixtureRequest,
) -> Iterator[str]:
    """The address of a server where one person may have little, behind one proxy."""
    options: dict[str, Any] = {"trusted_proxies": 1, **getattr(request, "param", {})}
    with pytest.MonkeyPatch.context() as environment, socket.socket() as free:
        for name in ("GRADIO_TEMP_DIR", "FORWARDED_ALLOW_IPS"):
            environment.setenv(name, "")
        free.bind(("127.0.0.1", 0))
        settings = Settings(
            port=free.getsockname()[1],
            secret=SECRET,
            data_dir=data_dir,
            temperature=0,
            max_new_tokens=4,
            messages_per_minute=MESSAGES,
            uploads_per_hour=UPLOADS,
            api_keys=(KEY,),
            **options,
        )
        free.close()
        replies = Replies()
        blocks = launch(engine, store, replies, settings)
        yield f"http://127.0.0.1:{settings.port}/"
        replies.close(grace_s=5)
        blocks.close(verbose=False)


def visitor(server: str, address: str, **headers: str) -> Client:
    """Somebody with a session of their own, at an address that the host's proxy tells."""
    return Client(server, verbose=False, headers={"x-forwarded-for": address, **headers})


def ask(client: Client) -> None:
    client.predict("Hello", [], api_name="/chat")


def test_a_message_too_many_is_a_sentence_and_no_conversation(
    server: str, store: ConversationStore, owner_of: OwnerOf
) -> None:
    client = visitor(server, "203.0.113.1")
    for _ in range(MESSAGES):
        ask(client)
    with pytest.raises(AppError, match=r"You have sent 2 messages in the last minute; the next"):
        ask(client)
    owner = owner_of(client.cookies)
    assert owner is not None and len(store.list(owner)) == MESSAGES
    ask(visitor(server, "203.0.113.1"))  # a neighbour
    ask(visitor(server, "203.0.113.1", authorization=f"Bearer {KEY}"))


def test_new_sessions_of_one_address_have_an_end(server: str) -> None:
    for number in range(SHARED_BY):
        client = visitor(server, f"6.6.6.{number}, 203.0.113.2")  # the left is anybody's word
        for _ in range(MESSAGES):
            ask(client)
    with pytest.raises(AppError, match="8 messages came from your network"):
        ask(visitor(server, "6.6.6.6, 203.0.113.2"))
    ask(visitor(server, "203.0.113.3"))
    with pytest.raises(AppError, match="8 messages came from your network"):
        ask(visitor(server, "203.0.113.2"))


def test_pictures_too_many_are_refused_while_they_come(
    server: str, draw: Callable[[str], Path]
) -> None:
    client = visitor(server, "203.0.113.4")
    picture = draw("red").read_bytes()

    def upload(pictures: int) -> httpx2.Response:
        files = [("files", (f"{number}.jpg", picture)) for number in range(pictures)]
        return httpx2.post(
            f"{server}gradio_api/upload",
            files=files,
            cookies=dict(client.cookies),
            headers={"x-forwarded-for": "203.0.113.4"},
        )

    assert upload(UPLOADS).status_code == 200
    refused = upload(1)
    assert refused.status_code == 429
    assert 3500 < int(refused.headers["retry-after"]) <= 3600
    assert refused.json()["detail"].startswith("You have uploaded 2 pictures in the last hour;")


@pytest.mark.parametrize("server", [{"trusted_proxies": 0}], indirect=True)
def test_nobody_is_believed_where_no_proxy_is_trusted(
    server: str, draw: Callable[[str], Path]
) -> None:
    picture = draw("red").read_bytes()
    answers = [
        httpx2.post(
            f"{server}gradio_api/upload",
            files={"files": ("red.jpg", picture)},
            headers={"x-forwarded-for": f"203.0.113.{number}"},
        ).status_code
        for number in range(UPLOADS + 1)
    ]
    assert answers == [200] * UPLOADS + [429]


def test_uploads_without_a_session_count_for_the_address(
    server: str, draw: Callable[[str], Path]
) -> None:
    def upload(address: str) -> int:
        return httpx2.post(
            f"{server}gradio_api/upload",
            files={"files": ("red.jpg", draw("red").read_bytes())},
            headers={"x-forwarded-for": address},
        ).status_code

    assert [upload("203.0.113.5") for _ in range(UPLOADS + 1)] == [200] * UPLOADS + [429]
    assert upload("203.0.113.6") == 200
