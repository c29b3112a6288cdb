"""Start the chat page and answer until Ctrl-C or SIGTERM.

`python app.py` takes the same options.
"""

from __future__ import annotations

import argparse

from llava_chat.imported import kept_for_good
from llava_chat.settings import (
    ACCESS_FIELDS,
    CONVERSATION_FIELDS,
    GENERATION_FIELDS,
    LIMIT_FIELDS,
    MODEL_FIELDS,
    SERVER_FIELDS,
    SLOT_FIELDS,
    add_arguments as add_settings,
    load_settings,
    prepare_libraries,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every setting but the keys: other people on a machine can read its command lines."""
    add_settings(parser, SERVER_FIELDS, "page")
    add_settings(parser, ACCESS_FIELDS, "who may do what")
    add_settings(parser, MODEL_FIELDS, "model")
    add_settings(parser, SLOT_FIELDS, "the model in this process")
    add_settings(parser, (*CONVERSATION_FIELDS, *GENERATION_FIELDS), "what a new chat starts with")
    add_settings(parser, LIMIT_FIELDS, "limits")


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    settings = load_settings(args)  # a wrong option is told before the page's packages load
    prepare_libraries(settings.uploads)
    with kept_for_good():
        from llava_chat.web.serving import serve

    serve(settings)
    return 0
