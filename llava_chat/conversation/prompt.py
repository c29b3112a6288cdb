"""The exact prompt of a conversation, walked once.

Prompt text, ids and labels all come from one walk, `segments`, so that they cannot disagree: here
the segments are joined, in `llava_chat.tokens` they are tokenised. Knows no tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from llava_chat.conversation.message import well_formed
from llava_chat.conversation.turns import Conversation, Turn
from llava_chat.errors import UsageError
from llava_chat.image import Picture
from llava_chat.templates import DEFAULT_TEMPLATE, PICTURE, Template, template_named

SegmentKind = Literal["template", "special", "system", "user", "assistant", "picture"]


@dataclass(frozen=True)
class Segment:
    """A stretch of the prompt from one source.

    kind: `template` and `special` (one token) are the template's own; `system`, `user` and
    `assistant` are people's words, in which nothing is a marker; `picture` stands as `<image>`.
    learned: a target in training: the assistant's words and the separator that ends them.
    token_ids: the ids that an assistant segment was generated as.
    """

    kind: SegmentKind
    text: str
    learned: bool = False
    picture: Picture | None = None
    token_ids: tuple[int, ...] | None = None


def template_of(conversation: Conversation, template_name: str | None = None) -> Template:
    """The template to use: the conversation's own, else `template_name` (the model's), else the
    default. Raises UsageError for an unknown name.

    >>> template_of(Conversation(template="mpt"), "vicuna_v1").name
    'mpt'
    """
    return template_named(conversation.template or template_name or DEFAULT_TEMPLATE)


def prompt(conversation: Conversation, template_name: str | None = None) -> str:
    r"""The exact text of the prompt. After a user's turn it ends with the cue for the reply.

    >>> prompt(Conversation((Turn("user", "Hi"),), system=""))
    'USER: Hi ASSISTANT:'
    >>> prompt(Conversation((Turn("user", "Hi"), Turn("assistant", "Yes?"))), "mistral_instruct")
    '[INST] Hi [/INST] Yes? </s>'
    """
    return "".join(each.text for each in segments(conversation, template_name))


def segments(
    conversation: Conversation, template_name: str | None = None, *, cue: bool = True
) -> tuple[Segment, ...]:
    """The prompt as segments in order. `cue`: end with the cue when the last turn is the user's.

    Raises UsageError when the turns do not alternate, beginning with the user's.

    >>> talk = Conversation((Turn("user", "Hi"),), system="Be kind.")
    >>> [(each.kind, each.text) for each in segments(talk)]
    [('system', 'Be kind.'), ('template', ' USER: '), ('user', 'Hi'), ('template', ' ASSISTANT:')]
    """
    template = template_of(conversation, template_name)
    for place, turn in enumerate(conversation.turns):
        if turn.role != ("user", "assistant")[place % 2]:
            raise UsageError(
                f"Turn {place + 1} is the {turn.role}'s, but turns alternate, the user's first."
            )
    return _merged(_walk(conversation, template, cue))


def _walk(conversation: Conversation, template: Template, cue: bool) -> Iterator[Segment]:
    yield from _own(template.open, template)
    if not template.system_inside:
        yield from _system(conversation, template)
    for place, turn in enumerate(conversation.turns):
        if turn.role == "assistant":
            yield from _assistant(turn, template)
            continue
        if place:
            yield from _own(template.again, template)
        yield from _user(conversation, place, template)
    if cue and conversation.turns and conversation.turns[-1].role == "user":
        yield from _own(template.cue, template)


def _system(conversation: Conversation, template: Template) -> Iterator[Segment]:
    own = conversation.system is None
    text = template.system if own else _words(conversation.system or "", template)
    if text and template.user_text:
        yield from _own(template.system_open, template)
        yield Segment("template" if own else "system", text)
        yield from _own(template.system_close, template)


def _user(conversation: Conversation, turn_place: int, template: Template) -> Iterator[Segment]:
    turn = conversation.turns[turn_place]
    yield from _own(template.user_open, template)
    if template.system_inside and turn_place == 0:
        yield from _system(conversation, template)
    words = _words(turn.text, template)
    for place, picture in enumerate(turn.images, start=1):
        yield from _own(template.picture_open, template)
        yield Segment("picture", PICTURE, picture=picture)
        if words or place < len(turn.images) or not template.trim:
            yield from _own(template.picture_close, template)
    if turn.images and template.acknowledged:
        acknowledged = f"{template.user_close}{template.assistant_open}{template.acknowledged}"
        yield from _own(f"{acknowledged}{template.end}{template.user_open}", template)
    if template.user_text:
        yield Segment("user", words)
    yield from _own(template.user_close, template)


def _assistant(turn: Turn, template: Template) -> Iterator[Segment]:
    yield from _own(template.assistant_open, template)
    words = _words(turn.text, template)
    yield Segment("assistant", words, learned=True, token_ids=turn.token_ids)
    yield from _own(template.end, template, learned=True)
    yield from _own(template.assistant_close, template)


def _own(text: str, template: Template, *, learned: bool = False) -> Iterator[Segment]:
    """The template's own text, with its special tokens apart."""
    if not template.special:
        yield Segment("template", text, learned)
        return
    pattern = "|".join(re.escape(each) for each in template.special)
    for part in re.split(f"({pattern})", text):
        yield Segment("special" if part in template.special else "template", part, learned)


def _words(text: str, template: Template) -> str:
    text = well_formed(text)
    return text.strip() if template.trim else text


def _merged(parts: Iterator[Segment]) -> tuple[Segment, ...]:
    """Without empty template text, and with neighbours of template text joined."""
    merged: list[Segment] = []
    for part in parts:
        if not part.text and part.kind in ("template", "special"):
            continue
        last = merged[-1] if merged else None
        if last and last.kind == part.kind == "template" and last.learned == part.learned:
            merged[-1] = replace(last, text=last.text + part.text)
        else:
            merged.append(part)
    return tuple(merged)
