"""What is exported says the same as the conversation, and does nothing when it is opened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image

from llava_chat.conversation import conversation_from_json
from llava_chat.image import picture_from_image
from llava_chat.store import ConversationStore, ReplyRecord, StoredConversation
from llava_chat.web.export import file_name, to_json, to_markdown

OWNER = "o" * 64
RED = picture_from_image(Image.new("RGB", (30, 20), "red"))
RECORD = ReplyRecord(
    model_id="scenes",
    revision="abc",
    template="vicuna_v1",
    system=None,
    settings={"temperature": 0.0, "max_new_tokens": 8},
    prompt_tokens=9,
    generated_tokens=2,
    first_token_s=0.1,
    total_s=0.2,
    app_version="0.1.0",
    picture_ids=(RED.id,),
)


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[StoredConversation]:
    store = ConversationStore.open(f"sqlite:///{tmp_path / 'chat.db'}", tmp_path)
    empty = store.create(OWNER, title="Red & <b>: ../square", system="Be *brief*.", settings={})
    asked = store.add_user(OWNER, empty.id, "What is **this**?\n<image>", [RED])
    said = "A red square.\n\n![x](http://evil.test/x.png)\n\n```python\nif a < b: ...\n```"
    store.add_reply(OWNER, empty.id, asked.id, said, [5, 6], "stop", RECORD)
    store.add_user(OWNER, empty.id, "# Sure?", [])
    yield store.load(OWNER, empty.id)
    store.close()


def test_markdown_shows_what_was_typed_and_loads_nothing(stored: StoredConversation) -> None:
    text = to_markdown(stored)
    assert text.startswith("# Red &amp; &lt;b>: ../square\n")
    assert "What is \\*\\*this\\*\\*?\n&lt;image>\n" in text
    assert f"- picture `{RED.id}.png`" in text
    assert "[picture: x](http://evil.test/x.png)" in text and "![" not in text
    assert "```python\nif a < b: ...\n```" in text
    assert "\\# Sure?" in text


def test_json_is_a_conversation_that_the_command_line_reads(
    stored: StoredConversation,
) -> None:
    exported = json.loads(to_json(stored))
    read = conversation_from_json(exported, Path(), lambda path: {f"{RED.id}.png": RED}[path.name])
    said = [(turn.role, turn.text, turn.images) for turn in read.turns]
    kept = stored.conversation(lambda picture_id: {RED.id: RED}[picture_id])
    assert said == [(turn.role, turn.text, turn.images) for turn in kept.turns]
    assert read.system == "Be *brief*."


def test_json_keeps_what_made_a_reply(stored: StoredConversation) -> None:
    exported = json.loads(to_json(stored))
    assert exported["turns"][0]["images"] == [f"{RED.id}.png"]
    record = {**asdict(RECORD), "picture_ids": [RED.id]}
    assert exported["turns"][1]["about"] == {"finish": "stop", "record": record}
    assert exported["about"]["title"] == stored.title


def test_the_templates_own_system_message_stays_its_own(stored: StoredConversation) -> None:
    assert "system" not in json.loads(to_json(StoredConversation("i", "t", *_times(stored))))


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Red & <b>: ../square", "red-b-square"),
        ("", "conversation"),
        ("\u202e\x00CON", "con"),
        ("é" * 100, "e" * 60),
        ('a"\r\nSet-Cookie: x', "a-set-cookie-x"),
    ],
)
def test_the_files_name_is_safe(stored: StoredConversation, title: str, name: str) -> None:
    named = StoredConversation("i", title, *_times(stored))
    assert file_name(named, ".md") == f"{stored.created_at:%Y-%m-%d}-{name}.md"


def _times(stored: StoredConversation) -> tuple[datetime, datetime]:
    return stored.created_at, stored.updated_at
