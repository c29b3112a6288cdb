"""Projects: items that are given out to people and judged with a form.

    form.py        the fields of a form, by type         values.py    what people enter, checked
    content.py     what an item shows                    tables.py    items from JSONL, CSV, LLaVA
    pictures.py    where their pictures come from        kept.py      items from kept chats
    annotating.py  what annotators do                    leading.py   what those do who lead
    progress.py    how far a project is                  results.py   what was said, as objects
    rows.py        the same as rows of feedback          export.py    files of a project's answers

Imports the rest of feedback, store, conversation, image and errors.
"""

from llava_chat.feedback.annotation.annotating import Annotation, Given, told_item
from llava_chat.feedback.annotation.export import Agreed, Since, export_project
from llava_chat.feedback.annotation.kept import KeptFilter
from llava_chat.feedback.annotation.leading import PLAN_FIELDS, Leading
from llava_chat.feedback.annotation.pictures import in_folder, uploaded
from llava_chat.feedback.annotation.progress import progress
from llava_chat.feedback.annotation.results import told_result

__all__ = [
    "PLAN_FIELDS",
    "Agreed",
    "Annotation",
    "Given",
    "KeptFilter",
    "Leading",
    "Since",
    "export_project",
    "in_folder",
    "progress",
    "told_item",
    "told_result",
    "uploaded",
]
