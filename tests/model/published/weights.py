"""Random weights in parts, the names each layout gives them, and the files they are kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    CLIPConfig,
    CLIPModel,
    PreTrainedConfig,
)

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Parts:
    """All weights of a model in float32, by the names of its parts' own classes.

    tower: of CLIPVisionModel or SiglipVisionModel. words: of a ...ForCausalLM. projector: `weight`
    and `bias`, or `0.weight` to `2.bias`. newline: (D,), of anyres models.
    """

    tower: Weights
    words: Weights
    projector: Weights
    newline: Tensor | None = None


def noisy(module: nn.Module, dtype: torch.dtype) -> Weights:
    """Weights so large that a wrong one shows in the logits, and that `dtype` holds exactly."""
    return {
        name: (weight + torch.randn_like(weight) * 0.08).to(dtype).float()
        for name, weight in module.state_dict().items()
        if weight.is_floating_point()
    }


def random_projector(kind: str, rows: int, columns: int, dtype: torch.dtype) -> Weights:
    """`linear` or `mlp2x_gelu`, from `columns` to `rows` numbers."""
    if kind == "linear":
        return noisy(nn.Linear(columns, rows), dtype)
    return noisy(nn.Sequential(nn.Linear(columns, rows), nn.GELU(), nn.Linear(rows, rows)), dtype)


def random_parts(
    vision: PreTrainedConfig,
    text: PreTrainedConfig,
    *,
    projector: str,
    anyres: bool,
    dtype: torch.dtype,
    seed: int,
) -> Parts:
    """The same for the same seed."""
    torch.manual_seed(seed)
    words = noisy(AutoModelForCausalLM.from_config(text), dtype)
    if text.tie_word_embeddings:
        words["lm_head.weight"] = words["model.embed_tokens.weight"]
    return Parts(
        tower=noisy(AutoModel.from_config(vision), dtype),
        words=words,
        projector=random_projector(projector, text.hidden_size, vision.hidden_size, dtype),
        newline=torch.randn(text.hidden_size).to(dtype).float() if anyres else None,
    )


def words_for_tower(config: CLIPConfig, dtype: torch.dtype) -> Weights:
    """What a whole CLIP holds beside its vision tower: text tower, two projections, a scale."""
    whole = noisy(CLIPModel(config), dtype)
    return {name: weight for name, weight in whole.items() if not name.startswith("vision_model.")}


def original_names(parts: Parts, *, tower_inside: bool) -> Weights:
    """As the authors' own code saves a model."""
    named = dict(parts.words)
    named |= prefixed("model.mm_projector.", parts.projector)
    if parts.newline is not None:
        named["model.image_newline"] = parts.newline
    if tower_inside:
        named |= prefixed("model.vision_tower.vision_tower.vision_model.", parts.tower)
    return named


def hf4_names(parts: Parts) -> Weights:
    """As transformers 4 saves a LlavaForConditionalGeneration or a LlavaNext one."""
    places = {"0": "linear_1", "2": "linear_2"}
    named = prefixed("vision_tower.vision_model.", parts.tower)
    for name, weight in parts.projector.items():
        place, kind = name.split(".")
        named[f"multi_modal_projector.{places[place]}.{kind}"] = weight
    if parts.newline is not None:
        named["image_newline"] = parts.newline
    return named | prefixed("language_model.", parts.words)


def buffers(layers: int, head_size: int, positions: int, prefix: str) -> Weights:
    """What transformers before 4.32 kept in the files too, and nobody reads."""
    frequencies = 1 / 10000 ** (torch.arange(0, head_size, 2) / head_size)
    found = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": frequencies for n in range(layers)}
    if prefix:
        found[f"{prefix}embeddings.position_ids"] = torch.arange(positions).expand(1, -1)
    return found


def prefixed(prefix: str, weights: Mapping[str, Tensor]) -> Weights:
    """The same weights under longer names."""
    return {f"{prefix}{name}": weight for name, weight in weights.items()}


_WHOLE = {"bin": "pytorch_model.bin", "safetensors": "model.safetensors"}


@dataclass(frozen=True)
class Files:
    """How weights are kept: `bin` or `safetensors`, in how many shards, in which precision."""

    kind: str = "safetensors"
    shards: int = 1
    dtype: torch.dtype = torch.float16

    def write(self, weights: Mapping[str, Tensor], folder: Path) -> None:
        """The files of a whole model, with their index when they are several."""
        stored = {
            name: weight.to(self.dtype if weight.is_floating_point() else weight.dtype)
            .clone()
            .contiguous()
            for name, weight in weights.items()
        }
        whole = _WHOLE[self.kind]
        if self.shards == 1:
            self.write_one(stored, folder / whole)
            return
        stem, suffix = whole.rsplit(".", 1)
        names = sorted(stored)
        weight_map: dict[str, str] = {}
        for number in range(self.shards):
            shard = f"{stem}-{number + 1:05d}-of-{self.shards:05d}.{suffix}"
            held = names[number :: self.shards]
            self.write_one({name: stored[name] for name in held}, folder / shard)
            weight_map |= dict.fromkeys(held, shard)
        total = sum(weight.nbytes for weight in stored.values())
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / f"{whole}.index.json").write_text(json.dumps(index))

    def write_one(self, weights: Weights, path: Path) -> None:
        """One file."""
        if self.kind == "bin":
            torch.save(weights, path)
        else:
            save_file(weights, path, metadata={"format": "pt"})
