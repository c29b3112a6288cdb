"""Feedback as files, for training and for tables, with the pictures and a manifest beside them.

    writing.py       one export: which rows, as which records
    folder.py        its folder: everything aside, then renamed
    pictures.py      the pictures that rows name, copied once each
    instructions.py  `llava`: LLaVA's instruction JSON, which `train finetune` reads
    preferences.py   `dpo` and `kto`: TRL's rows in conversations with pictures
    documents.py     `jsonl`: everything, row by row, and what a row is made of
    tables.py        `csv` and `parquet`; columns.py has the columns
    reading.py       `jsonl` back into a database

Imports the rest of feedback, store, conversation, templates, image and errors.
"""

from llava_chat.feedback.export.folder import FORMATS, file_name
from llava_chat.feedback.export.reading import import_feedback
from llava_chat.feedback.export.writing import export_feedback

__all__ = ["FORMATS", "export_feedback", "file_name", "import_feedback"]
