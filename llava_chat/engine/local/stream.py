"""The reader's end of a reply, by the name that it had when this was the only engine."""

from llava_chat.engine.stream import Mailbox, ReplyStream

__all__ = ["Mailbox", "ReplyStream"]
