"""Conversations as data, the exact prompt they make, and what is left out of a full context.

    turns -> prompt (templates) -> text here, ids in llava_chat.tokens
          -> fitting: the oldest exchanges go first
    document, message: where conversations and messages come in and are checked

Imports templates, image and errors only: no tokenizer, no model.
"""

from llava_chat.conversation.document import conversation_from_json
from llava_chat.conversation.fitting import Fitted, fit
from llava_chat.conversation.message import MAX_MESSAGE_CHARS, check_message, well_formed
from llava_chat.conversation.prompt import Segment, prompt, segments, template_of
from llava_chat.conversation.turns import Conversation, Role, Turn
from llava_chat.templates import (
    DEFAULT_TEMPLATE,
    PICTURE,
    TEMPLATES,
    Template,
    template_named,
)

__all__ = [
    "DEFAULT_TEMPLATE",
    "MAX_MESSAGE_CHARS",
    "PICTURE",
    "TEMPLATES",
    "Conversation",
    "Fitted",
    "Role",
    "Segment",
    "Template",
    "Turn",
    "check_message",
    "conversation_from_json",
    "fit",
    "prompt",
    "segments",
    "template_named",
    "template_of",
    "well_formed",
]
