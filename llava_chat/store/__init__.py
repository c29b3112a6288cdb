"""What the app remembers: conversations with all versions, records of replies, pictures by hash.

SQLite by default, PostgreSQL by URL. Imports conversation, image and errors; no torch, no gradio.
"""

from llava_chat.store.conversations import ConversationStore, Place
from llava_chat.store.stored import (
    ConversationSummary,
    Message,
    ReplyRecord,
    StoredConversation,
    title_from,
)

__all__ = [
    "ConversationStore",
    "ConversationSummary",
    "Message",
    "Place",
    "ReplyRecord",
    "StoredConversation",
    "title_from",
]
