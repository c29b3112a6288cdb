"""What people say of replies, what it means, and how a host takes it away.

    words.py     ratings, corrections and rankings, checked
    keeping.py   the class that keeps them, with consent; what is kept of one person
    comparisons.py  two replies side by side, and which was better
    rows.py      all of it for a host, people as keyed hashes
    figures.py   how much there is, counted
    fields.py    JSON that somebody else wrote, checked field by field
    annotation/  projects: items that are given out and judged with a form
    export/      files for training and for tables; and back from jsonl

Imports store, conversation, image and errors; no torch, no gradio, no database.
"""

from llava_chat.feedback.comparisons import Comparisons, ComparisonVote, contestant_name, votes
from llava_chat.feedback.figures import figures
from llava_chat.feedback.keeping import CONSENT_WORDING, Feedback
from llava_chat.feedback.rows import FeedbackRow, Filter
from llava_chat.feedback.words import (
    CHOICES,
    REASONS,
    Correction,
    Explanation,
    Ranking,
    Rating,
    Vote,
)

__all__ = [
    "CHOICES",
    "CONSENT_WORDING",
    "REASONS",
    "ComparisonVote",
    "Comparisons",
    "Correction",
    "Explanation",
    "Feedback",
    "FeedbackRow",
    "Filter",
    "Ranking",
    "Rating",
    "Vote",
    "contestant_name",
    "figures",
    "votes",
]
