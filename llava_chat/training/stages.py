"""The two stages of LLaVA's recipe (arXiv 2304.08485, section 4.2; 2310.03744, table 9).

Stage 1, `align`: encoder and language model frozen, the projector learns from short descriptions.
Stage 2, `finetune`: projector and language model learn from conversations, the latter whole or by
a LoRA. The encoder never moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llava_chat.conversation import Conversation
from llava_chat.errors import LlavaChatError
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.model.llava import LlavaModel
from llava_chat.model.quantization import bits_of
from llava_chat.model.weights import model_of_shapes
from llava_chat.training.adapter.lora import Lora, put_on
from llava_chat.training.batch import SkippedSample, TokenSample, collate, sample_maker
from llava_chat.training.compiling import compiled
from llava_chat.training.feature_cache import FeatureCache
from llava_chat.training.loop import Setting, train
from llava_chat.training.processes import parts
from llava_chat.training.recipes import Stage
from llava_chat.training.schedule import LoopOptions, Run
from llava_chat.training.stream import reused
from llava_chat.training.supervised import SupervisedBatch, SupervisedLoss, supervised_batch

# LLaVA trains stage 1 on the bare picture and its caption.
TEMPLATES_OF_STAGES: dict[Stage, str | None] = {"align": "plain", "finetune": None}


def template_of(stage: Stage, asked: str | None) -> str | None:
    """What a stage speaks: its own, or what somebody asked for; None is the model's."""
    return TEMPLATES_OF_STAGES[stage] or asked


@dataclass(frozen=True)
class StageOptions:
    """The loop's options, and the shape of a batch.

    batch_size: conversations a step, of all processes. micro_batch_size: of them at a time, in each
    process; None is all. max_tokens: longer ones are cut. workers: processes that prepare batches.
    reuse: how often each batch is used, where drawing costs more than learning. one_length: pad
    every batch to max_tokens and compile the decoder for that one length. lora: in place of the
    language model itself. seed: of the LoRA's first weights and its dropout.
    recompute_layers: every so many layers keep no activations and compute them again for the
    gradient; 0 is none. pack: texts without a picture share rows. template: None is the model's.
    """

    loop: LoopOptions
    batch_size: int
    micro_batch_size: int | None = None
    max_tokens: int = 2048
    workers: int = 1
    reuse: int = 1
    one_length: bool = False
    lora: Lora | None = None
    seed: int | None = None
    recompute_layers: int = 0
    pack: bool = False
    template: str | None = None


def run_stage(
    stage: Stage,
    checkpoint: Checkpoint,
    conversation_of: Callable[[int], Conversation],
    options: StageOptions,
    folder: Path,
    *,
    name_of: Callable[[int], str] = "sample {}".format,
    setting: Setting | None = None,
    features: FeatureCache | None = None,
) -> Checkpoint:
    """Train `checkpoint.model` in place, from the newest checkpoint in `folder` where one is.

    Returns the checkpoint; where no process holds all weights, the first has them in another one.

    conversation_of: sample number -> a whole conversation with its pictures; name_of: what it is
    called in an error. features: where the tower's are kept. Raises TrainingDataError for a sample
    of which nothing can be learned, LlavaChatError as `train` does.
    """
    model = checkpoint.model
    if model.image_newline is not None:
        raise LlavaChatError(
            f"{checkpoint.id} sees pictures in tiles, which cannot be trained yet; train a model "
            "that pads them, such as llava-hf/llava-1.5-7b-hf."
        )
    setting = setting or Setting()
    mine = parts(options.batch_size, options.micro_batch_size, setting.processes)
    setting = replace(setting, parts=len(mine), micro_batch_size=len(mine[0]))
    template = template_of(stage, options.template) or checkpoint.template
    make = sample_maker(checkpoint, template, conversation_of, options.max_tokens, name_of)
    batches = _Batches(make, options, mine, model.config.image_token_id, features)
    set_learning(stage, model, options)
    if options.seed is not None:  # of dropout, which differs between processes
        torch.manual_seed(options.seed + setting.processes.index)
    inner = model.language_model.model
    decoder = compiled(inner) if options.one_length else inner
    loss = SupervisedLoss(model, decoder, features, alike=setting.processes.sharded)
    state = train(
        stage,
        model,
        loss,
        batches.begin,
        _loop_of(options, checkpoint),
        folder,
        contents_of=lambda batch: batch.contents,
        setting=setting,
    )
    _set_learned(model, options)
    return replace(checkpoint, model=_whole(model, options, state)) if state else checkpoint


def _whole(model: LlavaModel, options: StageOptions, state: Mapping[str, Tensor]) -> LlavaModel:
    """A model on the CPU with all the weights that processes had shared out."""
    whole = model_of_shapes(model.config)
    if options.lora is not None:
        put_on(whole, options.lora, 0)
    whole.load_state_dict(state, assign=True)
    return whole.eval().requires_grad_(False)


def set_learning(stage: Stage, model: LlavaModel, options: StageOptions) -> None:
    """What wants a gradient in a stage, in float32; what does not stays as it was loaded."""
    if options.lora is not None:
        put_on(model, options.lora, options.seed or 0)
    else:
        model.language_model.requires_grad_(stage == "finetune")
    model.projector.requires_grad_(True)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    if bits_of(model) is None and not options.loop.bf16:
        model.float()
    model.train()
    if options.recompute_layers:
        _set_checkpointing(model, options.recompute_layers)


def _set_learned(model: LlavaModel, options: StageOptions) -> None:
    """Undo what a stage set, as a model that is talked to has it."""
    model.language_model.model.set_attn_implementation("sdpa")  # `compiled` may have changed it
    if options.recompute_layers:
        _set_checkpointing(model, 0)
    model.eval().requires_grad_(False)
    torch.cuda.empty_cache()  # does nothing where there is none


def _set_checkpointing(model: LlavaModel, every: int) -> None:
    """Compute the activations of every so many layers again; 0 keeps all."""
    language_model: Any = model.language_model
    # As transformers calls it of late; it warns of the name that it had before.
    new = hasattr(language_model, "activation_checkpointing_enable")
    name = "activation_checkpointing" if new else "gradient_checkpointing"
    if not every:
        getattr(language_model, f"{name}_disable")()
        return
    layers = {"every_n_layers": every} if every > 1 else {}
    getattr(language_model, f"{name}_enable")({"use_reentrant": False}, **layers)


@dataclass(frozen=True)
class _Batches:
    """The parts of steps that one process learns from. parts: of the samples of a step."""

    make: Callable[[int], TokenSample | SkippedSample]
    options: StageOptions
    parts: list[range]
    image_token_id: int
    features: FeatureCache | None

    def begin(self, step: int) -> Iterator[SupervisedBatch]:
        """From a step on."""
        return reused(
            self.make,
            self._collated,
            batch_size=self.options.batch_size,
            parts=self.parts,
            times=self.options.reuse,
            step=step,
            workers=self.options.workers,
        )

    def _collated(self, samples: list[TokenSample | SkippedSample]) -> SupervisedBatch:
        length = self.options.max_tokens if self.options.one_length else None
        batch = supervised_batch(
            collate(samples, length=length, pack=self.options.pack), self.image_token_id
        )
        if self.features is None or batch.pixels is None:
            return batch
        keys = self.features.keys(batch.pixels)
        known = self.features.read(keys)
        return replace(batch, keys=keys) if known is None else replace(batch, pixels=known)


def _loop_of(options: StageOptions, checkpoint: Checkpoint) -> LoopOptions:
    """The loop's options, with what the shape of the batches and the model say of the run."""
    run: Run = {
        "model": checkpoint.revision,
        "batch_size": options.batch_size,
        "max_tokens": options.max_tokens,
        "reuse": options.reuse,
    }
    if options.lora is not None:
        lora = options.lora
        run = {**run, "rank": lora.rank, "alpha": lora.alpha, "dropout": lora.dropout}
    bits = bits_of(checkpoint.model)
    if bits is not None:  # a LoRA learns what the rounded weights below it lack
        run = {**run, "bits": bits}
    return replace(options.loop, run={**run, **options.loop.run})


def forget_projector(checkpoint: Checkpoint, seed: int = 0) -> None:
    """Put random weights into the projector, as a new one has."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        for part in checkpoint.model.projector.modules():
            if isinstance(part, torch.nn.Linear):
                part.reset_parameters()
