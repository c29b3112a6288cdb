"""Checkpoints that need a base model: LoRA in its two forms, a projector alone, and the v0 deltas.

The weights that must come out are computed here by the definition, W + alpha / r * B A
(arXiv 2106.09685), or merged by peft itself.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from tests.model.published.layouts import (
    Written,
    in_cache,
    text_config,
    write,
    write_json,
    write_tower,
)
from tests.model.published.reference import twin_of
from tests.model.published.rows import OTHERS, V1, V1_5, V1_6, Row
from tests.model.published.weights import Files, Parts, Weights, prefixed, random_projector
from tests.model.published.words import tokenizer_of, write_tokenizer

VICUNA = "lmsys/vicuna-7b-v1.5"
LLAMA = "huggyllama/llama-7b"
RANK, ALPHA = 4, 8

TARGETS = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


def write_base(written: Written, repository: str, words: Weights) -> Path:
    """A language model alone, as a LLaVA was made from, in the cache."""
    folder = in_cache(written.hub, repository)
    Files("bin", shards=2).write(words, folder)
    rows = words["model.embed_tokens.weight"].shape[0]
    content = text_config(written.row, rows).to_diff_dict()
    content |= {"architectures": ["LlamaForCausalLM"], "_name_or_path": repository}
    write_json(folder / "config.json", content)
    write_tokenizer(written.row.words, folder)
    return folder


def write_lora(
    root: Path, kind: str = "bin", *, row: Row = V1_5[0], own_projector: bool = True
) -> Written:
    """As the authors' training script saves it (liuhaotian/llava-v1.5-7b-lora).

    With a projector of its own the base is a plain Vicuna, without it a whole LLaVA-1.5.
    """
    base = write(row, root / "base", root / "hub")
    folder = root / "llava-v1.5-7b-lora"
    folder.mkdir()
    config = json.loads((base.folder / "config.json").read_text())
    torch.manual_seed(5)
    if own_projector:
        base_name = VICUNA
        write_base(base, VICUNA, base.parts.words)
        write_tower(base, base.parts.tower)
        projector = random_projector(row.projector, 48, 32, torch.float16)
        others = prefixed("base_model.model.model.mm_projector.", projector)
        save_halves(others, folder / "non_lora_trainables.bin")
    else:
        base_name = str(base.folder)
        projector = base.parts.projector
    lora, words = _random_lora(base.parts.words)
    save_lora(prefixed("base_model.model.", lora), folder, kind)
    write_json(folder / "config.json", config | {"_name_or_path": base_name})
    write_json(folder / "adapter_config.json", adapter_config(base_name))
    parts = replace(base.parts, words=words, projector=projector)
    return replace(base, folder=folder, parts=parts)


def adapter_config(base_name: str) -> dict[str, Any]:
    """As peft 0.4 writes it."""
    return {
        "base_model_name_or_path": base_name,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "layers_pattern": None,
        "layers_to_transform": None,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.05,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": RANK,
        "revision": None,
        "target_modules": TARGETS,
        "task_type": "CAUSAL_LM",
    }


def save_lora(weights: Mapping[str, torch.Tensor], folder: Path, kind: str) -> None:
    """adapter_model.bin or adapter_model.safetensors."""
    held = {name: weight.contiguous() for name, weight in weights.items()}
    if kind == "bin":
        torch.save(held, folder / "adapter_model.bin")
    else:
        save_file(held, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def save_halves(weights: Weights, path: Path) -> None:
    """In float16, as the authors' training script does."""
    torch.save({name: weight.half() for name, weight in weights.items()}, path)


def _random_lora(words: Weights) -> tuple[Weights, Weights]:
    """(A and B of every Linear by peft's names, the words with them merged)."""
    lora: Weights = {}
    merged = dict(words)
    for name, weight in words.items():
        if not re.search(rf"\.({'|'.join(TARGETS)})\.weight$", name):
            continue
        down = (torch.randn(RANK, weight.shape[1]) * 0.2).half().float()
        up = (torch.randn(weight.shape[0], RANK) * 0.2).half().float()
        module = name.removesuffix(".weight")
        lora |= {f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up}
        merged[name] = weight + ALPHA / RANK * up @ down
    return lora, merged


def write_peft(root: Path, row: Row, *, names: str, trained: Mapping[str, Any]) -> Written:
    """As peft saves it when transformers' own class was trained (`trained`: of LoraConfig).

    names: of transformers `5` as peft writes them today, or of `4`. The base is in the cache.
    """
    base = write(row, root / "base", root / "hub")
    kept = in_cache(base.hub, row.repository)
    for path in base.folder.iterdir():
        path.rename(kept / path.name)
    twin = twin_of(base.parts, base.vision, base.text, base.select, base.grid)
    torch.manual_seed(6)
    wanted = LoraConfig(r=RANK, lora_alpha=ALPHA, init_lora_weights=False, **trained)
    with warnings.catch_warnings():  # peft 0.21 asks transformers 5.23 by an older name
        warnings.simplefilter("ignore", FutureWarning)
        model = get_peft_model(twin, wanted)
    for name, weight in model.named_parameters():
        if "modules_to_save" in name or "lora_magnitude_vector" in name:
            weight.data += torch.randn_like(weight) * 0.1
    folder = root / "adapter"
    model.save_pretrained(folder, save_embedding_layers=False)  # else it asks the Hub for the base
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = row.repository
    write_json(folder / "adapter_config.json", config)
    path = folder / "adapter_model.safetensors"
    if names == "4":
        save_lora({_in_4(name): weight for name, weight in load_file(path).items()}, folder,
                  "safetensors")  # fmt: skip
    merged = model.merge_and_unload()
    return replace(base, folder=folder, parts=_parts_of(merged, base.parts))


def _in_4(name: str) -> str:
    name = name.replace("model.model.vision_tower.", "model.vision_tower.vision_model.")
    name = name.replace("model.model.multi_modal_projector.", "model.multi_modal_projector.")
    return name.replace("model.model.language_model.", "model.language_model.model.")


def _parts_of(twin: Any, before: Parts) -> Parts:
    def held(module: Any) -> Weights:
        return {name: weight.detach().clone() for name, weight in module.state_dict().items()}

    words = prefixed("model.", held(twin.model.language_model))
    words["lm_head.weight"] = twin.lm_head.weight.detach().clone()
    projector = {
        name.replace("linear_1", "0").replace("linear_2", "2"): weight
        for name, weight in held(twin.model.multi_modal_projector).items()
    }
    return Parts(held(twin.model.vision_tower), words, projector, before.newline)


def write_projector(root: Path) -> Written:
    """What stage 1 leaves: mm_projector.bin and a config.json that names the base."""
    row = V1_5[0]
    base = write(row, root / "base", root / "hub")
    write_base(base, VICUNA, base.parts.words)
    folder = root / "llava-v1.5-mlp2x-336px-pretrain"
    folder.mkdir()
    config = json.loads((base.folder / "config.json").read_text())
    write_json(
        folder / "config.json",
        config | {"_name_or_path": VICUNA, "tune_mm_mlp_adapter": True},
    )
    named = prefixed("model.mm_projector.", base.parts.projector)
    save_halves(named, folder / "mm_projector.bin")
    return replace(base, folder=folder)


def write_delta(root: Path) -> Written:
    """LLaVA-7b-delta-v0: the model less the LLaMA it was made of, but for the projector.

    Its table of words has three rows more than LLaMA's, which are no difference either.
    """
    row = V1[0]
    whole = write(row, root / "whole", root / "hub")
    torch.manual_seed(7)
    rows = len(tokenizer_of(row.words))
    llama, delta = {}, {}
    for name, weight in whole.parts.words.items():
        base = (torch.randn_like(weight) * 0.05).half().float()
        base = base[:rows] if name.startswith(("model.embed_tokens", "lm_head")) else base
        llama[name] = base
        delta[name] = weight.clone()
        delta[name][: base.shape[0]] -= base
    llama_folder = write_base(whole, LLAMA, llama)
    folder = root / "LLaVA-7b-delta-v0"
    folder.mkdir()
    files = Files("bin", shards=2, dtype=torch.float32)
    files.write(delta | prefixed("model.mm_projector.", whole.parts.projector), folder)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((whole.folder / name).read_bytes())
    return replace(whole, folder=folder, base=llama_folder)


_LANGUAGE = r".*language_model.*\.(q|v|o|up|down)_proj"
WRITERS = {
    "lora-bin": lambda root: write_lora(root, "bin"),
    "lora-safetensors": lambda root: write_lora(root, "safetensors"),
    # liuhaotian/llava-v1-0719-336px-lora-vicuna-13b-v1.3
    "lora-v1": lambda root: write_lora(root, row=V1[1]),
    "lora-on-a-whole-llava": lambda root: write_lora(root, own_projector=False),
    "peft-5": lambda root: write_peft(
        root, V1_5[3], names="5", trained={"target_modules": _LANGUAGE}
    ),
    "peft-4": lambda root: write_peft(
        root, V1_5[2], names="4", trained={"target_modules": _LANGUAGE}
    ),
    # As most scripts have it: these names are of layers of the tower too.
    "peft-5-with-tower": lambda root: write_peft(
        root, V1_5[2], names="5", trained={"target_modules": ["q_proj", "v_proj"]}
    ),
    "peft-4-with-tower": lambda root: write_peft(
        root, OTHERS[1], names="4", trained={"target_modules": ["q_proj", "v_proj"]}
    ),
    "peft-5-with-projector": lambda root: write_peft(
        root, V1_5[2], names="5",
        trained={"target_modules": _LANGUAGE, "modules_to_save": ["multi_modal_projector"]},
    ),
    "peft-5-anyres": lambda root: write_peft(
        root, V1_6[5], names="5", trained={"target_modules": _LANGUAGE, "use_rslora": True}
    ),
    "peft-5-qwen": lambda root: write_peft(
        root, OTHERS[1], names="5",
        trained={"target_modules": _LANGUAGE, "rank_pattern": {"o_proj": 2},
                 "alpha_pattern": {"o_proj": 16}},
    ),
    "projector-only": write_projector,
}  # fmt: skip
"""Every row that is put on a base when it is loaded, by its name. Deltas are made whole before."""
