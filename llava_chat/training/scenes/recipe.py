"""`train scenes`: the bundled model from nothing, in the papers' order, resumable at every step."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from llava_chat.conversation import Conversation
from llava_chat.model.checkpoint import Checkpoint, save_checkpoint
from llava_chat.model.llava import LlavaConfig, LlavaModel
from llava_chat.model.preprocessing import Preprocessing
from llava_chat.model.projector import ProjectorKind
from llava_chat.training.recipes import Stage
from llava_chat.training.saving import steps_done
from llava_chat.training.scenes.contrastive import train_encoder
from llava_chat.training.scenes.dialogue import (
    captioned_picture,
    dialogue_conversation,
    random_dialogue,
)
from llava_chat.training.scenes.exchange import Maker
from llava_chat.training.scenes.tokenizer import CONTEXT_TOKENS, IMAGE_TOKEN, learn_tokenizer
from llava_chat.training.scenes.word_grid import train_language_model
from llava_chat.training.scenes.world import CORE, FURTHER, World
from llava_chat.training.schedule import LoopOptions
from llava_chat.training.side_by_side import side_by_side
from llava_chat.training.stages import StageOptions, run_stage
from llava_chat.training.stream import from_random

DESCRIPTION = (
    "A small demonstration model: it knows drawings of simple shapes with a short printed word, "
    "and nothing else."
)
TEMPLATE = "vicuna_v1"
ROPE_THETA = 500_000.0  # Llama 3 (arXiv 2407.21783)
ENCODER_STATE, LANGUAGE_STATE, FURTHER_STATE = "encoder", "language_model", "further"
_STAGES: tuple[Stage, ...] = ("align", "finetune")


@dataclass(frozen=True)
class Part:
    """How long one part learns: steps, samples a step, and the peak learning rates.

    matrix_lr: Muon's, for the hidden matrices; None leaves them to AdamW at `lr`. reuse: how often
    each batch is used, where drawing it takes longer than learning from it.
    """

    steps: int
    batch_size: int
    lr: float
    matrix_lr: float | None = None
    reuse: int = 1


@dataclass(frozen=True)
class Recipe:
    """Shapes of the model, and how long each of its parts learns."""

    image_px: int
    patch_px: int
    vision_width: int
    vision_layers: int
    text_width: int
    text_layers: int
    head_width: int
    vocabulary: int
    encoder: Part
    language: Part
    align: Part
    finetune: Part
    turns: int
    max_tokens: int
    workers: int
    compile_decoder: bool = True
    world: World = FURTHER

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_px // self.patch_px

    @property
    def vision(self) -> CLIPVisionConfig:
        """The tower's configuration."""
        return CLIPVisionConfig(
            hidden_size=self.vision_width,
            intermediate_size=4 * self.vision_width,
            num_hidden_layers=self.vision_layers,
            num_attention_heads=self.vision_width // self.head_width,
            image_size=self.image_px,
            patch_size=self.patch_px,
        )

    @property
    def text(self) -> LlamaConfig:
        """The decoder's configuration; 8/3 of the width inside, as in LLaMA (arXiv 2302.13971)."""
        return LlamaConfig(
            hidden_size=self.text_width,
            intermediate_size=-(-self.text_width * 11 // 4 // 32) * 32,
            num_hidden_layers=self.text_layers,
            num_attention_heads=self.text_width // self.head_width,
            vocab_size=self.vocabulary,
            max_position_embeddings=CONTEXT_TOKENS,
            # Slow turns in most of the head: likeness then counts for more than distance.
            rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
            tie_word_embeddings=False,
        )


RECIPES = {
    # Some four and a half hours on two cores that multiply bfloat16: one run, stopped and resumed.
    "cpu": Recipe(
        image_px=144, patch_px=16, vision_width=192, vision_layers=6,
        text_width=256, text_layers=6, head_width=64, vocabulary=1024,
        encoder=Part(6900, 64, 1e-3, 3e-3, reuse=3), language=Part(4000, 16, 2e-3, 3e-3),
        align=Part(250, 32, 2e-3), finetune=Part(7600, 16, 1e-3, 2e-3),
        turns=12, max_tokens=288, workers=1,
    ),
    # For one large GPU and 16 cores that draw; not run yet, so neither time nor figures are known.
    "gpu": Recipe(
        image_px=224, patch_px=16, vision_width=256, vision_layers=7,
        text_width=320, text_layers=8, head_width=64, vocabulary=1024,
        encoder=Part(4000, 256, 1e-3, 3e-3, reuse=4), language=Part(4000, 128, 2e-3, 3e-3),
        align=Part(400, 128, 2e-3), finetune=Part(6000, 128, 1e-3, 2e-3, reuse=3),
        turns=14, max_tokens=512, workers=14,
    ),
}  # fmt: skip


def train_scenes(
    recipe: Recipe, *, work: Path, output: Path, device: torch.device, seed: int = 1
) -> Checkpoint:
    """Run (or go on with) every part of the recipe; write the model to `output` and return it."""
    started = time.monotonic()
    checkpoint = assemble(recipe, *trained_parts(recipe, work, device, seed), device)
    for stage in _STAGES:
        _run(stage, recipe, checkpoint, work / stage, seed)
    _write(checkpoint, output, started)
    return checkpoint


def trained_parts(
    recipe: Recipe, work: Path, device: torch.device, seed: int = 1
) -> tuple[PreTrainedTokenizerBase, CLIPVisionModel, LlamaForCausalLM]:
    """What there is before stage 1, from nothing or from its states in `work`.

    The tokenizer, the tower with all its layers, and the decoder, which has seen words alone.
    """
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(work, recipe.vocabulary, recipe.world)
    encoder = partial(_encoder, recipe, work, device, seed)
    language_model = partial(_language_model, recipe, tokenizer, work, device, seed)
    both_to_do = (
        steps_done(work / ENCODER_STATE) < recipe.encoder.steps
        and steps_done(work / LANGUAGE_STATE) < recipe.language.steps
    )
    if both_to_do and device.type == "cpu":  # a GPU is filled by one of them
        side_by_side({"encoder": encoder, "language model": language_model})
    return tokenizer, encoder(), language_model()


def train_scenes_further(
    recipe: Recipe, checkpoint: Checkpoint, *, work: Path, output: Path, seed: int = 2
) -> None:
    """Run stage 2 once more from a model that is there; write the result to `output`.

    Another seed than the first time's gives it conversations that it has not seen.
    """
    started = time.monotonic()
    _run("finetune", recipe, checkpoint, work / FURTHER_STATE, seed)
    _write(checkpoint, output, started)


def _run(
    stage: Stage, recipe: Recipe, checkpoint: Checkpoint, checkpoints: Path, seed: int
) -> None:
    run_stage(
        stage,
        checkpoint,
        from_random(conversation_maker(stage, recipe.turns, recipe.world), seed + 100),
        stage_options(recipe, stage, seed),
        checkpoints,
    )


def _write(checkpoint: Checkpoint, output: Path, started: float) -> None:
    checkpoint.model.to("cpu")
    save_checkpoint(checkpoint, output, dtype="bfloat16")
    minutes = (time.monotonic() - started) / 60
    print(f"scenes: written to {output} after {minutes:.0f} minutes", file=sys.stderr)


def conversation_maker(
    stage: str, turns: int, world: World = CORE, more: Sequence[tuple[float, Maker]] = ()
) -> Callable[[random.Random], Conversation]:
    """What a stage learns from: short descriptions, or conversations of `turns` exchanges.

    more: makers of exchanges, with how often, beside those that conversations always have.
    """
    if stage == "align":
        return lambda rng: captioned_picture(rng, world)
    return lambda rng: dialogue_conversation(random_dialogue(rng, turns, world=world, more=more))


def assemble(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    tower: CLIPVisionModel,
    decoder: LlamaForCausalLM,
    device: torch.device,
    *,
    projector: ProjectorKind = "mlp2x_gelu",
    select_layer: int = -2,
    seed: int = 0,
) -> Checkpoint:
    """Tower and decoder with a projector that knows nothing yet; seed: of its weights."""
    config = LlavaConfig(
        vision=recipe.vision,
        text=recipe.text,
        image_token_id=tokenizer.get_vocab()[IMAGE_TOKEN],
        projector=projector,
        select_layer=select_layer,
        image_aspect="pad",
    )
    torch.manual_seed(seed)
    model = LlavaModel(config)
    used = model.tower.vision.state_dict()
    trained = tower.state_dict()
    model.tower.vision.load_state_dict({name: trained[name] for name in used})
    model.language_model.load_state_dict(decoder.state_dict())
    return Checkpoint(
        model.to(device),
        tokenizer,
        "scenes",
        "new",
        TEMPLATE,
        DESCRIPTION,
        Preprocessing.of(config),
    )


def _tokenizer(work: Path, vocabulary: int, world: World) -> PreTrainedTokenizerBase:
    folder = work / "tokenizer"
    if not folder.exists():
        learn_tokenizer(vocabulary, world=world).save_pretrained(folder)
    tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer


def _loop(recipe: Recipe, part: Part, seed: int, weight_decay: float) -> LoopOptions:
    run = {**asdict(part), "seed": seed, "turns": recipe.turns, "world": str(recipe.world)}
    return LoopOptions(
        steps=part.steps, lr=part.lr, matrix_lr=part.matrix_lr, weight_decay=weight_decay, run=run
    )


def _encoder(recipe: Recipe, work: Path, device: torch.device, seed: int) -> CLIPVisionModel:
    return train_encoder(
        recipe.vision,
        _loop(recipe, recipe.encoder, seed, weight_decay=0.02),
        batch_size=recipe.encoder.batch_size,
        seed=seed,
        workers=recipe.workers,
        reuse=recipe.encoder.reuse,
        device=device,
        checkpoints=work / ENCODER_STATE,
        world=recipe.world,
    )


def _language_model(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    work: Path,
    device: torch.device,
    seed: int,
) -> LlamaForCausalLM:
    return train_language_model(
        recipe.text,
        tokenizer,
        _loop(recipe, recipe.language, seed, weight_decay=0.01),
        grid=recipe.grid,
        batch_size=recipe.language.batch_size,
        turns=recipe.turns,
        max_tokens=recipe.max_tokens,
        seed=seed + 10,
        workers=recipe.workers,
        device=device,
        checkpoints=work / LANGUAGE_STATE,
        compile_decoder=recipe.compile_decoder,
        world=recipe.world,
    )


def stage_options(recipe: Recipe, stage: Stage, seed: int) -> StageOptions:
    """How long a stage learns, and from batches of which shape."""
    part = recipe.align if stage == "align" else recipe.finetune
    return StageOptions(
        loop=_loop(recipe, part, seed, weight_decay=0.0 if stage == "align" else 0.01),
        batch_size=part.batch_size,
        max_tokens=recipe.max_tokens if stage == "finetune" else recipe.grid**2 + 100,
        one_length=stage == "finetune" and recipe.compile_decoder,
        workers=recipe.workers,
        reuse=part.reuse,
    )
