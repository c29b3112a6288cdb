"""A LoRA with the projector that was trained beside it, as LLaVA-1.5's LoRA training leaves them.

    adapter_config.json, adapter_model.safetensors   the LoRA: peft's files
    non_lora_trainables.bin                          the projector, under the authors' names
    config.json                                      where the base is of the authors' layout

`--adapter` reads them, and on a base of their layout the authors' own code does (haotian-liu/LLaVA,
llava/model/builder.py). Imports torch, `model` and `adapter.lora`.
"""

from __future__ import annotations

from pathlib import Path

import torch

from llava_chat.model.checkpoint import Checkpoint
from llava_chat.model.file_names import CONFIG_NAME, NON_LORA_NAME
from llava_chat.model.layouts.description import Description
from llava_chat.model.layouts.hf import dtype_name
from llava_chat.model.layouts.names import file_name
from llava_chat.model.layouts.original import IMAGE_TOKEN_INDEX, original_config
from llava_chat.model.llava import LlavaModel
from llava_chat.training.adapter.lora import Lora, save_adapter

# What peft puts before the names of a model that itself is called `model`.
_WRAPPED = "base_model.model."


def save_lora_and_projector(
    checkpoint: Checkpoint, lora: Lora, folder: Path, *, base: str, revision: str | None = None
) -> None:
    """Write the folder; other files there stay. base, revision: as save_adapter has them.

    Raises LlavaChatError when a weight of the LoRA is no finite number.
    """
    model = checkpoint.model
    authors = model.config.image_token_id == IMAGE_TOKEN_INDEX
    beside = {NON_LORA_NAME: lambda file: _write_projector(model, file)}
    if authors:
        beside[CONFIG_NAME] = lambda file: _write_config(checkpoint, file)
    save_adapter(
        model,
        lora,
        folder,
        base=base,
        revision=revision,
        beside=beside,
        layout="original" if authors else "hf",
    )


def _write_projector(model: LlavaModel, file: Path) -> None:
    weights = {
        _WRAPPED + file_name(f"projector.{name}", "original"): weight.detach().cpu().contiguous()
        for name, weight in model.projector.state_dict().items()
    }
    torch.save(weights, file)


def _write_config(checkpoint: Checkpoint, file: Path) -> None:
    description = Description("original", checkpoint.model.config, checkpoint.own_fields())
    dtype = dtype_name(next(checkpoint.model.language_model.parameters()).dtype)
    file.write_text(original_config(description, dtype), encoding="utf-8")
