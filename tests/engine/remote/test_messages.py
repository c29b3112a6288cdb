"""What a server is sent: the same bytes at every turn, the pictures' own pixels, nothing forged."""

from __future__ import annotations

import base64
import io
import json
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, Failed, GenerationSettings, whole_reply
from llava_chat.engine.remote.messages import Messages
from llava_chat.image import Picture, picture_from_image
from llava_chat.store.picture_files import PictureFiles
from tests.engine.remote.conftest import MakeEngine, MakeServer
from tests.engine.remote.server import Heard, Wire

GREEDY = GenerationSettings(temperature=0, max_new_tokens=20)


def drawn(colour: str, size: tuple[int, int] = (40, 30)) -> Picture:
    return picture_from_image(Image.new("RGB", size, colour))


def from_disk(picture: Picture, folder: Path) -> Picture:
    """The picture as a conversation that was kept brings it."""
    files = PictureFiles(folder)
    files.keep(picture)
    return Picture(picture.id, picture.width, picture.height, files.path(picture.id))


async def odd(heard: Heard, wire: Wire) -> None:
    """A reply that nobody would write down the same way again."""
    await wire.head()
    await wire.pieces("  É\n", "\u2028 \U0001f9a9", " <image></s>\t")
    await wire.end()


def test_each_turn_begins_with_the_bytes_of_the_one_before(
    make_server: MakeServer, make_engine: MakeEngine, tmp_path: Path
) -> None:
    server = make_server(odd)
    engine = make_engine(server)
    red, blue = drawn("red"), drawn("blue")
    turns: tuple[Turn, ...] = ()
    for place, (text, pictures) in enumerate(
        [("Was ist das? ä", (red,)), ("And?", ()), ("This?", (blue, red)), ("So?", ())]
    ):
        turns = (*turns, Turn("user", text, pictures))
        conversation = Conversation(turns, system="Be brief.")
        done = whole_reply(engine.stream(conversation, GREEDY))
        turns = (*turns, Turn("assistant", done.text))
        if place == 1:  # as after a restart: kept pictures, and a cache that is empty
            kept = (from_disk(red, tmp_path),)
            turns = (Turn("user", turns[0].text, kept), *turns[1:])
            engine = make_engine(server)
    messages = [heard.body.partition(b'"messages":[')[2] for heard in server.heard]
    assert len(messages) == 4
    for earlier, later in pairwise(messages):
        assert earlier.endswith(b"]}")
        assert later.startswith(earlier[: -len(b"]}")] + b",")
    last = server.heard[-1].fields["messages"]
    assert last[0] == {"role": "system", "content": "Be brief."}
    assert last[2]["content"] == "  É\n\u2028 \U0001f9a9 <image></s>\t"


def test_a_picture_comes_before_its_words_with_its_own_pixels() -> None:
    red, blue = drawn("red"), drawn("blue", (3, 5))
    (message,) = json.loads(
        b"[" + Messages().encoded(Conversation((Turn("user", "Which?", (red, blue)),))) + b"]"
    )
    *pictures, words = message["content"]
    assert words == {"type": "text", "text": "Which?"}
    for part, picture in zip(pictures, (red, blue), strict=True):
        kind, _, data = part["image_url"]["url"].partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(data)), formats=["PNG"]) as image:
            assert picture_from_image(image) == picture


def test_words_alone_are_a_plain_text_and_no_words_are_none() -> None:
    talk = Conversation(
        (Turn("user", "", (drawn("red"),)), Turn("assistant", "Red."), Turn("user", "?"))
    )
    first, _, last = json.loads(b"[" + Messages().encoded(talk) + b"]")
    assert [part["type"] for part in first["content"]] == ["image_url"]
    assert last == {"role": "user", "content": "?"}


@pytest.mark.parametrize("typed", ["<image>", "</s>", "<|im_start|>system", "[INST] <s>"])
def test_what_a_person_types_is_no_token(typed: str) -> None:
    talk = Conversation((Turn("user", typed * 3),), system=typed)
    for message in json.loads(b"[" + Messages().encoded(talk) + b"]"):
        text = message["content"]
        assert not any(token in text for token in ("<image>", "</s>", "<|im_start|>", "<s>"))
        assert text.replace("\u2060", "") in (typed, typed * 3)


def test_encoded_pictures_take_bounded_memory() -> None:
    messages = Messages(cache_bytes=1000)
    talk = [Conversation((Turn("user", "?", (drawn(c, (90, 90)),)),)) for c in ("red", "blue")]
    encoded = [messages.encoded(one) for one in talk * 3]
    assert encoded[:2] * 3 == encoded
    assert sum(len(part) for part in messages._parts.values()) <= 1000


def test_a_picture_that_is_gone_fails_the_reply(
    make_server: MakeServer, make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine(make_server())
    lost = Picture("0" * 64, 1, 1, tmp_path / "lost.png")
    (event,) = engine.stream(Conversation((Turn("user", "?", (lost,)),)), GREEDY)
    assert isinstance(event, Failed) and "send it again" in str(event.error)


def test_only_what_differs_from_none_is_asked_for(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    server = make_server()
    engine = make_engine(server)
    asked = Conversation((Turn("user", "Hi"),))
    for settings in (
        GREEDY,
        GenerationSettings(
            temperature=1, top_p=0.9, top_k=5, repetition_penalty=1.5, seed=7, stop=("a", "b")
        ),
    ):
        done = whole_reply(engine.stream(asked, settings))
        assert isinstance(done, Done) and done.seed == settings.seed
    common = {"model": "tiny", "stream": True, "stream_options": {"include_usage": True}}
    plain, full = (heard.fields for heard in server.heard)
    assert plain.pop("messages") == full.pop("messages") == [{"role": "user", "content": "Hi"}]
    assert plain == {**common, "temperature": 0, "max_tokens": 20}
    assert full == {
        **common, "temperature": 1, "top_p": 0.9, "top_k": 5, "repetition_penalty": 1.5,
        "seed": 7, "stop": ["a", "b"], "max_tokens": 512,
    }  # fmt: skip


def test_the_seed_of_a_varied_reply_is_the_one_that_is_told(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    server = make_server()
    done = whole_reply(
        make_engine(server).stream(Conversation((Turn("user", "Hi"),)), GenerationSettings())
    )
    assert done.seed is not None and server.heard[0].fields["seed"] == done.seed
