"""Every option, once: its name, default, range and help; flags and variables follow from it.

A field `max_new_tokens` is the flag `--max-new-tokens` and the variable
`LLAVA_CHAT_MAX_NEW_TOKENS`; a flag wins over a variable. This package alone reads `os.environ`. It
imports the exception tree alone, and needs pydantic: what a GPU machine runs (model, engine,
training, evaluation) takes plain dataclasses instead and never imports it.
"""

from llava_chat.settings.environment import on_space, on_zero_gpu, prepare_libraries
from llava_chat.settings.fields import (
    ACCESS_FIELDS,
    CONVERSATION_FIELDS,
    GENERATION_FIELDS,
    LIMIT_FIELDS,
    MIN_KEY_CHARS,
    MODEL_FIELDS,
    PICTURE_FIELDS,
    PREFIX,
    SECRET_FIELDS,
    SERVER_FIELDS,
    SLOT_FIELDS,
    Settings,
)
from llava_chat.settings.flags import add_arguments, flag, load_settings, variables

__all__ = [
    "ACCESS_FIELDS",
    "CONVERSATION_FIELDS",
    "GENERATION_FIELDS",
    "LIMIT_FIELDS",
    "MIN_KEY_CHARS",
    "MODEL_FIELDS",
    "PICTURE_FIELDS",
    "PREFIX",
    "SECRET_FIELDS",
    "SERVER_FIELDS",
    "SLOT_FIELDS",
    "Settings",
    "add_arguments",
    "flag",
    "load_settings",
    "on_space",
    "on_zero_gpu",
    "prepare_libraries",
    "variables",
]
