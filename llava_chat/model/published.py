"""The published checkpoints of the line: what to name, what each needs, which template it speaks.

The template stands here because none of their config.json files has it; for those of LLaVA v1 it is
the only place where it can be known. Others load as well, by what their own files say. Imports
nothing of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

_VICUNA_7B = "lmsys/vicuna-7b-v1.5"
_VICUNA_13B = "lmsys/vicuna-13b-v1.5"
_CLIP_336 = "openai/clip-vit-large-patch14-336"
_CLIP_224 = "openai/clip-vit-large-patch14"
_SHARE4V = "Lin-Chen/ShareGPT4V-{}_Pretrained_vit-large336-l12"


@dataclass(frozen=True)
class Published:
    """A checkpoint on the Hub. parameters: with its tower and, for adapters, its base.

    needs: the other repositories, which are found or downloaded with it. convert_first: the command
    that makes it a checkpoint, where it is a delta.
    """

    name: str
    description: str
    parameters: int
    template: str
    needs: tuple[str, ...] = ()
    convert_first: str | None = None


def _delta(size: str, version: str, name: str, parameters: int, template: str) -> Published:
    return Published(
        f"liuhaotian/{name}",
        f"LLaVA v1 {size} as a delta to LLaMA {size}, Vicuna {version} (arXiv 2304.08485)",
        parameters,
        template,
        (_CLIP_224,),
        f"convert liuhaotian/{name} TARGET --layout hf --base LLAMA",
    )


# Sources: the model zoos of haotian-liu/LLaVA, LLaVA-VL/LLaVA-NeXT and ShareGPT4V, and the web
# server of the first for the templates, except that LLaVA-1.5 and 1.6 on Vicuna were trained and
# evaluated on vicuna_v1. Parameters are counted on models of these configurations.
PUBLISHED: tuple[Published, ...] = (
    Published(
        "llava-hf/llava-interleave-qwen-0.5b-hf",
        "LLaVA-Interleave on Qwen1.5 0.5B: the one that a CPU carries (arXiv 2407.07895)",
        864_031_264,
        "qwen_1_5",
    ),
    Published(
        "llava-hf/llava-1.5-7b-hf",
        "LLaVA-1.5 on Vicuna 7B (arXiv 2310.03744)",
        7_063_427_072,
        "vicuna_v1",
    ),
    Published(
        "llava-hf/llava-1.5-13b-hf",
        "LLaVA-1.5 on Vicuna 13B (arXiv 2310.03744)",
        13_351_494_656,
        "vicuna_v1",
    ),
    Published(
        "liuhaotian/llava-v1.5-7b",
        "LLaVA-1.5 on Vicuna 7B, in the authors' layout",
        7_062_902_784,
        "vicuna_v1",
        (_CLIP_336,),
    ),
    Published(
        "liuhaotian/llava-v1.5-13b",
        "LLaVA-1.5 on Vicuna 13B, in the authors' layout",
        13_350_839_296,
        "vicuna_v1",
        (_CLIP_336,),
    ),
    Published(
        "liuhaotian/llava-v1.5-7b-lora",
        "LLaVA-1.5 7B as a LoRA adapter of Vicuna",
        7_062_902_784,
        "vicuna_v1",
        (_VICUNA_7B, _CLIP_336),
    ),
    Published(
        "liuhaotian/llava-v1.5-13b-lora",
        "LLaVA-1.5 13B as a LoRA adapter of Vicuna",
        13_350_839_296,
        "vicuna_v1",
        (_VICUNA_13B, _CLIP_336),
    ),
    Published(
        "llava-hf/llava-v1.6-vicuna-7b-hf",
        "LLaVA-1.6 on Vicuna 7B: sees up to 672 x 672 (LLaVA-NeXT, 2024-01)",
        7_063_431_168,
        "vicuna_v1",
    ),
    Published(
        "llava-hf/llava-v1.6-vicuna-13b-hf",
        "LLaVA-1.6 on Vicuna 13B",
        13_351_499_776,
        "vicuna_v1",
    ),
    Published(
        "llava-hf/llava-v1.6-mistral-7b-hf",
        "LLaVA-1.6 on Mistral 7B",
        7_566_747_648,
        "mistral_instruct",
    ),
    Published(
        "llava-hf/llava-v1.6-34b-hf",
        "LLaVA-1.6 on Nous Hermes 2 Yi 34B",
        34_752_083_968,
        "chatml_direct",
    ),
    Published(
        "llava-hf/llama3-llava-next-8b-hf",
        "LLaVA-NeXT on Llama 3 8B",
        8_355_276_800,
        "llava_llama_3",
    ),
    Published(
        "liuhaotian/llava-v1.6-vicuna-7b",
        "LLaVA-1.6 on Vicuna 7B, in the authors' layout",
        7_062_906_880,
        "vicuna_v1",
    ),
    Published(
        "liuhaotian/llava-v1.6-vicuna-13b",
        "LLaVA-1.6 on Vicuna 13B, in the authors' layout",
        13_350_844_416,
        "vicuna_v1",
    ),
    Published(
        "liuhaotian/llava-v1.6-mistral-7b",
        "LLaVA-1.6 on Mistral 7B, in the authors' layout",
        7_566_223_360,
        "mistral_instruct",
    ),
    Published(
        "liuhaotian/llava-v1.6-34b",
        "LLaVA-1.6 on Nous Hermes 2 Yi 34B, in the authors' layout",
        34_751_166_464,
        "chatml_direct",
    ),
    Published(
        "lmms-lab/llama3-llava-next-8b",
        "LLaVA-NeXT on Llama 3 8B, in the authors' layout",
        8_354_752_512,
        "llava_llama_3",
    ),
    Published(
        "Lin-Chen/ShareGPT4V-7B",
        "ShareGPT4V on Vicuna 7B, with a tower of its own (arXiv 2311.12793)",
        7_062_902_784,
        "vicuna_v1",
        (_SHARE4V.format("7B"),),
    ),
    Published(
        "Lin-Chen/ShareGPT4V-13B",
        "ShareGPT4V on Vicuna 13B, with a tower of its own",
        13_350_839_296,
        "vicuna_v1",
        (_SHARE4V.format("13B"),),
    ),
    Published(
        "liuhaotian/llava-v1-0719-336px-lora-merge-vicuna-13b-v1.3",
        "LLaVA v1 at 336 pixels on Vicuna 13B, merged (July 2023)",
        13_324_619_776,
        "llava_v1",
        (_CLIP_336,),
    ),
    Published(
        "liuhaotian/llava-v1-0719-336px-lora-vicuna-13b-v1.3",
        "the same as a LoRA adapter",
        13_324_619_776,
        "llava_v1",
        ("lmsys/vicuna-13b-v1.3", _CLIP_336),
    ),
    Published(
        "liuhaotian/llava-llama-2-13b-chat-lightning-preview",
        "LLaVA v1 on Llama 2 13B Chat",
        13_324_292_096,
        "llava_llama_2",
        (_CLIP_224,),
    ),
    Published(
        "liuhaotian/llava-v1.5-mlp2x-336px-pretrain-vicuna-7b-v1.5",
        "what stage 1 of LLaVA-1.5 7B leaves: a projector alone, to go on training from",
        7_062_902_784,
        "vicuna_v1",
        (_VICUNA_7B, _CLIP_336),
    ),
    Published(
        "liuhaotian/llava-v1.5-mlp2x-336px-pretrain-vicuna-13b-v1.5",
        "the same of LLaVA-1.5 13B",
        13_350_839_296,
        "vicuna_v1",
        (_VICUNA_13B, _CLIP_336),
    ),
    _delta("7B", "v0", "LLaVA-7b-delta-v0", 7_045_818_368, "llava_v0"),
    _delta("13B", "v0", "LLaVA-13b-delta-v0", 13_324_322_816, "llava_v0"),
    _delta("7B", "v1.1", "LLaVA-Lightning-7B-delta-v1-1", 7_045_818_368, "llava_v1"),
    _delta("13B", "v1.1", "LLaVA-13b-delta-v1-1", 13_324_322_816, "llava_v1"),
)


def published(name: str) -> Published | None:
    """The checkpoint of that Hub id, None when it is not in the table.

    >>> published("liuhaotian/LLaVA-7b-delta-v0").template
    'llava_v0'
    """
    return next((each for each in PUBLISHED if each.name == name), None)
