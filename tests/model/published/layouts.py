"""Writes a row as its repository has it: a folder, and in a cache the repositories it names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    CLIPConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from tests.model.published.reference import twin_of
from tests.model.published.rows import CLIP_336, PINPOINTS, SHARE4V_TOWER, Row
from tests.model.published.weights import (
    Files,
    Parts,
    Weights,
    buffers,
    hf4_names,
    original_names,
    prefixed,
    random_parts,
    words_for_tower,
)
from tests.model.published.words import tokenizer_of, write_tokenizer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]

_VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "patch_size": 8,
}
_TEXT = {
    "hidden_act": "silu",
    "hidden_size": 48,
    "initializer_range": 0.02,
    "intermediate_size": 64,
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 6,
    "tie_word_embeddings": False,
    "use_cache": True,
}


@dataclass(frozen=True)
class Written:
    """A row on disk, and what must come out of it.

    folder: what --model names. hub: a cache of huggingface_hub's layout with the repositories that
    it needs besides. tokenizer, vision, text: of the reference. base: the LLaMA that the row is a
    delta to.
    """

    row: Row
    folder: Path
    hub: Path
    parts: Parts
    vision: PreTrainedConfig
    text: PreTrainedConfig
    tokenizer: PreTrainedTokenizerFast
    base: Path | None = None

    @property
    def grid(self) -> list[list[int]]:
        """(height, width) each, as transformers means it."""
        if not self.row.anyres:
            return []
        if self.row.layout == "original":
            return [[height, width] for width, height in PINPOINTS]
        return PINPOINTS

    @property
    def select(self) -> tuple[int, str]:
        """The layer that is read, and transformers' word for which of its rows."""
        return (-1, "full") if self.row.siglip else (-2, "default")


def write(row: Row, folder: Path, hub: Path, seed: int = 0) -> Written:
    """Write a row's whole model into `folder`, and into `hub` what config.json names."""
    folder.mkdir(parents=True)
    tokenizer = tokenizer_of(row.words, row.added)
    rows = len(tokenizer) if row.layout == "original" else -(-(len(tokenizer)) // 64) * 64
    vision, text = vision_config(row), text_config(row, rows)
    parts = random_parts(
        vision,
        text,
        projector=row.projector,
        anyres=row.anyres,
        dtype=row.files.dtype,
        seed=seed,
    )
    written = Written(row, folder, hub, parts, vision, text, tokenizer)
    write_tokenizer(row.words, folder, row.added)
    if row.layout == "original":
        _write_original(written)
    else:
        _write_hf(written)
    return written


def vision_config(row: Row) -> PreTrainedConfig:
    """Of the tower whose weights are read."""
    if row.siglip:
        return AutoConfig.for_model(
            "siglip_vision_model", **_VISION, image_size=row.image_px, vision_use_head=False
        )
    return AutoConfig.for_model(
        "clip_vision_model", **_VISION, image_size=row.image_px, projection_dim=24
    )


def text_config(row: Row, rows: int) -> PreTrainedConfig:
    """Of the language model, its table of words `rows` long."""
    return AutoConfig.for_model(row.family, **_text_fields(row, rows))


def _text_fields(row: Row, rows: int) -> dict[str, Any]:
    tokenizer = tokenizer_of(row.words, row.added)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if row.words == "llama":
        ids["pad_token_id"] = 0
    return _TEXT | ids | {"vocab_size": rows} | dict(row.text)


def _write_original(written: Written) -> None:
    row, parts = written.row, written.parts
    named = original_names(parts, tower_inside=row.tower_inside)
    if row.buffers:
        named |= buffers(3, 8, 10, "model.vision_tower.x." if row.tower_inside else "")
    row.files.write(named, written.folder)
    base = row.repository.partition("/")[2]
    write_json(
        written.folder / "config.json",
        {"_name_or_path": f"./checkpoints/{base}"}
        | _text_fields(row, written.text.vocab_size)
        | dict(row.fields),
    )
    write_tower(written, parts.tower if not row.tower_inside else None)


def write_tower(written: Written, tower: Weights | None) -> None:
    """The repository of the tower; other weights than the model's own when `tower` is None."""
    row = written.row
    folder = in_cache(written.hub, row.tower)
    if tower is None:
        torch.manual_seed(99)
        tower = {name: torch.randn_like(weight) for name, weight in written.parts.tower.items()}
    positions = torch.arange((row.image_px // 8) ** 2 + 1).expand(1, -1)
    named = prefixed("vision_model.", tower)
    named["vision_model.embeddings.position_ids"] = positions
    if row.tower == SHARE4V_TOWER:
        config = {"_name_or_path": CLIP_336, "architectures": ["CLIPVisionModel"]}
        config |= _plain(written.vision) | {"torch_dtype": "float16"}
    else:
        config = _whole_clip(written.vision)
        named |= words_for_tower(CLIPConfig(**config), torch.float32)
        named["text_model.embeddings.position_ids"] = torch.arange(7).expand(1, -1)
    dtype = torch.float16 if row.tower == SHARE4V_TOWER else torch.float32
    Files("bin", dtype=dtype).write(named, folder)
    write_json(folder / "config.json", config)
    write_json(
        folder / "preprocessor_config.json",
        {
            "crop_size": row.image_px,
            "do_center_crop": True,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_mean": CLIP_MEAN,
            "image_std": CLIP_STD,
            "resample": 3,
            "size": row.image_px,
        },
    )


def _whole_clip(vision: PreTrainedConfig) -> dict[str, Any]:
    words = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "vocab_size": 30,
        "max_position_embeddings": 7,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "model_type": "clip_text_model",
    }
    return {
        "_name_or_path": "openai/clip-vit-large-patch14",
        "architectures": ["CLIPModel"],
        "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592,
        "model_type": "clip",
        "projection_dim": 24,
        "text_config": words,
        "text_config_dict": words,
        "torch_dtype": "float32",
        "transformers_version": None,
        "vision_config": _plain(vision),
        "vision_config_dict": {**_VISION, "image_size": vision.image_size},
    }


def _plain(config: PreTrainedConfig) -> dict[str, Any]:
    content: dict[str, Any] = config.to_diff_dict()
    content.pop("transformers_version", None)
    return content | _VISION | {"image_size": config.image_size, "model_type": config.model_type}


def _write_hf(written: Written) -> None:
    row, folder = written.row, written.folder
    content = dict(row.fields) | {
        "image_token_index": written.tokenizer.convert_tokens_to_ids("<image>"),
        "text_config": {"model_type": row.family, "torch_dtype": "float16"}
        | _text_fields(row, written.text.vocab_size),
        "vision_config": _plain(written.vision),
    }
    if "<pad>" in row.added:
        content["pad_token_id"] = written.tokenizer.pad_token_id
        content["vocab_size"] = written.text.vocab_size
    write_json(folder / "config.json", content)
    named = hf4_names(written.parts)
    if written.text.tie_word_embeddings:
        del named["language_model.lm_head.weight"]
    if row.layout == "hf4":
        row.files.write(named, folder)
    else:
        twin = twin_of(written.parts, written.vision, written.text, written.select, written.grid,
                       image_token=content["image_token_index"])  # fmt: skip
        twin.to(row.files.dtype).save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", _processor(row))


def _processor(row: Row) -> dict[str, Any]:
    """preprocessor_config.json of llava-hf."""
    side = {"height": row.image_px, "width": row.image_px}
    shared = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    if row.siglip:
        return shared | {
            "do_convert_rgb": None,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "SiglipImageProcessor",
            "image_std": [0.5, 0.5, 0.5],
            "processor_class": "LlavaProcessor",
            "size": side,
        }
    clip = shared | {
        "crop_size": side,
        "do_center_crop": True,
        "image_mean": CLIP_MEAN,
        "image_processor_type": "CLIPImageProcessor",
        "image_std": CLIP_STD,
        "processor_class": "LlavaProcessor",
        "size": {"shortest_edge": row.image_px},
    }
    if not row.anyres:
        return clip
    return clip | {
        "aspect_ratio_setting": "anyres",
        "do_pad": True,
        "image_grid_pinpoints": PINPOINTS,
        "image_processor_type": "LlavaNextImageProcessor",
        "processor_class": "LlavaNextProcessor",
    }


def in_cache(hub: Path, repository: str) -> Path:
    """The snapshot of a repository in a cache of huggingface_hub's layout."""
    place = hub / f"models--{repository.replace('/', '--')}"
    snapshot = place / "snapshots" / COMMIT
    snapshot.mkdir(parents=True, exist_ok=True)
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text(COMMIT)
    return snapshot


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """As json.dumps has it."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True))
