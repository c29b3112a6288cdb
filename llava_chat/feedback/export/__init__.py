"""Feedback as files, for training and for tables, with the pictures and a manifest beside them.

    writing.py       one export: everything aside, then renamed
    pictures.py      the pictures that rows name, copied once each
    instructions.py  `llava`: LLaVA's instruction JSON, which `train finetune` reads
    preferences.py   `dpo` and `kto`: TRL's rows in conversations with pictures
    documents.py     `jsonl`: everything, row by row, and what a row is made of
    tables.py        `csv` and `parquet`
    reading.py       `jsonl` back into a database; fields.py checks what it is made of

Imports the rest of feedback, store, conversation, templates, image and errors.
"""

from llava_chat.feedback.export.reading import import_feedback
from llava_chat.feedback.export.writing import FORMATS, export_feedback, file_name

__all__ = ["FORMATS", "export_feedback", "file_name", "import_feedback"]
