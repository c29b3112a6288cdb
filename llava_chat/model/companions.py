"""Everything beside the weights of a folder: configuration, tokenizer, processor, template.

transformers, and the servers built on it, read all of it in the llava-hf layout; the authors' code
reads the configuration and the tokenizer. Imports the modules beside it, transformers, templates
and tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from llava_chat.model.chat_template import jinja_chat_template
from llava_chat.model.encoder import has_class_token
from llava_chat.model.file_names import CONFIG_NAME
from llava_chat.model.layouts.description import Description
from llava_chat.model.layouts.hf import hf_config
from llava_chat.model.layouts.original import original_config
from llava_chat.model.llava import LlavaConfig
from llava_chat.model.preprocessing import Preprocessing
from llava_chat.model.weight_files import read_json
from llava_chat.templates import PICTURE, template_named
from llava_chat.tokens import end_ids


def write_companions(
    folder: Path,
    *,
    description: Description,
    dtype: str,
    tokenizer: PreTrainedTokenizerBase,
    pixels: Preprocessing,
) -> None:
    """Write them in the description's layout. Its own fields name a template. dtype: "bfloat16"."""
    write_config = original_config if description.layout == "original" else hf_config
    (folder / CONFIG_NAME).write_text(write_config(description, dtype), encoding="utf-8")
    template = template_named(str(description.template))
    GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=sorted(end_ids(tokenizer, template.name)) or None,
        pad_token_id=tokenizer.pad_token_id,
    ).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    _write_json(folder / "preprocessor_config.json", pixels.settings())
    if description.layout == "hf":
        _write_json(folder / "processor_config.json", _processor(description.config))
    jinja = jinja_chat_template(template)
    (folder / "chat_template.jinja").write_text(jinja, encoding="utf-8")


def _processor(config: LlavaConfig) -> dict[str, Any]:
    class_token = has_class_token(config.vision)
    full = config.select_feature == "cls_patch" or not class_token
    tiled = config.image_aspect == "anyres"
    return {
        "processor_class": "LlavaNextProcessor" if tiled else "LlavaProcessor",
        "patch_size": config.vision.patch_size,
        "vision_feature_select_strategy": "full" if full else "default",
        # CLIP's class token: transformers counts it before the strategy takes it away again.
        "num_additional_image_tokens": int(class_token),
        "image_token": PICTURE,
    }


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """As transformers does, in words that its version 4 and the servers built on it know too."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = read_json(path)
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    if not settings.get("extra_special_tokens"):
        settings.pop("extra_special_tokens", None)  # version 4 wants an object, 5 writes a list
    _write_json(path, settings)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
