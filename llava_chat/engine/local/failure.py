"""What somebody is told when their reply failed, and what only the log is.

Imports torch's view of memory through `model`, `engine.base` and errors.
"""

from __future__ import annotations

import logging

from llava_chat.engine.base import Failed
from llava_chat.errors import EngineError, LlavaChatError
from llava_chat.model.memory import out_of_memory

_NO_MEMORY = (
    "There was not enough memory for this reply. Please try again, with fewer pictures or a "
    "shorter conversation if it happens again."
)
_MODEL_FAILED = (
    "The model failed at this reply ({}). Please try again; what went wrong is in the server's log."
)
_PICTURE_GONE = "A picture of this conversation can no longer be read; please send it again."

_log = logging.getLogger(__name__)


def failed(error: Exception) -> Failed:
    """The sentence for an error; one that nobody foresaw is logged.

    It carries no traceback, whose frames would keep the reply's tensors for as long as the event.
    """
    if isinstance(error, LlavaChatError):
        return Failed(error.with_traceback(None))
    if isinstance(error, OSError):
        return Failed(EngineError(_PICTURE_GONE))
    if out_of_memory(error):
        _log.warning("out of memory: %s", error)
        return Failed(EngineError(_NO_MEMORY))
    _log.error("a reply failed", exc_info=error)
    return Failed(EngineError(_MODEL_FAILED.format(type(error).__name__)))
