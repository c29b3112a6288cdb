"""Checkpoints of the LLaVA line as they were published, with a few thousand random weights.

Each row of `rows` is one published repository: its files, the names in them, the fields of its
config.json, its special tokens; only the numbers are small. The reference they are held against is
transformers' own model with the same weights (`reference`). Nothing here imports llava_chat: what
is written must not follow what is read.
"""
