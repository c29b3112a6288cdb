"""Instruction data: LLaVA's rows, from whatever they are kept in to conversations by number.

    rows.py       open_rows: files -> Rows, each row by its number, none kept in memory
    files.py      one file of rows, by the ending of its name: JSON, JSONL
    parquet.py    one of Parquet, the pictures in its rows
    tars.py       one of WebDataset; pictures in tars
    row.py        one row checked by every rule, as an Instruction
    strict.py     JSON without what Python's parser lets through
    offsets.py    where the rows of a JSON array or of JSONL lie in their file
    sources.py    where a picture's bytes are, and where a row's name leads to
    order.py      sample number -> row: in epochs, and in groups of one modality and like lengths

Imports conversation, image and errors; numpy, and no torch.
"""

from __future__ import annotations

from llava_chat.training.data.order import in_epochs, in_groups
from llava_chat.training.data.row import PLACEHOLDER, Instruction
from llava_chat.training.data.rows import Rows, open_rows, read_instructions
from llava_chat.training.data.strict import RowProblem

__all__ = [
    "PLACEHOLDER",
    "Instruction",
    "RowProblem",
    "Rows",
    "in_epochs",
    "in_groups",
    "open_rows",
    "read_instructions",
]
