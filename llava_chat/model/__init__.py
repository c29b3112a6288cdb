"""The model: a tower sees, a projector translates, a decoder speaks; and the files they are in.

Imports torch, transformers, safetensors and huggingface_hub, `image`, `templates` and errors; never
an engine, a page, a database or pydantic, because a machine that only trains has none of them.
"""
