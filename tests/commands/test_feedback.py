"""`feedback` and `replay` from the command line, on a database that a page could have written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from llava_chat.__main__ import main
from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import ChatEngine, GenerationSettings, whole_reply
from llava_chat.engine.local import open_engine
from llava_chat.feedback import Correction, Feedback, Rating
from llava_chat.image import read_picture
from llava_chat.store import ConversationStore, Message
from llava_chat.web.chat.record import record_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(data_dir: Path) -> Iterator[ConversationStore]:
    data_dir.mkdir()
    store = ConversationStore.open(f"sqlite:///{data_dir}/llava_chat.db", data_dir)
    yield store
    store.close()


@pytest.fixture
def run(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--data-dir", str(data_dir)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


@pytest.fixture
def talk(store: ConversationStore) -> Message:
    """A reply that Ann disliked and corrected."""
    feedback = Feedback.of(store)
    feedback.decide("ann", True)
    asked = store.add_user("ann", None, "What is it?", ())
    chat = asked.conversation_id
    reply = store.add_reply("ann", chat, asked.id, "A cat.", (1,), "stop", None)
    feedback.rate("ann", chat, reply.id, Rating(uuid4().hex, False, ("other",)))
    feedback.correct("ann", chat, reply.id, Correction(uuid4().hex, "A dog."))
    return reply


def test_a_host_counts_and_exports(run: Run, talk: Message, tmp_path: Path) -> None:
    code, out, _ = run("feedback", "stats", "--json")
    told = json.loads(out)
    assert (code, told["replies"], told["disliked"], told["corrections"]) == (0, 1, 1, 1)
    assert told["reasons"]["other"] == 1
    assert "disliked: 1" in run("feedback", "stats")[1].splitlines()

    output = tmp_path / "export"
    arguments = ["feedback", "export", "--format", "llava", "--output", str(output)]
    code, out, _ = run(*arguments, "--dry-run")
    assert (code, out.startswith("it would be 1 llava records")) == (0, True)
    assert not output.exists()
    assert run(*arguments)[0] == 0
    (row,) = json.loads((output / "feedback.json").read_text(encoding="utf-8"))
    assert row["conversations"][1]["value"] == "A dog."
    code, _, err = run(*arguments)
    assert code == 2 and "is there already" in err


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        (("--liked", "no"), 1),
        (("--liked", "yes"), 0),
        (("--reason", "other"), 1),
        (("--reason", "style"), 0),
        (("--model", "scenes"), 0),
        (("--adapter", "x"), 0),
        (("--since", "2020-01-01"), 1),
        (("--since", "2999-01-01T00:00+02:00"), 0),
        (("--until", "2999-01-01"), 1),
    ],
)
def test_filters(wanted: tuple[str, ...], number: int, run: Run, talk: Message) -> None:
    code, out, _ = run("feedback", "stats", "--json", *wanted)
    assert (code, json.loads(out)["replies"]) == (0, number)


def test_an_export_is_imported_elsewhere(
    run: Run, talk: Message, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, other = tmp_path / "export", tmp_path / "other"
    assert run("feedback", "export", "--format", "jsonl", "--output", str(output))[0] == 0
    arguments = ["feedback", "import", str(output), "--database-url", f"sqlite:///{other}/new.db"]
    for told in ("1 rows, 1 of them new", "1 rows, 0 of them new"):
        assert main([*arguments, "--data-dir", str(other)]) == 0
        assert capsys.readouterr().out.strip() == told


def test_wrong_use_is_a_sentence(run: Run, tmp_path: Path, data_dir: Path) -> None:
    code, _, err = run("feedback", "stats")
    assert code == 2 and "there is no database" in err
    assert not data_dir.exists()
    code, _, err = run("feedback", "stats", "--since", "yesterday")
    assert code == 2 and "--since must be like 2026-01-31" in err
    code, _, err = run("replay", "0" * 32)
    assert code == 2 and "there is no database" in err


@pytest.fixture
def engine(tiny_checkpoint: Path) -> Iterator[ChatEngine]:
    engine = open_engine(str(tiny_checkpoint), device="cpu", slots=1)
    yield engine
    engine.close(grace_s=0)


def _converse(
    engine: ChatEngine, store: ConversationStore, picture: Path, settings: GenerationSettings
) -> list[Message]:
    """Two turns about a picture, kept as the page keeps them."""
    image = read_picture(picture)
    conversation = Conversation(system="Look.")
    chat, replies = None, list[Message]()
    for text, images in (("What is it?", (image,)), ("And now?", ())):
        asked = store.add_user("ann", chat, text, images)
        chat = asked.conversation_id
        turns = (*conversation.turns, Turn("user", text, images=images))
        conversation = replace(conversation, turns=turns)
        done = whole_reply(engine.stream(conversation, settings))
        record = record_of(conversation, settings, done, engine.model)
        replies.append(
            store.add_reply("ann", chat, asked.id, done.text, done.token_ids, done.finish, record)
        )
        said = Turn("assistant", done.text, token_ids=done.known_ids)
        conversation = replace(conversation, turns=(*turns, said))
    return replies


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_reply_is_made_again_from_its_record(
    temperature: float,
    run: Run,
    engine: ChatEngine,
    store: ConversationStore,
    picture: Path,
    tiny_checkpoint: Path,
) -> None:
    settings = GenerationSettings(temperature=temperature, max_new_tokens=12)
    for reply in _converse(engine, store, picture, settings):
        code, out, err = run("replay", reply.id, "--json", "--device", "cpu",
                             "--model", str(tiny_checkpoint))  # fmt: skip
        assert (code, json.loads(out)) == (
            0, {"same": True, "kept": reply.text, "made": reply.text}
        ), err  # fmt: skip


def test_another_text_and_what_cannot_be_made_again(
    run: Run,
    engine: ChatEngine,
    store: ConversationStore,
    picture: Path,
    tiny_checkpoint: Path,
) -> None:
    settings = GenerationSettings(temperature=0, max_new_tokens=6)
    reply = _converse(engine, store, picture, settings)[0]
    model = ("--device", "cpu", "--model", str(tiny_checkpoint))

    def kept(text: str, **changed: object) -> str:
        assert reply.record is not None and reply.parent_id is not None
        record = replace(reply.record, **changed)  # type: ignore[arg-type]
        chat = reply.conversation_id
        added = store.add_reply("ann", chat, reply.parent_id, text, None, "stop", record)
        return added.id

    code, out, _ = run("replay", kept("Something else."), *model)
    assert (code, out) == (1, f"another text:\n{reply.text}\n")
    code, _, err = run("replay", kept(reply.text, revision="other"), *model)
    assert code == 1 and "The reply is of tiny, revision other" in err
    code, _, err = run("replay", reply.id)
    assert code == 2 and "names a folder, tiny, and not where it was" in err
    code, _, err = run("replay", kept("x", template="remote"), *model)
    assert code == 2 and "was made by a server" in err
    for unknown in ("0" * 32, reply.parent_id or "", "'; --"):
        code, _, err = run("replay", unknown, *model)
        assert code == 1 and "There is no reply" in err
    store.keep("ann", reply.conversation_id, False)
    code, _, err = run("replay", reply.id, *model)
    assert code == 1 and "or its chat is not kept" in err
