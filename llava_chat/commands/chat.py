"""One conversation about pictures, without a browser.

The pictures go with the first message, and each message is answered in order.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from llava_chat.assembly import check_model, generation_settings, open_engine, picture_limits
from llava_chat.conversation import Conversation, Turn, check_message
from llava_chat.engine.base import (
    ChatEngine,
    Done,
    GenerationSettings,
    ModelInfo,
    whole_reply,
)
from llava_chat.engine.generation import MAX_STOPS
from llava_chat.errors import PictureError, SettingError
from llava_chat.image import Picture, read_picture
from llava_chat.progress import ProgressLine
from llava_chat.settings import (
    CONVERSATION_FIELDS,
    GENERATION_FIELDS,
    MODEL_FIELDS,
    PICTURE_FIELDS,
    Settings,
    add_arguments as add_settings,
    flag,
    load_settings,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Pictures, messages, and the settings that matter without a page."""
    parser.add_argument(
        "--image",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="PICTURE",
        help="JPEG, PNG, WebP or GIF files, shown with the first message",
    )
    parser.add_argument(
        "--message",
        nargs="+",
        action="extend",
        required=True,
        metavar="TEXT",
        help="what to say; one reply to each, in order",
    )
    parser.add_argument(
        "--stop",
        action="append",
        default=[],
        metavar="TEXT",
        help=f"a text that ends a reply and is not part of it; up to {MAX_STOPS} of them",
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object on stdout when all replies are there"
    )
    add_settings(parser, MODEL_FIELDS, "model")
    add_settings(parser, (*CONVERSATION_FIELDS, *GENERATION_FIELDS), "conversation")
    add_settings(parser, (*PICTURE_FIELDS, "max_message_chars"), "limits")


def run(args: argparse.Namespace) -> int:
    """Print the replies; as they come, or all together as JSON."""
    settings = load_settings(args)
    generation = stopping(generation_settings(settings), args.stop)
    messages = checked(args.message, len(args.image), settings)
    pictures = read_pictures(args.image, settings)
    with ProgressLine(settings.model, sys.stderr) as line:
        check_model(settings)
        engine = open_engine(for_one(settings), line)
    try:
        conversation = Conversation(system=settings.system)  # in the engine's template
        replies = converse(engine, conversation, pictures, messages, generation, show=not args.json)
        if args.json:
            print(json.dumps(as_json(engine.model, list(replies))))
        else:
            for reply in replies:
                explain(reply)
    finally:
        engine.close(grace_s=0)  # all replies are complete, or one failed or was interrupted
    return 0


def for_one(settings: Settings) -> Settings:
    """There is one conversation, so that a model in this process needs memory for no other."""
    here = settings.engine == "local" and settings.slots is None
    return settings.model_copy(update={"slots": 1}) if here else settings


def stopping(generation: GenerationSettings, stop: list[str]) -> GenerationSettings:
    """With the texts of --stop. Raises SettingError."""
    try:
        return replace(generation, stop=tuple(stop))
    except SettingError as error:
        raise SettingError(flag(error.field), error.problem) from error


def checked(messages: list[str], pictures: int, settings: Settings) -> list[str]:
    """The messages as they are kept, checked before a model is loaded. Raises MessageError."""
    longest = settings.max_message_chars
    return [
        check_message(message, max_chars=longest, has_picture=place == 0 and pictures > 0)
        for place, message in enumerate(messages)
    ]


def read_pictures(paths: list[Path], settings: Settings) -> tuple[Picture, ...]:
    """Read and check the files; what a person should know of one goes to stderr.

    Raises PictureError.
    """
    if len(paths) > settings.max_pictures:
        raise PictureError(
            f"{len(paths)} pictures are more than the {settings.max_pictures} of "
            f"{flag('max_pictures')}."
        )
    pictures = tuple(read_picture(path, picture_limits(settings)) for path in paths)
    for path, picture in zip(paths, pictures, strict=True):
        if picture.notice:
            print(f"{path}: {picture.notice}", file=sys.stderr)
    return pictures


def converse(
    engine: ChatEngine,
    conversation: Conversation,
    pictures: tuple[Picture, ...],
    messages: list[str],
    generation: GenerationSettings,
    *,
    show: bool,
) -> Iterator[Done]:
    """Say the messages one after the other; yield each reply when it is complete.

    show: write its words to stdout while they come. Raises the error of a reply that failed.
    """
    turns = conversation.turns
    for place, message in enumerate(messages):
        turns = (*turns, Turn("user", message, images=() if place else pictures))
        asked = Conversation(turns, system=conversation.system, template=conversation.template)
        reply = whole_reply(engine.stream(asked, generation), _say if show else None)
        if show:
            _say("\n")
        turns = (*turns, Turn("assistant", reply.text, token_ids=reply.known_ids))
        yield reply


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def explain(reply: Done) -> None:
    """What a reader of the words alone would not know, on stderr."""
    if reply.dropped_turns:
        print(
            f"(the oldest {reply.dropped_turns} turns were left out: context full)", file=sys.stderr
        )
    reasons = {
        "length": f"reached {flag('max_new_tokens')}",
        "deadline": f"reached {flag('deadline_s')}",
    }
    if reply.finish in reasons:
        print(f"(the reply was cut: {reasons[reply.finish]})", file=sys.stderr)


def as_json(model: ModelInfo, replies: list[Done]) -> dict[str, object]:
    """The contract's object; times in seconds."""
    return {
        "model": model.id,
        "template": model.template,
        "replies": [
            {
                "text": reply.text,
                "token_ids": list(reply.token_ids),
                "finish": reply.finish,
                "first_token_s": reply.first_token_s,
                "total_s": reply.total_s,
            }
            for reply in replies
        ],
    }
