"""A model on disk: loaded whole with its tokenizer and picture settings, and saved again.

The llava-hf layout, so that transformers and other servers read the same folder. Imports the
modules beside it, torch, transformers and templates.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from llava_chat.model.adapters import apply_adapter
from llava_chat.model.companions import write_companions
from llava_chat.model.device import choose_device, named_dtype
from llava_chat.model.layouts.description import Description
from llava_chat.model.layouts.hf import dtype_name
from llava_chat.model.layouts.reading import read_processor_settings
from llava_chat.model.llava import LlavaModel
from llava_chat.model.preprocessing import Preprocessing
from llava_chat.model.quantization import quantize_kind
from llava_chat.model.sources import Search, find_sources
from llava_chat.model.template_choice import choose_template
from llava_chat.model.tokenizer_files import load_tokenizer
from llava_chat.model.weight_files import (
    INDEX_NAME,
    SHARD_PATTERN,
    SINGLE_NAME,
    write_weights,
)
from llava_chat.model.weights import load_model, weights_for_files
from llava_chat.progress import Report
from llava_chat.templates import template_named

MAX_SHARD_BYTES = 15_000_000


@dataclass(frozen=True)
class Checkpoint:
    """A model with all that is needed to use it.

    id: `scenes`, the Hub id or the folder's name. revision: the Hub's commit, or a fingerprint of
    the files. template: the conversation template it was trained with, unless somebody asked for
    another. pixels: call it with a picture for the encoder's (V, 3, H, W). padded_boxes: it counts
    the boxes that it names on the picture padded to a square. adapter: what was put on it, as
    `id@revision`.
    """

    model: LlavaModel
    tokenizer: PreTrainedTokenizerBase
    id: str
    revision: str
    template: str
    description: str
    pixels: Preprocessing
    padded_boxes: bool = False
    adapter: str | None = None

    def own_fields(self) -> dict[str, str | bool]:
        """What its files say in fields of our own."""
        return {
            "template": self.template,
            "description": self.description,
            "padded_boxes": self.padded_boxes,
        }

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
    adapter: str | None = None,
    vision_tower: str | None = None,
    quantize: str = "none",
    report: Report | None = None,
) -> Checkpoint:
    """Load `scenes`, a folder or a Hub id (which is downloaded). The model is in eval mode.

    device: `auto` and `cuda` are all GPUs when the first does not hold the model. template: None is
    the one that the checkpoint was trained with. adapter: a LoRA adapter or a projector to put on
    it. vision_tower: in place of the one that the checkpoint names. quantize: `8bit` or `4bit` for
    the decoder's layers. report: told how far downloading and reading are. Raises CheckpointError
    saying in a sentence what is missing or wrong, SettingError for a device, dtype or quantisation
    that is not there, UsageError for an unknown template.
    """
    if template is not None:
        template_named(template)
    target = choose_device(device)
    number_format = named_dtype(dtype)
    quantization = quantize_kind(quantize, target)
    sources = find_sources(name, Search(vision_tower, report=report), adapter=adapter)
    description = sources.description
    pixels = Preprocessing.read(read_processor_settings(sources.folder), description.config)
    tokenizer = load_tokenizer(sources.folder, description)
    spoken = choose_template(description, tokenizer, sources.located.id, asked=template)
    model = load_model(
        sources, device=target, dtype=number_format, quantization=quantization, report=report
    )
    if sources.lora is not None:
        apply_adapter(model, sources.lora)
    own = description.own
    return Checkpoint(
        model,
        tokenizer,
        sources.located.id,
        sources.revision,
        spoken,
        str(own.get("description", "")),
        pixels,
        # As LLaVA-1.5's training data do (https://github.com/haotian-liu/LLaVA/issues/606).
        padded_boxes=bool(own.get("padded_boxes", pixels.aspect == "pad")),
        adapter=sources.added,
    )


def save_checkpoint(
    checkpoint: Checkpoint,
    folder: Path | str,
    *,
    dtype: str | torch.dtype | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write a folder that load_checkpoint and transformers read; other files there stay.

    dtype: of the file, None or `auto` for the model's own. While it is written the folder has no
    index, so that a crash leaves one that is refused, never one with weights of two models. Raises
    CheckpointError when a weight is not finite in `dtype`, or the model is quantised.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    model = checkpoint.model
    stored = named_dtype(dtype or "auto") or next(model.projector.parameters()).dtype
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=target) as name:
        written = Path(name)
        last = write_weights(
            weights_for_files(model, stored), written, max_shard_bytes=max_shard_bytes
        )[-1]
        # The tower is written as it is, cut after the layer that is read: so that is its last.
        config = replace(model.config, vision=model.tower.config, select_layer=-1)
        write_companions(
            written,
            description=Description("hf", config, checkpoint.own_fields()),
            dtype=dtype_name(stored),
            tokenizer=checkpoint.tokenizer,
            pixels=checkpoint.pixels,
        )
        for stale in (INDEX_NAME, SINGLE_NAME, *(p.name for p in target.glob(SHARD_PATTERN))):
            (target / stale).unlink(missing_ok=True)
        for path in sorted(written.iterdir(), key=lambda path: path.name == last):
            os.replace(path, target / path.name)
