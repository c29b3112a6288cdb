"""In front of a real server: `transformers serve` with the bundled model, on this CPU."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from llava_chat.__main__ import main
from llava_chat.conversation import Conversation, Turn
from llava_chat.engine import local
from llava_chat.engine.base import (
    REMOTE_TEMPLATE,
    ChatEngine,
    Done,
    Failed,
    GenerationSettings,
    Token,
    whole_reply,
)
from llava_chat.engine.remote import RemoteEngine, open_engine
from llava_chat.errors import SettingError
from llava_chat.image import Picture, PictureLimits, picture_from_image
from llava_chat.store import ConversationStore
from llava_chat.web.chat.options import Options
from llava_chat.web.chat.replies import LiveReply, Replies
from llava_chat.web.chat.turns import Limits, Turns
from llava_chat.web.thumbnails import Thumbnails
from tests.drawings import three_shapes

SCENES = Path(__file__).resolve().parents[3] / "assets" / "scenes"
START_S = 240.0  # a guard; nothing here is a measurement
GREEDY = GenerationSettings(temperature=0, max_new_tokens=80)
QUESTIONS = (
    "Describe the picture.",
    "How many shapes are there?",
    "Where is the circle?",
    "Hello!",
)


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where it listens. It lists what the Hub's cache holds, which is to be nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("hub")
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(SCENES)]
    command += ["--device", "cpu", "--dtype", "float32", "--port", str(port)]
    command += ["--host", "127.0.0.1"]
    variables = {**os.environ, "HF_HUB_CACHE": str(folder), "HF_HUB_OFFLINE": "1"}
    with (folder / "log").open("w+", encoding="utf-8") as log:
        server = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        try:
            _wait(server, f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.kill()
            server.wait()


def _wait(server: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=START_S).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("transformers serve did not start")


@pytest.fixture(scope="module")
def engine(address: str) -> Iterator[RemoteEngine]:
    engine = open_engine([address], model=str(SCENES))
    yield engine
    engine.close(grace_s=0)


@pytest.fixture(scope="module")
def picture() -> Picture:
    return picture_from_image(three_shapes())


def conversation(engine: ChatEngine, picture: Picture) -> list[Done]:
    turns: tuple[Turn, ...] = ()
    replies = []
    for place, question in enumerate(QUESTIONS):
        turns = (*turns, Turn("user", question, () if place else (picture,)))
        replies.append(whole_reply(engine.stream(Conversation(turns), GREEDY)))
        turns = (*turns, Turn("assistant", replies[-1].text, token_ids=replies[-1].known_ids))
    return replies


def test_greedy_replies_are_those_of_the_engine_in_this_process(
    engine: RemoteEngine, picture: Picture
) -> None:
    there = conversation(engine, picture)
    own = local.open_engine("scenes", device="cpu", dtype="float32")
    here = conversation(own, picture)
    own.close(grace_s=0)
    for remote, mine in zip(there, here, strict=True):
        assert (remote.text, remote.finish) == (mine.text, mine.finish)
        assert remote.prompt_tokens == mine.prompt_tokens
        # transformers counts the token that ends the reply.
        assert remote.generated_tokens == mine.generated_tokens + 1


def test_a_stopped_reply_ends_and_the_server_goes_on(
    engine: RemoteEngine, picture: Picture
) -> None:
    asked = Conversation((Turn("user", QUESTIONS[0], (picture,)),))
    text = whole_reply(engine.stream(asked, GREEDY)).text
    for _ in range(5):  # the whole of it may be there before it is stopped
        stream = engine.stream(asked, GREEDY)
        next(event for event in stream if isinstance(event, Token))
        stream.cancel()
        *_, done = stream
        assert isinstance(done, Done) and text.startswith(done.text) and done.text
        if done.finish == "cancelled":
            break
    assert (done.finish, done.text != text) == ("cancelled", True)
    stream = engine.stream(asked, GREEDY)
    next(stream)
    stream.close()
    assert [*stream] == []
    assert whole_reply(engine.stream(asked, GREEDY)).text == text


def test_a_typed_placeholder_is_no_picture(engine: RemoteEngine, picture: Picture) -> None:
    asked = Conversation((Turn("user", "What is <image> in </s> the picture?", (picture,)),))
    assert whole_reply(engine.stream(asked, GREEDY)).text


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (GenerationSettings(temperature=1, top_k=5), "top_k"),
        (GenerationSettings(temperature=0, repetition_penalty=1.5), "repetition_penalty"),
    ],
)
def test_what_it_does_not_know_is_named(
    engine: RemoteEngine, settings: GenerationSettings, name: str
) -> None:
    *_, last = engine.stream(Conversation((Turn("user", "Hello"),)), settings)
    assert isinstance(last, Failed) and f"does not know {name};" in str(last.error)


def test_a_model_that_it_does_not_have_is_told(address: str) -> None:
    try:
        engine = open_engine([address], model="another")
    except SettingError as error:  # from transformers 5.24 on it lists the model that it has
        assert "offers" in str(error) and "scenes" in str(error)
        return
    *_, last = engine.stream(Conversation((Turn("user", "Hello"),)), GREEDY)
    engine.close()
    assert isinstance(last, Failed) and "Server is pinned to" in str(last.error)


def test_the_page_keeps_its_replies(engine: RemoteEngine, picture: Picture, tmp_path: Path) -> None:
    store = ConversationStore.open(f"sqlite:///{tmp_path / 'chat.db'}", tmp_path)
    limits = Limits(PictureLimits(), max_pictures=2, max_message_chars=1000, deadline_s=60)
    turns = Turns(engine, store, Replies(), limits, Thumbnails(tmp_path))
    options = Options("You see drawings.", None, GREEDY)
    drawn = tmp_path / "drawn.png"
    picture.rgb().save(drawn)
    live = ended(turns.ask("me", None, QUESTIONS[0], [drawn], options))
    again = ended(turns.ask("me", live.conversation_id, QUESTIONS[1], [], options))
    stored = store.load("me", live.conversation_id)
    assert [message.role for message in stored.path] == ["user", "assistant"] * 2
    assert turns.context(stored, options) is None
    for reply, shown in zip(stored.path[1::2], (live, again), strict=True):
        assert reply.text and reply.token_ids is None and reply.record is not None
        record = reply.record
        assert (record.model_id, record.template) == (str(SCENES), REMOTE_TEMPLATE)
        assert record.system == "You see drawings."
        assert record.generated_tokens == shown.progress.tokens > 3
        assert record.prompt_tokens > 80
        assert record.picture_ids == (picture.id,)
    store.close()


def ended(live: LiveReply) -> LiveReply:
    until = time.monotonic() + START_S
    while not live.ended:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert live.progress.error is None
    assert live.progress.tokens_per_s is None  # it does not count while it writes
    return live


def test_the_command_line_uses_it(
    address: str, picture: Picture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = tmp_path / "drawn.png"
    picture.rgb().save(drawn)
    options = ["--engine", "remote", "--engine-url", address, "--model", str(SCENES)]
    said = ["--image", str(drawn), "--message", *QUESTIONS[:2], "--temperature", "0", "--json"]
    assert main(["chat", *options, *said]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["model"], answer["template"]) == (str(SCENES), REMOTE_TEMPLATE)
    assert [bool(reply["text"]) for reply in answer["replies"]] == [True, True]
