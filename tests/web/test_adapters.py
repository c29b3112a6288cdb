"""From corrections on the page to an adapter that answers there, without a restart."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from llava_chat import ASSETS
from llava_chat.__main__ import main
from llava_chat.assembly import open_engine
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore, Message
from llava_chat.web.chat.replies import Replies
from llava_chat.web.launch import launch
from tests.web.conftest import SECRET, OwnerOf

PICTURES = sorted((ASSETS / "examples").glob("*.png"))[:3]
ASKED = "What is in this picture?"
NEEDS_IT = "it asks the adapter that this file's first test trains: run them together"


@dataclass
class Page:
    """A running server, and somebody who uses it."""

    url: str
    data_dir: Path
    store: ConversationStore
    client: Client
    owner: str

    def ask(self, picture: Path, **more: Any) -> Message:
        _, chat = self.client.predict(
            message=ASKED, pictures=[handle_file(str(picture))], api_name="/chat", **more
        )
        return self.store.load(self.owner, chat).path[-1]

    def post(self, path: str, body: dict[str, Any]) -> None:
        url = f"{self.url}feedback/{path}"
        answer = httpx2.post(url, json=body, cookies=dict(self.client.cookies))
        assert answer.status_code == 200, answer.text

    def models(self) -> list[str]:
        listed = httpx2.get(f"{self.url}v1/models").json()["data"]
        return [card["id"] for card in listed]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, owner_of: OwnerOf) -> Iterator[Page]:
    data_dir = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as environment, socket.socket() as free:
        environment.setenv("GRADIO_TEMP_DIR", "")  # the server sets it; this takes it back
        free.bind(("127.0.0.1", 0))
        settings = Settings(
            device="cpu",
            port=free.getsockname()[1],
            secret=SECRET,
            data_dir=data_dir,
            temperature=0,
            max_new_tokens=48,
        )
        free.close()
        engine = SwitchingEngine(lambda name, report: open_engine(settings, report), "scenes")
        store = ConversationStore.open(settings.database, data_dir)
        blocks = launch(engine, store, Replies(), settings)
        engine.wait()
        url = f"http://127.0.0.1:{settings.port}/"
        client = Client(url, verbose=False)
        owner = owner_of(dict(client.cookies))
        assert owner is not None
        yield Page(url, data_dir, store, client, owner)
        assert blocks.server is not None
        blocks.server.force_exit = True
        blocks.close(verbose=False)
        store.close()
        engine.close(grace_s=0)


def test_corrections_become_an_adapter_that_answers(
    page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    assert page.models() == ["scenes"]
    page.post("consent", {"keep": True})
    before = [page.ask(picture) for picture in PICTURES]
    for reply in before:
        assert reply.record is not None and reply.record.adapter is None
        named = {"conversation": reply.conversation_id, "message": reply.id}
        page.post("correct", named | {"id": uuid4().hex, "text": "It is a drawing."})
    trained = ["train", "adapter", "--from-feedback", "--name", "crimson", "--device", "cpu",
               "--data-dir", str(page.data_dir), "--held-out", "0", "--steps", "8",
               "--keep-old", "0", "--batch-size", "2", "--pictures", "0", "--json"]  # fmt: skip
    assert main(trained) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["rows"]["replies"], report["rows"]["pairs"]) == (3, 3)
    folder = page.data_dir / "adapters" / "crimson"
    assert not [each.name for each in folder.iterdir() if each.name.startswith(".")]

    assert page.models() == ["scenes", "scenes:crimson"]
    after = page.ask(PICTURES[0], adapter="crimson")
    assert after.record is not None and after.record.adapter is not None
    assert after.record.adapter.startswith("crimson@")
    assert after.record.settings["adapter"] == "crimson"
    assert "drawing" in after.text and "drawing" not in before[0].text
    assert page.ask(PICTURES[0]).text == before[0].text
    assert main(["replay", after.id, "--data-dir", str(page.data_dir), "--device", "cpu"]) == 0
    exported = httpx2.get(
        f"{page.url}conversations/{after.conversation_id}/export.md",
        cookies=dict(page.client.cookies),
    )
    assert "crimson@" in exported.text.replace("\\", "")


def test_a_call_names_the_adapter_as_a_model(page: Page) -> None:
    if "scenes:crimson" not in page.models():
        pytest.skip(NEEDS_IT)
    url, asked = f"{page.url}v1/chat/completions", [{"role": "user", "content": "Hello"}]
    said = {}
    for name in ("scenes", "scenes:crimson", "scenes"):
        answer = httpx2.post(url, json={"model": name, "messages": asked, "max_tokens": 12})
        assert answer.json()["model"] == name
        said[name] = answer.json()["choices"][0]["message"]["content"]
    assert said["scenes"] != said["scenes:crimson"]
    assert httpx2.get(f"{page.url}v1/models/scenes:crimson").json()["parent"] == "scenes"
    refused = httpx2.post(url, json={"model": "scenes:../crimson", "messages": asked})
    assert refused.status_code == 404 and "does not exist here" in refused.text


def test_one_that_does_not_fit_is_not_offered(page: Page) -> None:
    folder = page.data_dir / "adapters" / "broken"
    folder.mkdir(parents=True)
    try:
        (folder / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING"}')
        assert "scenes:broken" not in page.models()
        for name, why in {"broken": "does not fit", "gone": "is not here"}.items():
            with pytest.raises(AppError, match=why):
                page.ask(PICTURES[0], adapter=name)
        with pytest.raises(AppError, match="adapter must be the name"):
            page.ask(PICTURES[0], adapter="../../etc")
    finally:
        shutil.rmtree(folder)


def test_a_chat_goes_on_with_its_adapter_until_another_is_named(page: Page) -> None:
    if "scenes:crimson" not in page.models():
        pytest.skip(NEEDS_IT)
    first = page.ask(PICTURES[1], adapter="crimson")
    chat = first.conversation_id
    used = []
    for more in ({}, {"adapter": ""}, {}):
        page.client.predict(message=ASKED, conversation_id=chat, api_name="/chat", **more)
        record = page.store.load(page.owner, chat).path[-1].record
        assert record is not None
        used.append((record.adapter or "").partition("@")[0])
    assert used == ["crimson", "", ""]
