"""What the app remembers: conversations with all versions, records of replies, pictures by hash.

SQLite by default; another database by its SQLAlchemy URL and driver, not tested yet. Imports
conversation, image and errors; no torch, no gradio.
"""

from llava_chat.store.conversations import ConversationStore, Place
from llava_chat.store.picture_files import write_whole
from llava_chat.store.pictures import KeptPictures
from llava_chat.store.stored import (
    ChatOptions,
    ConversationSummary,
    Message,
    ReplyRecord,
    StoredConversation,
    title_from,
    turns_of,
)

__all__ = [
    "ChatOptions",
    "ConversationStore",
    "ConversationSummary",
    "KeptPictures",
    "Message",
    "Place",
    "ReplyRecord",
    "StoredConversation",
    "title_from",
    "turns_of",
    "write_whole",
]
