"""The two stages of LLaVA's recipe (arXiv 2304.08485, section 4.2; 2310.03744, table 9).

Stage 1, `align`: encoder and language model frozen, the projector learns from short descriptions.
Stage 2, `finetune`: projector and language model learn from conversations. The encoder never moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from llava_chat.conversation import Conversation
from llava_chat.errors import LlavaChatError
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.model.llava import LlavaModel
from llava_chat.training.batch import (
    SkippedSample,
    TokenBatch,
    TokenSample,
    collate,
    next_token_loss,
    sample_maker,
)
from llava_chat.training.loop import LoopOptions, Losses, Run, compiled, train
from llava_chat.training.stream import reused

Stage = Literal["align", "finetune"]
# LLaVA trains stage 1 on the bare picture and its caption.
TEMPLATES_OF_STAGES: dict[Stage, str | None] = {"align": "plain", "finetune": None}


@dataclass(frozen=True)
class StageOptions:
    """The loop's options, and the shape of a batch.

    batch_size: conversations a step. max_tokens: longer ones are cut. workers: processes that
    prepare batches. reuse: how often each batch is used, where drawing costs more than learning.
    one_length: pad every batch to max_tokens and compile the decoder for that one length.
    """

    loop: LoopOptions
    batch_size: int
    max_tokens: int = 2048
    workers: int = 1
    reuse: int = 1
    one_length: bool = False


def run_stage(
    stage: Stage,
    checkpoint: Checkpoint,
    conversation_of: Callable[[int], Conversation],
    options: StageOptions,
    state_file: Path,
    *,
    name_of: Callable[[int], str] = "sample {}".format,
) -> None:
    """Train `checkpoint.model` in place, from `state_file` where one is.

    conversation_of: sample number -> a whole conversation with its pictures; name_of: what it is
    called in an error. Raises TrainingDataError for a sample of which nothing can be learned,
    LlavaChatError when the state is damaged or another run's, or the loss is no number.
    """
    model = checkpoint.model
    if model.image_newline is not None:
        raise LlavaChatError(
            f"{checkpoint.id} sees pictures in tiles, which cannot be trained yet; train a model "
            "that pads them, such as llava-hf/llava-1.5-7b-hf."
        )
    template = TEMPLATES_OF_STAGES[stage] or checkpoint.template
    make = sample_maker(checkpoint, template, conversation_of, options.max_tokens, name_of)
    model.language_model.requires_grad_(stage == "finetune")
    model.projector.requires_grad_(True)
    model.float()
    inner = model.language_model.model
    decoder = compiled(inner) if options.one_length else inner

    def collated(samples: list[TokenSample | SkippedSample]) -> TokenBatch:
        return collate(samples, length=options.max_tokens if options.one_length else None)

    def batches_from(step: int) -> Iterator[TokenBatch]:
        return reused(
            make,
            collated,
            batch_size=options.batch_size,
            times=options.reuse,
            step=step,
            workers=options.workers,
        )

    model.train()
    train(
        stage,
        model,
        partial(_loss, model, decoder),
        batches_from,
        _loop_of(options, checkpoint),
        state_file,
        names_of=lambda batch: batch.names,
    )
    inner.set_attn_implementation("sdpa")
    model.eval().requires_grad_(False)
    torch.cuda.empty_cache()  # does nothing where there is none


def _loss(model: LlavaModel, decoder: Callable[..., Any], batch: TokenBatch) -> Losses:
    """decoder: the language model's, perhaps compiled."""
    moved = batch.to(next(model.projector.parameters()).device)
    features = None if moved.pixels is None else model.image_features(moved.pixels)
    embeds = model.embed(moved.ids, features)
    hidden = decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state
    return {"loss": next_token_loss(hidden, moved.labels, model.language_model.lm_head)}


def _loop_of(options: StageOptions, checkpoint: Checkpoint) -> LoopOptions:
    """The loop's options, with what the shape of the batches and the model say of the run."""
    run: Run = {
        "model": checkpoint.revision,
        "batch_size": options.batch_size,
        "max_tokens": options.max_tokens,
        "reuse": options.reuse,
    }
    return replace(options.loop, run={**run, **options.loop.run})


def forget_projector(checkpoint: Checkpoint) -> None:
    """Put random weights into the projector, as a new one has."""
    for part in checkpoint.model.projector.modules():
        if isinstance(part, torch.nn.Linear):
            part.reset_parameters()
