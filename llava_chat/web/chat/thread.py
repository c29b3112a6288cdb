"""A conversation as HTML: its messages, their pictures, their versions, and what can be done.

Pure functions of stored values. Imports the store's values, the Markdown renderer and the page's
elements; neither gradio nor the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape
from types import MappingProxyType

from llava_chat.image import Picture
from llava_chat.store import KeptRanking, Message, Opinion, StoredConversation
from llava_chat.web.chat import judging
from llava_chat.web.chat.boxes import boxed_picture, boxes_in, unpadded
from llava_chat.web.chat.examples import Example
from llava_chat.web.elements import icon_button, plural
from llava_chat.web.icons import icon
from llava_chat.web.prose import prose

_NONE = Opinion()
_NOTHING_SAID: Mapping[str, Opinion] = MappingProxyType({})

RENDERED_REPLIES = 512  # of all conversations: some megabytes

_FINISH_NOTES = {
    "cancelled": "Stopped.",
    "length": "Cut at the longest reply that the settings allow.",
    "deadline": "Cut: the reply took longer than the server allows.",
}


def thread(
    conversation: StoredConversation,
    pictures: Mapping[str, Picture],
    *,
    replying: bool,
    padded_boxes: bool | None = False,
    opinions: Mapping[str, Opinion] = _NOTHING_SAID,
) -> str:
    """All messages on the conversation's active path.

    pictures: those of the path, by id. replying: a reply to the last message is being written.
    padded_boxes: how the model that is there counts boxes, for a reply whose record does not say:
    on the picture padded to a square, or None where there is no model. opinions: what was said of
    the replies, by id; nothing is said of those in a chat that is not kept.
    """
    path = conversation.path
    messages, seen = "", None
    for message in path:
        if message.role == "user":
            messages += _user(message, pictures)
            seen = newest_picture(message, pictures, seen)
        else:
            words = answered(message, seen, padded_boxes)
            opinion = opinions.get(message.id, _NONE) if conversation.kept else None
            of_versions = opinions.get(message.parent_id or "", _NONE).ranking
            is_last = message is path[-1]
            messages += _reply(message, words, opinion, of_versions, is_last=is_last)
    if path and path[-1].role == "user" and not replying:
        messages += _unanswered()
    mark = "" if conversation.kept else " data-unkept"
    return (
        f'<ol class="thread" data-conversation="{conversation.id}"{mark} '
        f'aria-label="{escape(conversation.title)}">{messages}</ol>'
    )


def welcome(examples: Sequence[Example]) -> str:
    """What a chat without messages shows: what this is, and a few ways to begin."""
    cards = "".join(
        '<li><button type="button" class="example" data-click="act" data-action="example" '
        f'data-value="{index}"><img src="{example.url}" alt="{escape(example.alt)}" '
        f'width="96" height="96"><span>{escape(example.question)}</span></button></li>'
        for index, example in enumerate(examples)
    )
    listed = f'<ul class="examples" aria-label="Examples">{cards}</ul>' if cards else ""
    return (
        '<div class="thread welcome" data-conversation="">'
        f'<div class="hero">{icon("mark")}<h1>Show me a picture.</h1>'
        "<p>Drop one anywhere, paste it, or add it below. Then ask.</p></div>"
        f"{listed}</div>"
    )


def said(message: Message, pictures: Mapping[str, Picture], tools: str) -> str:
    """What the person said, with its pictures. tools: the controls below it."""
    thumbs = "".join(
        picture(picture_id, index, len(message.picture_ids))
        for index, picture_id in enumerate(message.picture_ids, start=1)
    )
    shown = f'<div class="pictures">{thumbs}</div>' if thumbs else ""
    told = [pictures[i].notice for i in message.picture_ids if i in pictures]
    notes = "".join(_note(notice) for notice in told if notice)
    return (
        f'<li class="message user" data-id="{message.id}" aria-label="You">{shown}{notes}'
        f'<div class="text" data-raw="{escape(message.text)}">{escape(message.text)}</div>'
        f'<div class="tools">{tools}</div></li>'
    )


def answered(message: Message, seen: Picture | None, padded_boxes: bool | None) -> str:
    """The words of a reply, what they point at, and how they ended.

    seen: the picture that they speak of. padded_boxes: as `thread` has it.
    """
    known = message.record.padded_boxes if message.record else None
    padded = padded_boxes if known is None else known
    pointed = "" if padded is None else _pointed_at(message.text, seen, padded)
    note = _FINISH_NOTES.get(message.finish or "", "")
    return (
        f'<div class="text md" data-raw="{escape(message.text)}">{_prose(message.text)}'
        f"</div>{pointed}{_note(note) if note else ''}"
    )


def newest_picture(
    message: Message, pictures: Mapping[str, Picture], before: Picture | None
) -> Picture | None:
    """The picture that is spoken of after a message of the person's."""
    return pictures.get(message.picture_ids[-1], before) if message.picture_ids else before


def _user(message: Message, pictures: Mapping[str, Picture]) -> str:
    tools = (
        _versions(message)
        + icon_button("edit", "Edit and ask again", "edit")
        + icon_button("copy", "Copy the message", "copy")
    )
    return said(message, pictures, tools)


def _pointed_at(text: str, picture: Picture | None, padded: bool) -> str:
    """The picture in question with the boxes that a reply names, '' where it names none."""
    boxes = boxes_in(text) if picture is not None else ()
    if picture is None or not boxes:
        return ""
    if padded:
        boxes = tuple(unpadded(box, picture.width, picture.height) for box in boxes)
    return boxed_picture(picture, boxes)


def _reply(
    message: Message,
    words: str,
    opinion: Opinion | None,
    ranking: KeptRanking | None,
    *,
    is_last: bool,
) -> str:
    tools = _versions(message) + icon_button("copy", "Copy the reply", "copy")
    corrected = said = ""
    if opinion is not None:
        tools += judging.thumbs(opinion) + judging.rank(message, ranking)
        corrected = judging.correction(opinion)
        said = f' data-feedback="{judging.said(opinion)}"'
    if is_last:
        tools += icon_button("again", "Write another reply", "act", action="regenerate")
        tools += icon_button("undo", "Take back the last question", "act", action="undo")
    return (
        f'<li class="message reply" data-id="{message.id}"{said} aria-label="Reply">'
        f'{words}{corrected}<div class="tools">{tools}{facts(message)}</div></li>'
    )


@lru_cache(maxsize=RENDERED_REPLIES)
def _prose(text: str) -> str:
    """A reply's Markdown: every turn shows the earlier replies again, and they do not change."""
    return prose(text)


def _unanswered() -> str:
    return (
        '<li class="message reply"><p class="note">This message got no reply.</p>'
        '<button type="button" class="button retry" data-click="act" data-action="regenerate">'
        f"{icon('again')}<span>Try again</span></button></li>"
    )


def picture(picture_id: str, index: int, count: int) -> str:
    """A thumbnail that enlarges."""
    name = "Your picture" if count == 1 else f"Your picture {index} of {count}"
    return (
        f'<button type="button" class="thumb" data-click="enlarge" aria-label="Enlarge: {name}" '
        f'data-full="pictures/{picture_id}"><img src="pictures/{picture_id}/thumbnail" '
        f'alt="{name}"></button>'
    )


def _versions(message: Message) -> str:
    """Arrows to the earlier and later versions of a message, when there is more than one."""
    if message.versions < 2:
        return ""
    ids, here = message.sibling_ids, message.version - 1
    before = ids[here - 1] if here else None
    after = ids[here + 1] if here + 1 < len(ids) else None
    return (
        '<span class="versions" role="group" aria-label="Versions">'
        + _arrow("left", "Earlier version", before)
        + f"<span>{message.version}/{message.versions}</span>"
        + _arrow("right", "Later version", after)
        + "</span>"
    )


def _arrow(picture: str, label: str, target: str | None) -> str:
    return icon_button(
        picture, label, "act", disabled=target is None, action="choose", message=target
    )


def facts(message: Message) -> str:
    """Which model wrote the reply and how fast, for those who look."""
    record = message.record
    if record is None:
        return ""
    writing_s = record.total_s - (record.first_token_s or record.total_s)
    known = [record.model_id]
    if record.adapter is not None:
        known.append(adapter_name(record.adapter))
    known += [plural(record.generated_tokens, "token"), f"{record.total_s:.1f} s"]
    if writing_s > 0 and record.generated_tokens > 1:
        known.append(f"{(record.generated_tokens - 1) / writing_s:.0f} tokens/s")
    return f'<span class="facts">{escape(" · ".join(known))}</span>'


def adapter_name(recorded: str) -> str:
    """What people call an adapter that a record has with its revision.

    >>> adapter_name("crimson@1f"), adapter_name("owner/lora@main")
    ('crimson', 'owner/lora')
    """
    return recorded.rpartition("@")[0] or recorded


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'
