"""Every variant with every seed: train it, ask it, keep what it said. Resumable at every step.

What a variant leaves as it is, it shares: the encoder and the language model before stage 1 are
trained once for all, stage 1 once for each seed, layer and projector. So a variant and what it is
held against differ in that one thing alone, and learn from the same conversations.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionModel, LlamaForCausalLM, PreTrainedTokenizerBase

from llava_chat.evaluation.ablations.asking import Said, ask_held_out
from llava_chat.evaluation.ablations.sizes import Size
from llava_chat.evaluation.ablations.variants import Variant
from llava_chat.evaluation.answers import parsed, read_text, say
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.training.recipes import Stage
from llava_chat.training.scenes.reasoned import reasoned_makers
from llava_chat.training.scenes.recipe import (
    Recipe,
    assemble,
    conversation_maker,
    stage_options,
    trained_parts,
)
from llava_chat.training.stages import run_stage
from llava_chat.training.stream import from_random
from llava_chat.training.writing import write_whole

SAID = "said.json"
"""In a run's folder: every held-out question, and what was said to it."""

Parts = tuple[PreTrainedTokenizerBase, CLIPVisionModel, LlamaForCausalLM]


@dataclass(frozen=True)
class Judged:
    """What one variant, trained with one seed, said to every held-out question."""

    variant: str
    seed: int
    said: tuple[Said, ...]


def run_all(
    size: Size, variants: Sequence[Variant], seeds: int, *, work: Path, device: torch.device
) -> list[Judged]:
    """Train and judge what is not judged yet; return all.

    Raises LlavaChatError when `work` holds states of another size.
    """
    planned = [(seed, variant) for seed in range(1, seeds + 1) for variant in variants]
    parts: Parts | None = None
    judged: list[Judged] = []
    started, trained = time.monotonic(), 0
    for number, (seed, variant) in enumerate(planned, 1):
        folder = _folder(work, variant, seed)
        known = _read(folder, size, variant, seed)
        if known is None:
            say(f"ablations: run {number} of {len(planned)}: {variant.name}, seed {seed}")
            if parts is None:
                parts = trained_parts(size.recipe, work, device)
                started = time.monotonic()
            checkpoint = train_variant(size.recipe, variant, seed, parts, folder, device)
            known = Judged(variant.name, seed, tuple(ask_held_out(checkpoint, size, variant.order)))
            _write(folder, size, variant, known)
            trained += 1
            left_min = (time.monotonic() - started) / trained * (len(planned) - number) / 60
            right = sum(said.right for said in known.said)
            say(f"ablations: {right} of {len(known.said)} right; about {left_min:.0f} minutes left")
        judged.append(known)
    return judged


def judged_so_far(size: Size, variants: Sequence[Variant], seeds: int, work: Path) -> list[Judged]:
    """What is judged already."""
    found = [
        _read(_folder(work, variant, seed), size, variant, seed)
        for seed in range(1, seeds + 1)
        for variant in variants
    ]
    return [judged for judged in found if judged is not None]


def train_variant(
    recipe: Recipe, variant: Variant, seed: int, parts: Parts, folder: Path, device: torch.device
) -> Checkpoint:
    """Both stages, or what is left of them. Stage 1 lies beside `folder`, for others too."""
    tokenizer, tower, decoder = parts
    checkpoint = assemble(
        recipe,
        tokenizer,
        tower,
        decoder,
        device,
        projector=variant.projector,
        select_layer=variant.select_layer,
        seed=seed,
    )
    if variant.aligned:
        name = f"align-{variant.projector}-{variant.select_layer}"
        _learn("align", recipe, checkpoint, seed, folder.parent / name)
    steps = max(1, round(recipe.finetune.steps * variant.data_share))
    recipe = replace(recipe, finetune=replace(recipe.finetune, steps=steps))
    _learn("finetune", recipe, checkpoint, seed, folder / "finetune", variant)
    return checkpoint


def _learn(
    stage: Stage,
    recipe: Recipe,
    checkpoint: Checkpoint,
    seed: int,
    checkpoints: Path,
    variant: Variant | None = None,
) -> None:
    order = variant.order if variant else None
    more = reasoned_makers(order) if order else ()
    maker = conversation_maker(stage, recipe.turns, recipe.world, more)
    options = stage_options(recipe, stage, seed)
    loop = replace(options.loop, save_every=100, run={**options.loop.run, "order": order})
    # One compiled decoder more for each run: past some, torch would no longer compile any.
    torch.compiler.reset()
    run_stage(
        stage, checkpoint, from_random(maker, seed + 100), replace(options, loop=loop), checkpoints
    )


def _recipe_of(size: Size, variant: Variant, seed: int) -> dict[str, Any]:
    """What a result is of: with any of it changed, it is another one."""
    described = asdict(size)
    described["recipe"]["world"] = str(size.recipe.world)
    changed = {
        key: value
        for key, value in asdict(variant).items()
        if key in ("select_layer", "projector", "aligned", "data_share", "order")
    }
    return {"size": described, "variant": changed, "seed": seed}


def _write(folder: Path, size: Size, variant: Variant, judged: Judged) -> None:
    result = {
        "of": _recipe_of(size, variant, judged.seed),
        "said": [asdict(s) for s in judged.said],
    }
    write_whole(folder / SAID, [json.dumps(result, indent=1), "\n"])


def _read(folder: Path, size: Size, variant: Variant, seed: int) -> Judged | None:
    """What is judged already; None where nothing is, or what there is was asked otherwise.

    Raises BenchmarkError for a file that is not JSON.
    """
    file = folder / SAID
    if not file.exists():
        return None
    result = parsed(read_text(file), str(file))
    if result["of"] != _recipe_of(size, variant, seed):
        return None
    return Judged(variant.name, seed, tuple(Said(**one) for one in result["said"]))


def _folder(work: Path, variant: Variant, seed: int) -> Path:
    return work / f"seed-{seed}" / variant.name.replace(" ", "-")
