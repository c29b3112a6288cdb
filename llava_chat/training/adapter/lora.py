"""A new LoRA adapter (arXiv 2106.09685) on the language model, and the files that it is kept in.

The files are peft's, with the names that transformers 5 gives to LLaVA's layers: peft puts them on
transformers' own class, and `--adapter` on this project's. Imports torch, safetensors, `model` and
errors; peft only when an adapter is made.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from llava_chat.errors import LlavaChatError
from llava_chat.model.file_names import ADAPTER_CONFIG_NAME, ADAPTER_NAMES
from llava_chat.model.layouts.names import Layout, file_name
from llava_chat.model.llava import LlavaModel, parameter_count

_DECODER, _HEAD = "language_model.model.", "language_model.lm_head"
_DECODER_IN_TRANSFORMERS, _HEAD_IN_TRANSFORMERS = "model.language_model.", "lm_head"
_SMALL_PARAMETERS = 250_000_000


@dataclass(frozen=True)
class Lora:
    """Its shape. rank: of the two matrices. alpha: their product is scaled by alpha / rank.

    dropout: the share of a layer's inputs that the adapter does not see in a step.
    head: whether the read-out of words has one too. A word that a model was never taught to say is
    one among many that it keeps down together, which no layer before the head can tell apart.
    """

    rank: int
    alpha: int
    head: bool = False
    dropout: float = 0.0


@dataclass(frozen=True)
class Choice:
    """What suits a model: the adapter's shape and AdamW's peak learning rate."""

    lora: Lora
    lr: float


# LLaVA-1.5's (arXiv 2310.03744, and its scripts/v1_5/finetune_lora.sh), for 7 and 13 billion.
LARGE = Choice(Lora(128, 256), 2e-4)
# Measured with the bundled model, of 5 million: docs/adapters.md.
SMALL = Choice(Lora(16, 32, head=True), 2e-3)


def suited(model: nn.Module) -> Choice:
    """The recipe for a model of so many weights."""
    return SMALL if parameter_count(model) <= _SMALL_PARAMETERS else LARGE


def linear_layers(model: LlavaModel, *, head: bool) -> list[str]:
    """Every linear layer of the language model by its name in LlavaModel; head: and its last."""
    layers = [
        _DECODER + name
        for name, module in model.language_model.model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    return [*layers, _HEAD] if head else layers


def put_on(model: LlavaModel, lora: Lora, seed: int) -> None:
    """Put a new adapter on the decoder; only its weights, float32, are left to be trained.

    Until then it changes nothing: the second matrix is zero. The seed is of the first.
    """
    from peft import LoraConfig, inject_adapter_in_model

    model.requires_grad_(False)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=linear_layers(model, head=lora.head),
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    for weight in _weights(model).values():
        weight.data = weight.data.float()


def _weights(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: each for name, each in model.named_parameters() if ".lora_" in name}


def save_adapter(
    model: LlavaModel,
    lora: Lora,
    folder: Path,
    *,
    base: str,
    revision: str | None = None,
    beside: Mapping[str, Callable[[Path], object]] | None = None,
    layout: Layout = "hf",
) -> None:
    """Write adapter_config.json and adapter_model.safetensors; other files there stay.

    base: the name of the model that it goes on; revision: of the Hub, None for another. beside:
    files of other names, each written by its function. layout: whose names its layers have. The
    folder has no adapter_config.json while it is written, so that a crash leaves none or a whole
    one. Raises LlavaChatError when a weight is no finite number.
    """
    found = {
        _stored_name(name, layout): each.detach().cpu() for name, each in _weights(model).items()
    }
    for name, weight in found.items():
        if not bool(torch.isfinite(weight).all()):
            raise LlavaChatError(f"{name} holds what is no finite number; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    config_file, (weights_name, *others) = folder / ADAPTER_CONFIG_NAME, ADAPTER_NAMES
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as name:
        written = Path(name)
        config = _config(model, lora, base, revision, layout)
        (written / ADAPTER_CONFIG_NAME).write_text(
            json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )
        save_file(_contiguous(found), written / weights_name, metadata={"format": "pt"})
        # safetensors lets nobody else read.
        (written / weights_name).chmod((written / ADAPTER_CONFIG_NAME).stat().st_mode)
        for other, write in (beside or {}).items():
            write(written / other)
        for stale in (ADAPTER_CONFIG_NAME, *others):
            (folder / stale).unlink(missing_ok=True)
        for other in beside or {}:
            os.replace(written / other, folder / other)
        os.replace(written / weights_name, folder / weights_name)
        os.replace(written / ADAPTER_CONFIG_NAME, config_file)


def _contiguous(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.contiguous() for name, weight in weights.items()}


def _stored_name(name: str, layout: Layout = "hf") -> str:
    """The name in peft's file of an adapter on transformers' LLaVA, or on the authors'.

    >>> _stored_name("language_model.model.layers.0.mlp.up_proj.lora_A.default.weight")
    'base_model.model.model.language_model.layers.0.mlp.up_proj.lora_A.weight'
    """
    return f"base_model.model.{_layer_name(name, layout)}".replace(".default.", ".")


def _layer_name(name: str, layout: Layout) -> str:
    return _in_transformers(name) if layout == "hf" else file_name(name, "original")


def _in_transformers(name: str) -> str:
    """A layer's or a weight's name in transformers' LlavaForConditionalGeneration.

    >>> _in_transformers("language_model.lm_head"), _in_transformers("language_model.model.norm")
    ('lm_head', 'model.language_model.norm')
    """
    if name.startswith(_HEAD):
        return _HEAD_IN_TRANSFORMERS + name.removeprefix(_HEAD)
    return _DECODER_IN_TRANSFORMERS + name.removeprefix(_DECODER)


def _config(
    model: LlavaModel, lora: Lora, base: str, revision: str | None, layout: Layout
) -> dict[str, object]:
    changed = (name.partition(".lora_A.")[0] for name in _weights(model) if ".lora_A." in name)
    numbered = {re.sub(r"\.\d+\.", ".#.", _layer_name(name, layout)) for name in changed}
    # Whole names, for the tower has a q_proj as well.
    patterns = sorted(re.escape(name).replace(r"\#", r"\d+") for name in numbered)
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "revision": revision,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "bias": "none",
        "target_modules": "|".join(patterns),
        "inference_mode": True,
    }
