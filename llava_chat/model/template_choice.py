"""Which conversation template a checkpoint was trained with.

No config.json has a field for it but ours. What it has tells all but LLaVA v1's apart: the language
model's kind, and the tokens that its tokenizer knows. A name is never searched for hints, which is
how answers came out wrong unnoticed (https://github.com/haotian-liu/LLaVA/issues/1190). Imports
`layouts`, `published`, templates and errors.
"""

from __future__ import annotations

from collections.abc import Set
from contextlib import suppress

from transformers import MistralConfig, PreTrainedTokenizerBase, Qwen2Config

from llava_chat.errors import CheckpointError, UsageError
from llava_chat.model.file_names import CONFIG_NAME
from llava_chat.model.layouts.description import OWN_FIELD, Description
from llava_chat.model.published import published
from llava_chat.templates import DEFAULT_TEMPLATE, TEMPLATES, with_picture_marks


def choose_template(
    description: Description,
    tokenizer: PreTrainedTokenizerBase,
    model_id: str,
    *,
    asked: str | None = None,
) -> str:
    """The template that is asked for, or the checkpoint's: its own field, that of the published
    id, or what its kind has. With marks around pictures where the model was trained with them.

    Raises CheckpointError naming --template when it cannot be known.
    """
    known = published(model_id)
    named = asked or description.template or (known.template if known else None)
    if named is None:
        named = _of_its_kind(description, tokenizer.get_vocab().keys(), model_id)
    with suppress(UsageError):  # there is none with marks, or it has them
        return with_picture_marks(named) if description.picture_marks else named
    return named


def _of_its_kind(description: Description, tokens: Set[str], model_id: str) -> str:
    text, tiled = description.config.text, description.config.image_aspect == "anyres"
    if isinstance(text, Qwen2Config):
        return "qwen_1_5"
    if isinstance(text, MistralConfig):
        if tiled:  # LLaVA-1.6 on Mistral; others put Mistral into LLaVA-1.5's template
            return "mistral_instruct"
        raise CheckpointError(_unknown(model_id, "as it is of Mistral but not LLaVA-1.6"))
    if "<|start_header_id|>" in tokens:
        return "llava_llama_3"
    if "<|im_start|>" in tokens:
        return "chatml_direct"
    if lacking := [each for each in TEMPLATES[DEFAULT_TEMPLATE].special if each not in tokens]:
        raise CheckpointError(_unknown(model_id, f"as its tokenizer lacks {', '.join(lacking)}"))
    if description.family == "llava-1":
        raise CheckpointError(
            _unknown(model_id, "as LLaVA v1 had several: llava_v0 for the first models, llava_v1")
        )
    return DEFAULT_TEMPLATE


def _unknown(model_id: str, why: str) -> str:
    return (
        f"{CONFIG_NAME} of {model_id} does not say which template the model was trained with, {why}"
        f"; name one with --template, or as `template` in the file's field {OWN_FIELD}."
    )
