"""The model: CLIP sees, a projector translates, LLaMA speaks; and the files they are kept in.

Imports torch, transformers, safetensors and huggingface_hub, `image`, `templates` and errors; never
an engine, a page, a database or pydantic, because a machine that only trains has none of them.
"""
