"""What the app remembers: conversations with all versions, what was said of them, pictures by hash.

    conversations.py  the conversations themselves      opinions.py   ratings, corrections, rankings
    retention.py      what is kept no longer            personal.py   all that is kept of a person
    taking_in.py      what another database exported    opinion_rows.py  reads what was said
    journaled.py      the rows that a copy is made of   taking_rows.py   takes them in again
    comparisons.py    two conversations side by side, and which was better
    projects.py       annotation, for those who lead      work.py  the same, for annotators
    queue.py          which item somebody is given next
    annotation_rows.py  what of it counts               annotated.py  its values
    database.py       SQLite by default, PostgreSQL by its address; transactions
    schema.py, annotation_schema.py  the tables, which migrations/ makes

Imports conversation, image and errors; no torch, no gradio.
"""

from llava_chat.store.annotated import (
    Draft,
    GivenItem,
    Item,
    KeptAnnotation,
    Member,
    NewItem,
    Outcome,
    Project,
    ProjectPlan,
    ProjectSummary,
    Result,
    RoleName,
    Said,
    Share,
    Standing,
)
from llava_chat.store.comparisons import KeptComparisons, compared
from llava_chat.store.conversations import ConversationStore, Place
from llava_chat.store.journaled import PICTURES, JournaledRow, in_order, journaled_rows, row_key
from llava_chat.store.opinion_rows import agreed, conversation_of, judged
from llava_chat.store.opinions import Opinions
from llava_chat.store.personal import everything_of
from llava_chat.store.picture_files import write_whole
from llava_chat.store.pictures import KeptPictures
from llava_chat.store.projects import Projects
from llava_chat.store.retention import remove_old, remove_person, remove_unkept
from llava_chat.store.said import (
    Comparison,
    Consent,
    JudgedComparison,
    JudgedConversation,
    KeptCorrection,
    KeptRanking,
    KeptRating,
    KeptVote,
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
from llava_chat.store.taking_in import take_in, take_in_comparison
from llava_chat.store.taking_rows import checked_row, take_picture, take_rows
from llava_chat.store.work import Work

__all__ = [
    "PICTURES",
    "ChatOptions",
    "Comparison",
    "Consent",
    "ConversationStore",
    "ConversationSummary",
    "Draft",
    "GivenItem",
    "Item",
    "JournaledRow",
    "JudgedComparison",
    "JudgedConversation",
    "KeptAnnotation",
    "KeptComparisons",
    "KeptCorrection",
    "KeptPictures",
    "KeptRanking",
    "KeptRating",
    "KeptVote",
    "Member",
    "Message",
    "NewItem",
    "Opinion",
    "Opinions",
    "Outcome",
    "Place",
    "Project",
    "ProjectPlan",
    "ProjectSummary",
    "Projects",
    "ReplyRecord",
    "Result",
    "RoleName",
    "Said",
    "Share",
    "Standing",
    "StoredConversation",
    "Work",
    "agreed",
    "checked_row",
    "compared",
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
    "take_in_comparison",
    "take_picture",
    "take_rows",
    "title_from",
    "turns_of",
    "write_whole",
]
