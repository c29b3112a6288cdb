"""What text is accepted as a message. Imports errors only."""

from __future__ import annotations

from llava_chat.errors import MessageError

MAX_MESSAGE_CHARS = 20_000
"""Far above a question, and a fraction of a second to tokenise."""


def check_message(
    text: str, *, max_chars: int = MAX_MESSAGE_CHARS, has_picture: bool = False
) -> str:
    r"""The text as it is kept: well formed, otherwise untouched, markers and all.

    Raises MessageError when it is longer than `max_chars`, or blank without a picture.

    >>> check_message("What\ud800 does </s> mean?")
    'What\ufffd does </s> mean?'
    >>> check_message("  ")
    Traceback (most recent call last):
    llava_chat.errors.MessageError: The message is empty. Write something, or add a picture.
    """
    if len(text) > max_chars:
        raise MessageError(
            f"The message has {len(text):,} characters; at most {max_chars:,} are read. Shorten it."
        )
    if not has_picture and not text.strip():
        raise MessageError("The message is empty. Write something, or add a picture.")
    return well_formed(text)


def well_formed(text: str) -> str:
    r"""`text` as valid Unicode: surrogate pairs joined, lone surrogates replaced by U+FFFD.

    >>> well_formed("a\ud800b"), well_formed("\ud83e\udda9") == "\U0001f9a9"
    ('a\ufffdb', True)
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
