"""LoRA adapters (arXiv 2106.09685) on a model's layers, by peft: put on, and merged.

What a file calls the layers depends on what it was trained on: the authors' model, or
transformers' of version 4 or 5. All are read by the one map of names. Imports the modules beside
it, torch and errors; peft only when there is an adapter, because it takes over a second and imports
bitsandbytes where that is installed, which on some CPUs asks the Hub for more of itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from llava_chat.errors import CheckpointError
from llava_chat.model.file_names import ADAPTER_CONFIG_NAME, ADAPTER_NAMES
from llava_chat.model.layouts.names import is_unread_layer, model_name
from llava_chat.model.llava import LlavaModel
from llava_chat.model.weight_files import (
    WeightHeader,
    briefly,
    one_line,
    read_headers,
    read_json,
    read_weights,
)

if TYPE_CHECKING:
    from peft import LoraConfig

# base_model.model.MODULE.lora_A.weight, with an adapter's name before `weight` in some.
_LORA_NAME = re.compile(r"(?P<module>.+)\.(?P<kind>lora_[AB]|lora_magnitude_vector)\b.*")
_READ_FIELDS = ("r", "lora_alpha", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern")
# What changes the mathematics or needs more than two matrices beside a layer.
_UNREAD = (
    "trainable_token_indices",
    "megatron_config",
    "layer_replication",
    "lora_bias",
    "target_parameters",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "ensure_weight_tying",
)
# Ways to begin training that take from the model's weights what they put into the adapter's.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter before its weights are read.

    weights: by a layer's name in LlavaModel ("language_model.model.layers.0.self_attn.q_proj") and
    kind: "lora_A" of (r, in), "lora_B" of (out, r). whole: those that were trained themselves and
    take the place of the model's, by name.
    """

    folder: Path
    config: LoraConfig
    weights: Mapping[tuple[str, str], WeightHeader]
    whole: Mapping[str, WeightHeader]

    @property
    def modules(self) -> tuple[str, ...]:
        """The layers that it changes."""
        return tuple(dict.fromkeys(module for module, _ in self.weights))

    def alpha(self, module: str) -> float:
        """How loud a layer's change is."""
        trained = self._trained_name(module)
        return float(_of_pattern(self.config.alpha_pattern, trained, self.config.lora_alpha))

    def rank(self, module: str) -> int:
        """How many rows a layer's first matrix has to have."""
        trained = self._trained_name(module)
        return int(_of_pattern(self.config.rank_pattern, trained, self.config.r))

    def _trained_name(self, module: str) -> str:
        """What a layer was called in the model that was trained, which patterns speak of."""
        header = self.weights.get((module, "lora_A"))
        match = _LORA_NAME.fullmatch(header.name) if header else None
        return match["module"].removeprefix("base_model.model.") if match else module

    def scaling(self, module: str) -> float:
        """What a layer's change is multiplied by: alpha / r, or alpha / sqrt(r) (rsLoRA)."""
        rank = self.rank(module)
        return self.alpha(module) / (rank**0.5 if self.config.use_rslora else rank)

    def read(self, dtype: torch.dtype) -> dict[tuple[str, str], Tensor]:
        """Its matrices on the CPU. Raises CheckpointError when a number is not finite."""
        keyed = {f"{module} {kind}": each for (module, kind), each in self.weights.items()}
        found = read_weights(keyed, device=torch.device("cpu"), dtype=dtype)
        return {(key.split()[0], key.split()[1]): weight for key, weight in found}


def read_adapter(folder: Path) -> Adapter:
    """What a folder's adapter is. Raises CheckpointError when it cannot be read here."""
    config = _read_config(folder / ADAPTER_CONFIG_NAME)
    files = [folder / name for name in ADAPTER_NAMES if (folder / name).is_file()]
    if not files:
        raise CheckpointError(f"{folder} holds no {' or '.join(ADAPTER_NAMES)}; download it again.")
    weights: dict[tuple[str, str], WeightHeader] = {}
    whole: dict[str, WeightHeader] = {}
    for stored, header in read_headers(files[:1]).items():
        match = _LORA_NAME.fullmatch(stored)
        # A layer's own bias, where it was trained too, stands below peft's wrapper of the layer.
        plain = f"{match['module']}.weight" if match else stored.replace(".base_layer.", ".")
        name = model_name(plain)
        if name is not None and match:
            weights[name.removesuffix(".weight"), match["kind"]] = header
        elif name is not None:
            whole[name] = header
    return Adapter(folder, config, weights, whole)


def _read_config(path: Path) -> LoraConfig:
    from peft import LoraConfig

    content = read_json(path)
    if "auto_map" in content:
        raise CheckpointError(f"{path} asks to run code of its own (auto_map); that is never done.")
    if content.get("peft_type") != "LORA":
        raise CheckpointError(
            f"peft_type in {path} is {content.get('peft_type')!r}; of adapters only LORA is read."
        )
    unread = [each for each in _UNREAD if content.get(each)]
    if str(content.get("init_lora_weights")).startswith(_CHANGES_BASE):
        unread.append(f"init_lora_weights {content['init_lora_weights']}")
    if unread:
        raise CheckpointError(f"{path} uses {briefly(unread)}, which is not read; merge it first.")
    rank, alpha = content.get("r", 8), content.get("lora_alpha", 8)
    if type(rank) is not int or rank < 1:
        raise CheckpointError(f"r in {path} must be a whole number above 0, not {rank!r}.")
    if type(alpha) not in (int, float) or not math.isfinite(alpha):
        raise CheckpointError(f"lora_alpha in {path} must be a number, not {alpha!r}.")
    try:
        known = {k: v for k, v in content.items() if k in _READ_FIELDS}
        return LoraConfig(**known)
    except Exception as error:  # peft checks its fields with exceptions of many kinds
        raise CheckpointError(f"{path} cannot be used: {one_line(error)}") from error


def check_adapter(adapter: Adapter, model: LlavaModel) -> None:
    """Raise CheckpointError when an adapter does not fit a model, with or without its weights."""
    layers = model.tower.config.num_hidden_layers
    shapes = _linear_shapes(model)
    for module in adapter.modules:
        if is_unread_layer(module, layers):
            continue
        if module not in shapes:
            raise CheckpointError(
                f"The adapter in {adapter.folder} changes {module}, which the model does not have; "
                "it was trained on another one."
            )
        _check_layer(adapter, module, shapes[module])


def _check_layer(adapter: Adapter, module: str, shape: tuple[int, int]) -> None:
    pair = [adapter.weights.get((module, f"lora_{each}")) for each in "AB"]
    down, up = (each.shape if each else "nothing" for each in pair)
    rank, (out, inside) = adapter.rank(module), shape
    if (down, up) != ((rank, inside), (out, rank)):
        raise CheckpointError(
            f"The adapter in {adapter.folder} has {down} and {up} for {module}, which needs "
            f"{(rank, inside)} and {(out, rank)} with r {rank}; it was trained on another model."
        )


def _linear_shapes(model: LlavaModel) -> dict[str, tuple[int, int]]:
    return {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }


def apply_adapter(model: LlavaModel, adapter: Adapter) -> None:
    """Put a LoRA adapter on the layers that it changes; it stays apart from their weights.

    Raises CheckpointError when it does not fit.
    """
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    check_adapter(adapter, model)
    layers = model.tower.config.num_hidden_layers
    changed = [module for module in adapter.modules if not is_unread_layer(module, layers)]
    config = LoraConfig(
        r=adapter.config.r,
        lora_alpha=adapter.config.lora_alpha,
        use_rslora=adapter.config.use_rslora,
        use_dora=adapter.config.use_dora,
        rank_pattern={re.escape(module): adapter.rank(module) for module in changed},
        alpha_pattern={re.escape(module): adapter.alpha(module) for module in changed},
        target_modules=changed,
        inference_mode=True,
    )
    inject_adapter_in_model(config, model)
    read = adapter.read(next(model.projector.parameters()).dtype)
    stored = {f"{module}.{kind}.weight": each for (module, kind), each in read.items()}
    kept = {name: each for name, each in stored.items() if not is_unread_layer(name, layers)}
    set_peft_model_state_dict(model, kept)
    model.eval().requires_grad_(False)


def merged_weight(
    weight: Tensor, adapter: Adapter, module: str, read: Mapping[Any, Tensor]
) -> Tensor:
    """A layer's weight (out, in) with its change added in float32: W + scaling B A.

    With DoRA every row of the sum is brought to its trained length (arXiv 2402.09353).
    """
    change = read[module, "lora_B"].float() @ read[module, "lora_A"].float()
    changed = weight.float() + adapter.scaling(module) * change
    if adapter.config.use_dora:
        lengths = read[module, "lora_magnitude_vector"].float().view(-1, 1)
        changed *= lengths / changed.norm(dim=1, keepdim=True)
    return changed.to(weight.dtype)


def _of_pattern(pattern: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """Peft's rule: a key is a regular expression for the end of a module's name."""
    keys = (key for key in pattern or () if re.match(rf"(.*\.)?({key})$", module))
    return (pattern or {}).get(next(keys, ""), default)
