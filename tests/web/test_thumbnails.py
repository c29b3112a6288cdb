"""The chat's pictures are small, bare, and shown to those who sent them."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from llava_chat.image import Picture, picture_from_image, thumbnail
from llava_chat.store import ConversationStore
from llava_chat.web.session import COOKIE_NAME
from llava_chat.web.thumbnails import LONGEST_SIDE_PX, Thumbnails

OwnerOf = Callable[[Mapping[str, str]], str]


def photograph(width: int, height: int) -> Picture:
    """Smooth light with grain, which JPEG finds as hard as a photograph."""
    grain = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    light = np.linspace(0, 255, width)[None, :, None] * np.linspace(0.3, 1, height)[:, None, None]
    return picture_from_image(Image.fromarray(np.clip(light + grain, 0, 255).astype(np.uint8)))


@pytest.fixture
def thumbnails(tmp_path: Path) -> Thumbnails:
    return Thumbnails(tmp_path / "thumbnails")


@pytest.mark.parametrize(
    ("size", "small"),
    [((2000, 1000), (512, 256)), ((100, 80), (100, 80)), ((1, 1), (1, 1)), ((1, 4000), (1, 512))],
)
def test_a_thumbnail_keeps_the_form_and_is_never_larger(
    thumbnails: Thumbnails, size: tuple[int, int], small: tuple[int, int]
) -> None:
    with Image.open(thumbnails.path(picture_from_image(Image.new("RGB", size, "red")))) as made:
        assert made.size == small
        assert not made.getexif() and "icc_profile" not in made.info


def test_a_photographs_thumbnail_is_small(thumbnails: Thumbnails) -> None:
    assert thumbnails.path(photograph(2000, 1500)).stat().st_size < 60_000


def test_a_view_is_made_once(thumbnails: Thumbnails) -> None:
    picture = photograph(700, 500)
    made = thumbnails.path(picture).stat().st_mtime_ns
    assert thumbnails.path(picture).stat().st_mtime_ns == made


def test_a_view_that_many_ask_for_at_once_is_made_once(
    thumbnails: Thumbnails, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, made = photograph(700, 500), []
    together = threading.Barrier(6)

    def counted(picture: Picture, side_px: int) -> bytes:
        made.append(side_px)
        return thumbnail(picture, side_px)

    def ask(_: int) -> Path:
        together.wait()
        return thumbnails.path(picture)

    monkeypatch.setattr("llava_chat.web.thumbnails.thumbnail", counted)
    with ThreadPoolExecutor(6) as requests:
        paths = set(requests.map(ask, range(6)))
    assert len(made) == len(paths) == 1


def test_views_go_when_their_picture_is_gone(thumbnails: Thumbnails) -> None:
    kept, gone = photograph(30, 20), photograph(20, 30)
    views = [thumbnails.path(one, view) for one in (kept, gone) for view in LONGEST_SIDE_PX]
    thumbnails.discard_unless(lambda picture_id: picture_id == kept.id)
    assert [view.exists() for view in views] == [True, True, False, False]


@pytest.fixture(scope="module")
def sender(server: str) -> Client:
    return Client(server, verbose=False)


@pytest.fixture(scope="module")
def sent(
    sender: Client, store: ConversationStore, owner_of: OwnerOf, draw: Callable[[str], Path]
) -> tuple[str, str]:
    """The conversation and the picture that the sender sent."""
    pictures = [handle_file(str(draw("orange")))]
    _, conversation_id = sender.predict("What is this?", pictures, api_name="/chat")
    stored = store.load(owner_of(sender.cookies), conversation_id)
    return conversation_id, stored.path[0].picture_ids[0]


def get(server: str, path: str, cookies: Mapping[str, str]) -> httpx2.Response:
    return httpx2.get(server + path, cookies=dict(cookies))


@pytest.mark.parametrize("view", ["", "/thumbnail"])
def test_the_sender_sees_the_picture_without_its_secrets(
    server: str, sender: Client, sent: tuple[str, str], view: str
) -> None:
    answer = get(server, f"pictures/{sent[1]}{view}", sender.cookies)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"].startswith("private")
    assert b"Secret Camera" not in answer.content
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == (80, 60) and not image.getexif()


@pytest.mark.parametrize(
    "path",
    [
        "pictures/{1}",
        "pictures/{1}/thumbnail",
        "conversations/{0}/export.md",
        "conversations/{0}/export.json",
    ],
)
def test_nobody_else_sees_anything(
    server: str, sender: Client, sent: tuple[str, str], path: str
) -> None:
    path = path.format(*sent)
    stranger = Client(server, verbose=False).cookies
    token, _, signature = sender.cookies[COOKIE_NAME].partition(".")
    forged = {COOKIE_NAME: f"{token}.{signature[::-1]}"}
    assert get(server, path, sender.cookies).status_code == 200
    for cookies in (stranger, forged, {}):
        answer = get(server, path, cookies)
        assert answer.status_code == 404
        assert "What is this?" not in answer.text


def test_a_view_that_cannot_be_made_is_told_and_tried_again(
    server: str, sender: Client, store: ConversationStore, sent: tuple[str, str], data_dir: Path
) -> None:
    kept = store.picture(sent[1]).source
    assert isinstance(kept, Path)
    content = kept.read_bytes()
    for view in data_dir.glob(f"thumbnails/*/{sent[1]}.jpg"):
        view.unlink()
    kept.write_bytes(content[:50])
    assert get(server, f"pictures/{sent[1]}", sender.cookies).status_code == 503
    kept.write_bytes(content)
    assert get(server, f"pictures/{sent[1]}", sender.cookies).status_code == 200


@pytest.mark.parametrize("name", ["0" * 64, "x", "..%2f..%2fchat.db", "%00", "é" * 64])
def test_no_name_leads_out_of_the_folder(server: str, sender: Client, name: str) -> None:
    assert get(server, f"pictures/{name}", sender.cookies).status_code == 404


def test_a_deleted_conversations_picture_is_gone(
    server: str, store: ConversationStore, owner_of: OwnerOf, draw: Callable[[str], Path]
) -> None:
    client = Client(server, verbose=False)
    pictures = [handle_file(str(draw("purple")))]
    _, conversation_id = client.predict("Look", pictures, api_name="/chat")
    owner = owner_of(client.cookies)
    picture_id = store.load(owner, conversation_id).path[0].picture_ids[0]
    assert get(server, f"pictures/{picture_id}", client.cookies).status_code == 200
    store.delete(owner, conversation_id)
    assert get(server, f"pictures/{picture_id}", client.cookies).status_code == 404
