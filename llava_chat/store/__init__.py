"""What the app remembers: conversations with all versions, what was said of them, pictures by hash.

    conversations.py  the conversations themselves      opinions.py   ratings, corrections, rankings
    retention.py      what is kept no longer            personal.py   all that is kept of a person
    taking_in.py      what another database exported    opinion_rows.py  reads what was said
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
from llava_chat.store.work import Work

__all__ = [
    "ChatOptions",
    "Comparison",
    "Consent",
    "ConversationStore",
    "ConversationSummary",
    "Draft",
    "GivenItem",
    "Item",
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
    "compared",
    "conversation_of",
    "everything_of",
    "judged",
    "remove_old",
    "remove_person",
    "remove_unkept",
    "take_in",
    "take_in_comparison",
    "title_from",
    "turns_of",
    "write_whole",
]
