"""Many threads, and kill -9: whatever was acknowledged is there, once."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from llava_chat.image import Picture
from llava_chat.store import ConversationStore

ROUNDS = 5
WRITER = """
import sys
from pathlib import Path
from PIL import Image
from llava_chat.image import picture_from_image
from llava_chat.store import ConversationStore

store = ConversationStore.open(sys.argv[1], Path(sys.argv[2]))
chat = store.create("ann").id
print(chat, flush=True)
for number in range(100_000):
    picture = picture_from_image(Image.new("RGB", (8, 8), (number % 256, number // 256, 0)))
    asked = store.add_user("ann", chat, f"ask {number}", (picture,))
    print(asked.id, flush=True)
    reply = store.add_reply("ann", chat, asked.id, f"re {number}", (number,), "stop", None)
    print(reply.id, flush=True)
"""


def test_kill_9_loses_no_acknowledged_message(
    open_store: Callable[[], ConversationStore],
    database_url: str,
    database_file: Path,
    backend: str,
) -> None:
    draw = random.Random(20)
    command = [sys.executable, "-c", WRITER, database_url]
    for _ in range(ROUNDS):
        writer = subprocess.Popen(
            [*command, str(database_file.parent)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert writer.stdout is not None
        chat = writer.stdout.readline().strip()
        acknowledged = [writer.stdout.readline().strip() for _ in range(draw.randint(1, 30))]
        writer.kill()
        acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
        writer.wait()
        writer.stdout.close()

        store = open_store()
        path = store.load("ann", chat).path
        # One more may have been committed and not yet acknowledged.
        assert [message.id for message in path][: len(acknowledged)] == acknowledged
        assert len(path) - len(acknowledged) in (0, 1)
        numbers = [message.text.split()[1] for message in path]
        assert numbers == [str(place // 2) for place in range(len(path))]
        for message in path:
            for picture_id in message.picture_ids:
                assert store.picture(picture_id).rgb().size == (8, 8)
        store.close()
    if backend == "postgresql":
        return
    connection = sqlite3.connect(database_file)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


def test_threads_write_into_one_conversation_and_their_own(
    store: ConversationStore, red: Picture
) -> None:
    shared = store.create("ann").id
    first = store.add_user("ann", shared, "all of you", (red,))

    def talk(number: int) -> str:
        own = store.create(f"owner {number}").id
        for turn in range(10):
            asked = store.add_user(f"owner {number}", own, f"{number} {turn}", (red,))
            store.add_reply(f"owner {number}", own, asked.id, "re", (turn,), "stop", None)
            store.add_reply("ann", shared, first.id, f"{number} {turn}", (), "stop", None)
            assert len(store.load(f"owner {number}", own).path) == 2 * turn + 2
        return own

    with ThreadPoolExecutor(4) as threads:
        chats = list(threads.map(talk, range(4)))
    for number, own in enumerate(chats):
        path = store.load(f"owner {number}", own).path
        assert [message.text for message in path[::2]] == [f"{number} {turn}" for turn in range(10)]
    last = store.load("ann", shared).path[-1]
    assert (last.version, last.versions) == (40, 40)


def test_a_writer_and_a_reader_in_two_stores_see_each_other(
    open_store: Callable[[], ConversationStore],
) -> None:
    one, two = open_store(), open_store()
    chat = one.create("ann").id
    asked = two.add_user("ann", chat, "hello", ())
    one.add_reply("ann", chat, asked.id, "hi", (), "stop", None)
    assert [message.text for message in two.load("ann", chat).path] == ["hello", "hi"]


def test_pictures_survive_being_shared_and_deleted_at_once(
    store: ConversationStore, red: Picture
) -> None:
    def send_and_delete(number: int) -> None:
        for _ in range(10):
            chat = store.create(f"owner {number}").id
            store.add_user(f"owner {number}", chat, "look", (red,))
            store.load(f"owner {number}", chat).conversation(store.picture)
            store.delete(f"owner {number}", chat)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(send_and_delete, range(3)))
    chat = store.create("ann").id
    store.add_user("ann", chat, "look", (red,))
    assert store.picture(red.id) == red
