"""LoRA adapters (arXiv 2106.09685) on the language model, by peft: put on, and merged.

What a file calls the layers depends on what it was trained on: the authors' model, or
transformers' of version 4 or 5. All are read by the one map of names. Imports the modules beside
it, torch, peft and errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from torch import Tensor, nn

from llava_chat.errors import CheckpointError
from llava_chat.model.layouts.names import model_name
from llava_chat.model.llava import LlavaModel
from llava_chat.model.weight_files import (
    WeightHeader,
    briefly,
    one_line,
    read_headers,
    read_json,
    read_weights,
)

ADAPTER_CONFIG = "adapter_config.json"
_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_PART = "language_model."
# base_model.model.MODULE.lora_A.weight, with an adapter's name before `weight` in some.
_LORA_NAME = re.compile(r"(?P<module>.+)\.(?P<kind>lora_[AB]|lora_magnitude_vector)\b.*")
# What changes the mathematics or needs more than two matrices beside a layer.
_UNREAD = ("modules_to_save", "trainable_token_indices", "megatron_config", "layer_replication")


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter before its weights are read.

    weights: by module of the language model ("model.layers.0.self_attn.q_proj") and kind
    ("lora_A" of (r, in), "lora_B" of (out, r)).
    """

    folder: Path
    config: LoraConfig
    weights: Mapping[tuple[str, str], WeightHeader]

    @property
    def modules(self) -> tuple[str, ...]:
        """The layers that it changes."""
        return tuple(dict.fromkeys(module for module, _ in self.weights))

    def scaling(self, module: str) -> float:
        """What a layer's change is multiplied by: alpha / r, or alpha / sqrt(r) (rsLoRA)."""
        rank = self.weights[module, "lora_A"].shape[0]
        alpha = float(_of_pattern(self.config.alpha_pattern, module, self.config.lora_alpha))
        return alpha / (rank**0.5 if self.config.use_rslora else rank)

    def read(self, dtype: torch.dtype) -> dict[tuple[str, str], Tensor]:
        """Its weights on the CPU. Raises CheckpointError when a number is not finite."""
        keyed = {f"{module}\0{kind}": each for (module, kind), each in self.weights.items()}
        found = read_weights(keyed, device=lambda _: torch.device("cpu"), dtype=dtype)
        return {(key.split("\0")[0], key.split("\0")[1]): weight for key, weight in found}


def read_adapter(folder: Path) -> Adapter:
    """What a folder's adapter is. Raises CheckpointError when it cannot be read here."""
    path = folder / ADAPTER_CONFIG
    content = read_json(path)
    if "auto_map" in content:
        raise CheckpointError(f"{path} asks to run code of its own (auto_map); that is never done.")
    if content.get("peft_type") != "LORA":
        raise CheckpointError(f"{path} is of {content.get('peft_type')}; only LORA can be run.")
    if unread := [each for each in _UNREAD if content.get(each)]:
        raise CheckpointError(f"{path} uses {briefly(unread)}, which is not read; merge it first.")
    try:
        known = {k: v for k, v in content.items() if k in LoraConfig.__dataclass_fields__}
        config = LoraConfig(**known)
    except Exception as error:  # peft checks its fields with exceptions of many kinds
        raise CheckpointError(f"{path} cannot be used: {one_line(error)}") from error
    files = [folder / name for name in _FILES if (folder / name).is_file()]
    if not files:
        raise CheckpointError(f"{folder} holds no {' or '.join(_FILES)}; download it again.")
    return Adapter(folder, config, _by_module(read_headers(files[:1]), folder))


def _by_module(
    headers: Mapping[str, WeightHeader], folder: Path
) -> dict[tuple[str, str], WeightHeader]:
    found: dict[tuple[str, str], WeightHeader] = {}
    for stored, header in headers.items():
        match = _LORA_NAME.fullmatch(stored)
        module = model_name(match["module"]) if match else None
        if match is None or module is None or not module.startswith(_PART):
            raise CheckpointError(
                f"The adapter in {folder} changes {stored}, which is no layer of the language model"
                "; only those can be adapted."
            )
        found[module.removeprefix(_PART), match["kind"]] = header
    return found


def check_adapter(adapter: Adapter, shapes: Mapping[str, tuple[int, int]]) -> None:
    """Raise CheckpointError when an adapter does not fit.

    shapes: (out, in) of every Linear of the language model, by module.
    """
    for module in adapter.modules:
        if module not in shapes:
            raise CheckpointError(
                f"The adapter in {adapter.folder} changes {module}, which the model does not have; "
                "it was trained on another one."
            )
        pair = (adapter.weights.get((module, f"lora_{each}")) for each in "AB")
        down, up = (each.shape if each else () for each in pair)
        out, inside = shapes[module]
        if len(down) != 2 or up != (out, down[0]) or down[1] != inside:
            raise CheckpointError(
                f"The adapter in {adapter.folder} has shapes {down} and {up} for {module}, which "
                f"is {out} x {inside}; it was trained on another model."
            )


def linear_shapes(model: LlavaModel) -> dict[str, tuple[int, int]]:
    """(out, in) of every Linear of the language model, by module."""
    return {
        name: (module.out_features, module.in_features)
        for name, module in model.language_model.named_modules()
        if isinstance(module, nn.Linear)
    }


def apply_adapter(model: LlavaModel, folder: Path) -> None:
    """Put the LoRA adapter of a folder on the language model; it stays apart from its weights.

    Raises CheckpointError when it cannot be read or does not fit.
    """
    adapter = read_adapter(folder)
    check_adapter(adapter, linear_shapes(model))
    weight = next(model.language_model.parameters())
    config = LoraConfig(
        r=adapter.config.r,
        lora_alpha=adapter.config.lora_alpha,
        use_rslora=adapter.config.use_rslora,
        use_dora=adapter.config.use_dora,
        rank_pattern={m: adapter.weights[m, "lora_A"].shape[0] for m in adapter.modules},
        alpha_pattern={
            m: _of_pattern(adapter.config.alpha_pattern, m, adapter.config.lora_alpha)
            for m in adapter.modules
        },
        target_modules=list(adapter.modules),
        inference_mode=True,
    )
    inject_adapter_in_model(config, model.language_model)
    read = adapter.read(weight.dtype)
    stored = {f"{module}.{kind}.weight": each for (module, kind), each in read.items()}
    result = set_peft_model_state_dict(model.language_model, stored)
    if unread := getattr(result, "unexpected_keys", ()):
        raise CheckpointError(f"The adapter in {folder} could not be put on: {briefly(unread)}.")
    model.eval()


def merged_weight(
    weight: Tensor, adapter: Adapter, module: str, read: Mapping[Any, Tensor]
) -> Tensor:
    """A layer's weight (out, in) with its change added in float32: W + scaling B A."""
    change = read[module, "lora_B"].float() @ read[module, "lora_A"].float()
    return (weight.float() + adapter.scaling(module) * change).to(weight.dtype)


def _of_pattern(pattern: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """Peft's rule: a key is a regular expression for the end of a module's name."""
    keys = (key for key in pattern or () if re.match(rf"(.*\.)?({key})$", module))
    return (pattern or {}).get(next(keys, ""), default)
