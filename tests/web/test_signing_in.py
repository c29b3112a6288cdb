"""Who has signed in is who they say on every route, and nobody else gets anything."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from itsdangerous import TimestampSigner
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.testclient import TestClient

from llava_chat.accounts import AccountFile, Role
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import LlavaChatError, RoleError
from llava_chat.image import picture_from_image
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore
from llava_chat.web.chat.replies import Replies
from llava_chat.web.launch import launch
from llava_chat.web.people import People
from llava_chat.web.roles import Roles, role_routes
from llava_chat.web.session import COOKIE_NAME, SessionError, Sessions
from llava_chat.web.signing_in import TRIES_PER_MINUTE, ByHuggingFace, sign_in_of
from tests.web.conftest import SECRET

PASSWORD = "correct horse battery"
SESSIONS = Sessions(b"a key that only this test knows..")


@pytest.fixture(scope="module")
def accounts(data_dir: Path) -> AccountFile:
    accounts = AccountFile(data_dir / "people.json")
    accounts.put("ada", "annotator", PASSWORD)
    accounts.put("grace", "lead", PASSWORD)
    return accounts


@pytest.fixture(scope="module")
def address(
    engine: SwitchingEngine, store: ConversationStore, data_dir: Path, accounts: AccountFile
) -> Iterator[str]:
    """A server whose people sign in by name and password."""
    with pytest.MonkeyPatch.context() as environment, socket.socket() as free:
        environment.setenv("GRADIO_TEMP_DIR", "")
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        settings = Settings(
            port=port, secret=SECRET, data_dir=data_dir, sign_in="people", hosts=("ada",)
        )
        replies = Replies()
        blocks = launch(engine, store, replies, settings)
        yield f"http://127.0.0.1:{port}/"
        replies.close(grace_s=5)
        blocks.close(verbose=False)


pytestmark = pytest.mark.filterwarnings("default")  # Gradio's own code warns in its threads


@contextmanager
def browser(address: str, name: str = "") -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=address) as client:
        client.get("/")
        if name:
            answer = client.post("/login", data={"username": name, "password": PASSWORD})
            assert answer.status_code == 200
        yield client


def picture() -> Any:
    return picture_from_image(Image.new("RGB", (30, 20), "red"))


def test_who_has_not_signed_in_gets_nothing(address: str) -> None:
    with browser(address) as client:
        assert client.get("/who").json() == {"sign_in": "people", "name": "", "role": None}
        assert client.get("/feedback/mine.json").status_code == 401
        assert client.get("/gradio_api/info").status_code == 401
        assert client.get("/v1/models").status_code == 401
        assert client.get("/healthz").status_code == 200


def test_what_somebody_has_is_theirs_in_every_browser(
    address: str, store: ConversationStore
) -> None:
    owner = Sessions(SECRET.encode()).owner_of_name("people", "ada")
    asked = store.add_user(owner, None, "What is it?", [picture()])
    place = f"/conversations/{asked.conversation_id}/export.json"
    image = f"/pictures/{picture().id}"
    for _ in range(2):
        with browser(address, "ada") as client:
            assert client.get(place).status_code == 200
            assert client.get(image).status_code == 200
            mine = client.get("/feedback/mine.json").json()
            assert [one["id"] for one in mine["conversations"]] == [asked.conversation_id]
    for name in ("grace", ""):
        with browser(address, name) as client:
            assert client.get(place).status_code == 404
            assert client.get(image).status_code == 404


def test_a_role_is_that_of_the_file_or_a_higher_one_of_the_settings(address: str) -> None:
    for name, role in (("ada", "host"), ("grace", "lead")):
        with browser(address, name) as client:
            told = client.get("/who").json()
        assert told == {"sign_in": "people", "name": name, "role": role}


def test_who_is_taken_out_of_the_file_is_out_at_once(address: str, accounts: AccountFile) -> None:
    accounts.put("eve", "annotator", PASSWORD)
    with browser(address, "eve") as client:
        assert client.get("/who").json()["role"] == "annotator"
        accounts.remove("eve")
        assert client.get("/who").json()["role"] is None
        assert client.get("/feedback/mine.json").status_code == 401


def test_a_password_cannot_be_found_by_trying(address: str) -> None:
    with browser(address) as client:
        wrong = {"username": "ada", "password": "a wrong password"}
        codes = [client.post("/login", data=wrong).status_code for _ in range(TRIES_PER_MINUTE + 1)]
        assert codes[-1] == 429
        assert set(codes) <= {400, 429}
        foreign = client.post("/login", data=wrong, headers={"sec-fetch-site": "cross-site"})
        assert foreign.status_code == 403
        assert client.post("/login", content=b"x" * 20_000).status_code == 413


def test_a_page_where_nobody_could_sign_in_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(LlavaChatError, match="people add"):
        sign_in_of(Settings(sign_in="people", data_dir=tmp_path))


def client_of(settings: Settings, people: People, roles: Roles | None = None) -> TestClient:
    app = Starlette(
        routes=role_routes(roles or Roles(people, settings), people),
        middleware=[Middleware(SessionMiddleware, secret_key="oauth")],
    )
    return TestClient(app, cookies={COOKIE_NAME: SESSIONS.new_cookie()})


@pytest.mark.parametrize(("host", "role"), [("127.0.0.1", "host"), ("0.0.0.0", "annotator")])
def test_without_a_sign_in_it_depends_on_who_can_reach_the_page(host: str, role: Role) -> None:
    client = client_of(Settings(host=host), People(SESSIONS))
    assert client.get("/who").json() == {"sign_in": "none", "name": "", "role": role}
    assert TestClient(client.app).get("/who").json()["role"] is None


def oauth_cookie(name: str, expires_in_s: float) -> str:
    """What Gradio's OAuth routes leave in a browser, signed as starlette signs it."""
    info = {"userinfo": {"preferred_username": name}, "expires_at": time.time() + expires_in_s}
    text = base64.b64encode(json.dumps({"oauth_info": info}).encode())
    return TimestampSigner("oauth").sign(text).decode()


def test_an_account_of_hugging_face_is_the_same_person_everywhere() -> None:
    settings = Settings(sign_in="hugging-face", leads=("ada",))
    people = People(SESSIONS, sign_in=sign_in_of(settings))
    client = client_of(settings, people)
    assert client.get("/who").json() == {"sign_in": "hugging-face", "name": "", "role": None}
    client.cookies.set("session", oauth_cookie("ada", 60))
    assert client.get("/who").json()["role"] == "lead"
    client.cookies.set("session", oauth_cookie("grace", 60))
    assert client.get("/who").json() == {
        "sign_in": "hugging-face",
        "name": "grace",
        "role": "annotator",
    }
    client.cookies.set("session", oauth_cookie("ada", -60))
    assert client.get("/who").json()["role"] is None
    assert SESSIONS.owner_of_name("hugging-face", "ada") != SESSIONS.owner_of_name("people", "ada")


class Asked:
    """A request of somebody, as far as a sign-in reads it."""

    def __init__(self, name: str | None) -> None:
        told = {"userinfo": {"preferred_username": name}, "expires_at": time.time() + 60}
        self.scope = {"session": {"oauth_info": told} if name else {}}
        self.cookies = {COOKIE_NAME: SESSIONS.new_cookie()}


def test_what_is_for_leads_is_refused_to_others() -> None:
    settings = Settings(sign_in="hugging-face", leads=("ada",), host="0.0.0.0")
    people = People(SESSIONS, sign_in=ByHuggingFace())
    roles = Roles(people, settings)
    assert roles.member_of(Asked("ada"), "lead").name == "ada"
    with pytest.raises(RoleError, match="for leads"):
        roles.member_of(Asked("grace"), "lead")
    with pytest.raises(RoleError, match="for hosts"):
        roles.member_of(Asked("ada"), "host")
    with pytest.raises(SessionError):
        roles.member_of(Asked(None))
    assert people.owner_of(Asked(None)) != people.owner_of(Asked(None))  # who only chats may


def test_names_tell_nothing_about_owners() -> None:
    owner = SESSIONS.owner_of_name("people", "ada")
    assert len(owner) == 64
    assert owner != hashlib.sha256(b"ada").hexdigest()
    assert owner != Sessions(b"another key, of another server..").owner_of_name("people", "ada")
