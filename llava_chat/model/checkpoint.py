"""A model on disk: loaded whole with its tokenizer and picture settings, and saved again.

The llava-hf layout, so that transformers and other servers read the same folder. Imports the
modules beside it, torch, transformers and templates.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from llava_chat.model.chat_template import jinja_chat_template
from llava_chat.model.config_files import (
    CONFIG_NAME,
    config_json,
    read_config,
    read_processor_settings,
)
from llava_chat.model.device import choose_device, choose_dtype
from llava_chat.model.llava import LlavaModel
from llava_chat.model.location import locate
from llava_chat.model.preprocessing import Preprocessing
from llava_chat.model.tokenizer_files import check_default_template, load_tokenizer
from llava_chat.model.weight_files import (
    INDEX_NAME,
    SHARD_PATTERN,
    SINGLE_NAME,
    read_json,
    write_weights,
)
from llava_chat.model.weights import load_model, weights_for_files
from llava_chat.templates import PICTURE, template_named

MAX_SHARD_BYTES = 15_000_000


@dataclass(frozen=True)
class Checkpoint:
    """A model with all that is needed to use it.

    id: `scenes`, the Hub id or the folder's name. revision: the Hub's commit, or a fingerprint of
    the files. template: the conversation template it was trained with, unless somebody asked for
    another. pixels: call it with a picture for the encoder's (3, H, W). padded_boxes: it counts the
    boxes that it names on the picture padded to a square.
    """

    model: LlavaModel
    tokenizer: PreTrainedTokenizerBase
    id: str
    revision: str
    template: str
    description: str
    pixels: Preprocessing
    padded_boxes: bool = False

    @property
    def suppressed_ids(self) -> tuple[int, ...]:
        """Ids of the logits that are no words: the picture's, and rows that only pad the table."""
        rows = self.model.config.text.vocab_size
        picture = self.model.config.image_token_id
        known = set(self.tokenizer.get_vocab().values())
        return tuple(row for row in range(rows) if row == picture or row not in known)


def load_checkpoint(
    name: str,
    *,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    template: str | None = None,
) -> Checkpoint:
    """Load `scenes`, a folder or a Hub id (which is downloaded). The model is in eval mode.

    template: None is the one that the checkpoint names, or the default. Raises CheckpointError
    saying in a sentence what is missing or wrong, SettingError for a device or dtype that is not
    there, UsageError for an unknown template.
    """
    if template is not None:
        template_named(template)
    target = choose_device(device)
    number_format = choose_dtype(dtype, target)
    located = locate(name)
    config, own = read_config(located.folder)
    pixels = Preprocessing.read(read_processor_settings(located.folder), config)
    tokenizer = load_tokenizer(located.folder, config)
    if template is None and "template" not in own:
        check_default_template(tokenizer, located.folder)
    model = load_model(located.folder, config, device=target, dtype=number_format)
    return Checkpoint(
        model,
        tokenizer,
        located.id,
        located.revision,
        template or config.template,
        str(own.get("description", "")),
        pixels,
        # As LLaVA-1.5's training data do (https://github.com/haotian-liu/LLaVA/issues/606).
        padded_boxes=bool(own.get("padded_boxes", pixels.aspect == "pad")),
    )


def save_checkpoint(
    checkpoint: Checkpoint,
    folder: Path | str,
    *,
    dtype: str | torch.dtype | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write a folder that load_checkpoint and transformers read; other files there stay.

    dtype: of the file, None for the model's own. While it is written the folder has no index, so
    that a crash leaves one that is refused, never one with weights of two models. Raises
    CheckpointError when a weight is not finite in `dtype`.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    model = checkpoint.model
    own_dtype = next(model.projector.parameters()).dtype
    stored = own_dtype if dtype is None else choose_dtype(dtype, torch.device("cpu"))
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=target) as name:
        written = Path(name)
        last = write_weights(
            weights_for_files(model, stored), written, max_shard_bytes=max_shard_bytes
        )[-1]
        _write_companions(checkpoint, written, stored)
        for stale in (INDEX_NAME, SINGLE_NAME, *(p.name for p in target.glob(SHARD_PATTERN))):
            (target / stale).unlink(missing_ok=True)
        for path in sorted(written.iterdir(), key=lambda path: path.name == last):
            os.replace(path, target / path.name)


def _write_companions(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype) -> None:
    """Everything beside the weights: configuration, tokenizer, processor, chat template."""
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    own: dict[str, str | bool] = {
        "template": checkpoint.template,
        "image_aspect": checkpoint.pixels.aspect,
        "description": checkpoint.description,
        "padded_boxes": checkpoint.padded_boxes,
    }
    (folder / CONFIG_NAME).write_text(config_json(model, own, dtype), encoding="utf-8")
    GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    ).save_pretrained(folder)
    _save_tokenizer(tokenizer, folder)
    _write_json(folder / "preprocessor_config.json", checkpoint.pixels.settings())
    full = model.config.select_feature == "cls_patch"
    processor: dict[str, Any] = {
        "processor_class": "LlavaProcessor",
        "patch_size": model.config.vision.patch_size,
        "vision_feature_select_strategy": "full" if full else "default",
        # CLIP's class token: transformers counts it before the strategy takes it away again.
        "num_additional_image_tokens": 1,
        "image_token": PICTURE,
    }
    _write_json(folder / "processor_config.json", processor)
    template = jinja_chat_template(template_named(checkpoint.template))
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
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
