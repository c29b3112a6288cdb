"""The published models as data: what each repository's config.json says, with small numbers.

Field names and values are those of the repositories' own files; sizes, vocabularies and pinpoints
are shrunken: 14 px patches to 8, so that 224 px become 16 and 336 px become 24.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from tests.model.published.weights import Files
from tests.model.published.words import IM_TOKENS, Words

Layout = Literal["original", "hf4", "hf5"]
Aspect = Literal["pad", "square", "stretch", "anyres"]

# openai/clip-vit-large-patch14, the same with -336, and ShareGPT4V-7B_Pretrained_vit-large336-l12.
# By other names, so that nobody can know their sizes without reading their config.json.
CLIP_224 = "openai/clip-vit-tiny-patch8-16"
CLIP_336 = "openai/clip-vit-tiny-patch8-24"
SHARE4V_TOWER = "Lin-Chen/ShareGPT4V-7B_Pretrained_vit-tiny24-l2"

PINPOINTS = [[24, 48], [48, 24], [48, 48], [72, 24], [24, 72]]
"""[[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]] in tiles of 24 px. The authors
mean (width, height) by it and transformers (height, width); they differ where two fit equally."""

_V1: dict[str, Any] = {
    "architectures": ["LlavaLlamaForCausalLM"],
    "freeze_mm_mlp_adapter": False,
    "max_sequence_length": 2048,
    "mm_hidden_size": 32,
    "mm_use_im_start_end": True,
    "mm_vision_select_layer": -2,
    "mm_vision_tower": CLIP_224,
    "model_type": "llava",
    "sep_image_conv_front": False,
    "torch_dtype": "float16",
    "transformers_version": "4.28.0.dev0",
    "tune_mm_mlp_adapter": False,
    "use_mm_proj": True,
}
_V1_5: dict[str, Any] = {
    "architectures": ["LlavaLlamaForCausalLM"],
    "freeze_mm_mlp_adapter": False,
    "freeze_mm_vision_resampler": False,
    "image_aspect_ratio": "pad",
    "mm_hidden_size": 32,
    "mm_projector_type": "mlp2x_gelu",
    "mm_resampler_type": None,
    "mm_use_im_patch_token": False,
    "mm_use_im_start_end": False,
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": CLIP_336,
    "model_type": "llava",
    "pretraining_tp": 1,
    "rope_scaling": None,
    "torch_dtype": "float16",
    "transformers_version": "4.31.0",
    "tune_mm_mlp_adapter": False,
    "tune_mm_vision_resampler": False,
    "unfreeze_mm_vision_tower": False,
    "use_mm_proj": True,
}
_V1_6: dict[str, Any] = _V1_5 | {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "image_aspect_ratio": "anyres",
    "image_crop_resolution": 224,
    "image_grid_pinpoints": PINPOINTS,
    "image_split_resolution": 224,
    "mm_patch_merge_type": "spatial_unpad",
    "mm_projector_lr": None,
    "mm_vision_tower_lr": 2e-06,
    "tokenizer_model_max_length": 4096,
    "tokenizer_padding_side": "right",
    "torch_dtype": "bfloat16",
    "transformers_version": "4.36.2",
    "unfreeze_mm_vision_tower": True,
}
_HF: dict[str, Any] = {
    "architectures": ["LlavaForConditionalGeneration"],
    "ignore_index": -100,
    "model_type": "llava",
    "projector_hidden_act": "gelu",
    "torch_dtype": "float16",
    "transformers_version": "4.36.0.dev0",
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
}
_HF_NEXT: dict[str, Any] = _HF | {
    "architectures": ["LlavaNextForConditionalGeneration"],
    "image_grid_pinpoints": PINPOINTS,
    "model_type": "llava_next",
    "tie_word_embeddings": False,
    "transformers_version": "4.39.0.dev0",
    "use_image_newline_parameter": True,
}

_VICUNA = {"max_position_embeddings": 4096, "rms_norm_eps": 1e-05}
_MISTRAL = {"max_position_embeddings": 32768, "num_key_value_heads": 2, "rms_norm_eps": 1e-05,
            "rope_theta": 1000000.0, "sliding_window": None}  # fmt: skip
_YI = {"max_position_embeddings": 4096, "num_key_value_heads": 2, "rms_norm_eps": 1e-05,
       "rope_theta": 5000000.0}  # fmt: skip
_LLAMA_3 = {"max_position_embeddings": 8192, "num_key_value_heads": 2, "rms_norm_eps": 1e-05,
            "rope_theta": 500000.0}  # fmt: skip
_QWEN = {"max_position_embeddings": 32768, "max_window_layers": 21, "rms_norm_eps": 1e-06,
         "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": True,
         "use_sliding_window": False}  # fmt: skip

BF16 = torch.bfloat16
_SHARDED = Files(shards=3, dtype=BF16)


@dataclass(frozen=True)
class Row:
    """One published model.

    template: the one it was trained with, None where nothing in its files tells. text: its part of
    the language model's configuration. fields: the rest of config.json. tower: the repository that
    config.json names, and whether the weights of a tower lie inside as well. added: special tokens
    that its repository added to the base model's.
    """

    repository: str
    layout: Layout
    fields: Mapping[str, Any]
    template: str | None = "vicuna_v1"
    aspect: Aspect = "pad"
    words: Words = "llama"
    family: Literal["llama", "mistral", "qwen2"] = "llama"
    text: Mapping[str, Any] = field(default_factory=lambda: _VICUNA)
    projector: Literal["linear", "mlp2x_gelu"] = "mlp2x_gelu"
    image_px: int = 24
    siglip: bool = False
    tower: str = CLIP_336
    tower_inside: bool = False
    files: Files = field(default_factory=Files)
    added: tuple[str, ...] = ()
    buffers: bool = False

    @property
    def anyres(self) -> bool:
        """Whether a picture is cut into tiles."""
        return self.aspect == "anyres"

    @property
    def label(self) -> str:
        """For the name of a test."""
        return f"{self.repository.partition('/')[2]}-{self.layout}"


V1 = (
    # The deltas of 7B and 13B, applied as the authors say.
    Row("liuhaotian/LLaVA-7b-v0", "original", _V1, template=None, aspect="square",
        projector="linear", image_px=16, tower=CLIP_224, files=Files("bin", shards=2),
        added=IM_TOKENS, buffers=True, text={"max_position_embeddings": 2048,
                                             "rms_norm_eps": 1e-06}),
    Row("liuhaotian/llava-v1-0719-336px-lora-merge-vicuna-13b-v1.3", "original",
        _V1 | {"mm_use_im_start_end": False, "mm_use_im_patch_token": False,
               "mm_vision_select_feature": "patch", "image_aspect_ratio": None,
               "mm_vision_tower": CLIP_336, "transformers_version": "4.31.0"},
        template=None, aspect="square", projector="linear", files=Files("bin", shards=2),
        buffers=True, text={"max_position_embeddings": 2048, "rms_norm_eps": 1e-06}),
)  # fmt: skip
V1_5 = (
    Row("liuhaotian/llava-v1.5-7b", "original", _V1_5, files=Files("bin", shards=2)),
    Row("somebody/llava-v1.5-trained-on", "original",
        _V1_5 | {"model_type": "llava_llama", "unfreeze_mm_vision_tower": True},
        tower_inside=True),
    Row("llava-hf/llava-1.5-7b-hf", "hf4", _HF, files=Files(shards=3),
        added=("<image>", "<pad>")),
    Row("llava-hf/llava-1.5-7b-hf", "hf5", _HF, added=("<image>", "<pad>")),
)  # fmt: skip
V1_6 = (
    Row("liuhaotian/llava-v1.6-vicuna-7b", "original", _V1_6, aspect="anyres",
        tower_inside=True, files=_SHARDED),
    Row("liuhaotian/llava-v1.6-mistral-7b", "original",
        _V1_6 | {"architectures": ["LlavaMistralForCausalLM"], "model_type": "llava_mistral"},
        template="mistral_instruct", aspect="anyres", words="mistral", family="mistral",
        text=_MISTRAL, tower_inside=True, files=_SHARDED),
    Row("liuhaotian/llava-v1.6-34b", "original", _V1_6, template="chatml_direct",
        aspect="anyres", words="yi", text=_YI, tower_inside=True, files=_SHARDED),
    Row("lmms-lab/llama3-llava-next-8b", "original",
        _V1_6 | {"model_type": "llava_llama", "mm_tunable_parts":
                 "mm_vision_tower,mm_mlp_adapter,mm_language_model"},
        template="llava_llama_3", aspect="anyres", words="llama_3", text=_LLAMA_3,
        tower_inside=True, files=_SHARDED),
    Row("llava-hf/llava-v1.6-vicuna-7b-hf", "hf4", _HF_NEXT, aspect="anyres",
        added=("<image>", "<pad>"), files=Files(shards=2)),
    Row("llava-hf/llava-v1.6-mistral-7b-hf", "hf4", _HF_NEXT, template="mistral_instruct",
        aspect="anyres", words="mistral", family="mistral", text=_MISTRAL,
        added=("<image>", "<pad>")),
    Row("llava-hf/llava-v1.6-34b-hf", "hf4", _HF_NEXT, template="chatml_direct",
        aspect="anyres", words="yi", text=_YI, added=("<image>", "<pad>")),
    Row("llava-hf/llama3-llava-next-8b-hf", "hf4", _HF_NEXT, template="llava_llama_3",
        aspect="anyres", words="llama_3", text=_LLAMA_3, added=("<image>", "<pad>")),
    Row("llava-hf/llava-v1.6-vicuna-7b-hf", "hf5", _HF_NEXT, aspect="anyres",
        added=("<image>", "<pad>")),
    Row("llava-hf/llava-v1.6-mistral-7b-hf", "hf5", _HF_NEXT, template="mistral_instruct",
        aspect="anyres", words="mistral", family="mistral", text=_MISTRAL,
        added=("<image>", "<pad>")),
)  # fmt: skip
OTHERS = (
    Row("Lin-Chen/ShareGPT4V-7B", "original",
        _V1_5 | {"architectures": ["Share4VLlamaForCausalLM"], "model_type": "share4v",
                 "mm_vision_tower": SHARE4V_TOWER},
        tower=SHARE4V_TOWER, files=Files("bin", shards=2)),
    Row("llava-hf/llava-interleave-qwen-0.5b-hf", "hf4",
        _HF | {"vision_feature_layer": -1, "vision_feature_select_strategy": "full",
               "transformers_version": "4.42.0.dev0"},
        template="qwen_1_5", aspect="stretch", words="qwen", family="qwen2", text=_QWEN,
        siglip=True, added=("<image>",)),
    Row("llava-hf/llava-interleave-qwen-0.5b-hf", "hf5",
        _HF | {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"},
        template="qwen_1_5", aspect="stretch", words="qwen", family="qwen2", text=_QWEN,
        siglip=True, added=("<image>",)),
)  # fmt: skip

ROWS = (*V1, *V1_5, *V1_6, *OTHERS)
"""Every row that is a whole model; `adapters` adds those that need a base."""
