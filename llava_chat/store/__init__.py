"""What the app remembers: conversations with all versions, what was said of them, pictures by hash.

    conversations.py  the conversations themselves      opinions.py   ratings, corrections, rankings
    retention.py      what is kept no longer            personal.py   all that is kept of a person
    taking_in.py      what another database exported    opinion_rows.py  reads what was said
    journaled.py      the rows that a copy is made of   taking_rows.py   takes them in again
    database.py       SQLite by default, PostgreSQL by its address; transactions
    schema.py         the tables, which migrations/ makes

Imports conversation, image and errors; no torch, no gradio.
"""

from llava_chat.store.conversations import ConversationStore, Place
from llava_chat.store.journaled import PICTURES, JournaledRow, in_order, journaled_rows, row_key
from llava_chat.store.opinion_rows import conversation_of, judged
from llava_chat.store.opinions import Opinions
from llava_chat.store.personal import everything_of
from llava_chat.store.picture_files import write_whole
from llava_chat.store.pictures import KeptPictures
from llava_chat.store.retention import remove_old, remove_person, remove_unkept
from llava_chat.store.said import (
    Consent,
    JudgedConversation,
    KeptCorrection,
    KeptRanking,
    KeptRating,
    Opinion,
)
from llava_chat.store.stored import (
    ChatOptions,
    ConversationSummary,
    Message,
    ReplyRecord,
    StoredConversation,
    title_from,
    turns_of,
)
from llava_chat.store.taking_in import take_in
from llava_chat.store.taking_rows import checked_row, take_picture, take_rows

__all__ = [
    "PICTURES",
    "ChatOptions",
    "Consent",
    "ConversationStore",
    "ConversationSummary",
    "JournaledRow",
    "JudgedConversation",
    "KeptCorrection",
    "KeptPictures",
    "KeptRanking",
    "KeptRating",
    "Message",
    "Opinion",
    "Opinions",
    "Place",
    "ReplyRecord",
    "StoredConversation",
    "checked_row",
    "conversation_of",
    "everything_of",
    "in_order",
    "journaled_rows",
    "judged",
    "remove_old",
    "remove_person",
    "remove_unkept",
    "row_key",
    "take_in",
    "take_picture",
    "take_rows",
    "title_from",
    "turns_of",
    "write_whole",
]
