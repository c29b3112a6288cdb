"""What is kept with a reply, so that it can be made again and judged.

Imports the engine's interface, conversation and the store.
"""

from __future__ import annotations

from dataclasses import asdict

from llava_chat import __version__
from llava_chat.conversation import Conversation, fit, template_of
from llava_chat.engine.base import Done, GenerationSettings, ModelInfo
from llava_chat.store import ReplyRecord


def record_of(
    conversation: Conversation, generation: GenerationSettings, done: Done, model: ModelInfo
) -> ReplyRecord:
    """The record of a reply to a conversation. model: who wrote it."""
    template, system = model.template, conversation.system
    if model.local:
        used = template_of(conversation, model.template)
        template, system = used.name, used.system if system is None else system
    read = _without_oldest(conversation, done.dropped_turns)
    return ReplyRecord(
        model_id=model.id,
        revision=model.revision,
        template=template,
        system=system,
        settings=asdict(generation),
        prompt_tokens=done.prompt_tokens,
        generated_tokens=done.generated_tokens,
        first_token_s=done.first_token_s,
        total_s=done.total_s,
        app_version=__version__,
        seed=done.seed,
        picture_ids=tuple(p.id for turn in read.turns for p in turn.images),
        padded_boxes=model.padded_boxes,
        adapter=model.adapter,
    )


def _without_oldest(conversation: Conversation, dropped_turns: int) -> Conversation:
    """What the model read; the pictures of a turn that was left out may have moved to another."""
    kept_turns = len(conversation.turns) - dropped_turns
    return fit(conversation, kept_turns, 0, lambda shorter: len(shorter.turns)).conversation
