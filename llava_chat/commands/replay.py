"""Make a reply again from its record, and say whether it is the same text.

ID is the reply's, as an export with --format jsonl, csv or parquet has it. The model is loaded as
the record names it; one that was a folder has to be given again with --model. A sampled reply is
made again with the seed that was drawn, one of an adapter that was chosen on the page with the
adapter of that name. The exit code is 1 when the text is another one.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace

from llava_chat.assembly import check_model, open_engine
from llava_chat.commands.chat import for_one
from llava_chat.commands.feedback import STORE_FIELDS, opened_store
from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, GenerationSettings, ModelInfo, whole_reply
from llava_chat.errors import CheckpointError, NotFoundError, UsageError
from llava_chat.progress import ProgressLine
from llava_chat.settings import Settings, add_arguments as add_settings, load_settings
from llava_chat.store import ConversationStore, Message, ReplyRecord, conversation_of

MODEL_FIELDS = ("model", "adapter", "adapters", "vision_tower", "quantize", "device", "dtype")
CUT_SHORT = ("cancelled", "deadline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The reply, and how to load its model."""
    parser.add_argument("reply", metavar="ID", help="the id of a reply")
    parser.add_argument("--json", action="store_true", help="both texts, for a program")
    add_settings(parser, STORE_FIELDS, "where it is kept")
    add_settings(parser, MODEL_FIELDS, "model, in place of the one that the record names")


def run(args: argparse.Namespace) -> int:
    """Print whether it is the same; 1 when it is not."""
    settings = load_settings(args)
    with opened_store(settings) as store:
        path = path_to(store, args.reply)
        record = replayable(path[-1])
        conversation = conversation_before(store, path, record)
    engine_settings = for_one(as_recorded(settings, record, vars(args)))
    generation = generation_of(record)
    if engine_settings.adapter is not None:  # it is on the model already
        generation = replace(generation, adapter=None)
    with ProgressLine(engine_settings.model, sys.stderr) as line:
        check_model(engine_settings)
        engine = open_engine(engine_settings, line)
    try:
        if generation.adapter is None:
            check_same_model(record, engine.model)
        made = whole_reply(engine.stream(conversation, generation))
        check_same_model(record, made.model or engine.model)
    finally:
        engine.close(grace_s=0)
    same = is_same(path[-1], made)
    if args.json:
        print(json.dumps({"same": same, "kept": path[-1].text, "made": made.text}))
    else:
        print("the same text" if same else f"another text:\n{made.text}")
    return 0 if same else 1


def path_to(store: ConversationStore, reply_id: str) -> tuple[Message, ...]:
    """The conversation up to a reply, whoever's it is. Raises NotFoundError."""
    found = conversation_of(store, reply_id)
    by_id = {message.id: message for message in found.messages} if found is not None else {}
    path: list[Message] = []
    step: str | None = reply_id
    while step is not None and step in by_id:
        path.append(by_id[step])
        step = by_id[step].parent_id
    if not path or path[0].role != "assistant":
        raise NotFoundError(f"There is no reply {reply_id[:64]!r} here, or its chat is not kept.")
    return tuple(reversed(path))


def replayable(reply: Message) -> ReplyRecord:
    """The record of a reply that can be made again. Raises UsageError."""
    if reply.record is None:
        raise UsageError(f"the reply {reply.id} has no record, so it cannot be made again")
    if reply.record.template == "remote":
        raise UsageError(
            f"the reply {reply.id} was made by a server ({reply.record.model_id}), whose weights "
            "and template the record does not have"
        )
    return reply.record


def conversation_before(
    store: ConversationStore, path: tuple[Message, ...], record: ReplyRecord
) -> Conversation:
    """What the model was asked: every turn but the reply, with the system message that it had."""
    turns = tuple(
        Turn(
            role=message.role,
            text=message.text,
            images=tuple(store.picture(picture_id) for picture_id in message.picture_ids),
            token_ids=message.token_ids,
        )
        for message in path[:-1]
    )
    return Conversation(turns, system=record.system, template=record.template)


def as_recorded(settings: Settings, record: ReplyRecord, given: dict[str, object]) -> Settings:
    """The settings that load the model of a record. Raises UsageError for a folder's name."""
    update: dict[str, object] = {"engine": "local", "engine_url": (), "template": record.template}
    if "model" not in given:
        update["model"] = _name(record.model_id, record.revision, "--model")
    if "adapter" not in given:
        id, _, revision = (record.adapter or "").rpartition("@")
        on_it = record.adapter and not record.settings.get("adapter")
        update["adapter"] = _name(id, revision, "--adapter") if on_it else None
    return settings.model_copy(update=update)


def _name(id: str, revision: str, flag: str) -> str:
    """What loads the model or adapter that a record names.

    >>> _name("llava-hf/llava-1.5-7b-hf", "6ceb2ed", "--model"), _name("scenes", "1f", "--model")
    ('llava-hf/llava-1.5-7b-hf@6ceb2ed', 'scenes')
    """
    if "/" in id:
        return f"{id}@{revision}"  # a Hub id, in the version that it had
    if id == "scenes" and flag == "--model":
        return id
    raise UsageError(
        f"the record names a folder, {id}, and not where it was: give its path with {flag}"
    )


def generation_of(record: ReplyRecord) -> GenerationSettings:
    """How the reply was sampled, with the seed that was drawn for it."""
    known = GenerationSettings.__dataclass_fields__
    settings = {name: value for name, value in record.settings.items() if name in known}
    return GenerationSettings(**settings | {"seed": record.seed})


def check_same_model(record: ReplyRecord, model: ModelInfo) -> None:
    """Raise CheckpointError when other weights were loaded than those that wrote the reply.

    An adapter may lie in a folder of another name by now: its revision tells.
    """
    wanted, found = (record.revision, record.adapter), (model.revision, model.adapter)
    if [_revision(each) for each in wanted] != [_revision(each) for each in found]:
        raise CheckpointError(
            f"The reply is of {record.model_id}, revision {record.revision}, adapter "
            f"{record.adapter}; what was loaded is {model.id}, revision {model.revision}, adapter "
            f"{model.adapter}."
        )


def _revision(of: str | None) -> str:
    return (of or "").rpartition("@")[2]


def is_same(reply: Message, made: Done) -> bool:
    """Whether the text is the same; of one that was cut short, as far as it went."""
    if reply.finish in CUT_SHORT:
        return made.text.startswith(reply.text)
    return made.text == reply.text
