"""Two that train the same model on the same samples: our stages, and transformers' `Trainer`.

Both get the same weights, samples, batches, optimiser and learning rates, and begin anew in every
block. Imports torch, transformers and `llava_chat`; peft where a LoRA is trained.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    LlavaForConditionalGeneration,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.flops import Work
from llava_chat.conversation import Conversation
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.tokens import IGNORED
from llava_chat.training.adapter.lora import Lora
from llava_chat.training.batch import TokenSample, collate, sample_maker
from llava_chat.training.loop import Setting
from llava_chat.training.recipes import Stage
from llava_chat.training.schedule import LoopOptions, learning_rate_share
from llava_chat.training.stages import TEMPLATES_OF_STAGES, StageOptions, run_stage
from llava_chat.training.watching.progress import Progress

Kind = Literal["align", "finetune", "lora"]
KINDS: tuple[Kind, ...] = ("align", "finetune", "lora")
# LLaVA-1.5's peak learning rates (arXiv 2310.03744, table 9; its finetune_lora.sh).
_LR: dict[Kind, float] = {"align": 1e-3, "finetune": 2e-5, "lora": 2e-4}
_STEPS, _WARMUP_SHARE = 1000, 0.03  # of the schedule that a block runs the beginning of
_SEED = 0


@dataclass(frozen=True)
class Task:
    """What both train. max_tokens: longer samples are cut. rank: of a LoRA."""

    kind: Kind
    conversations: Sequence[Conversation]
    batch_size: int
    max_tokens: int
    bf16: bool
    rank: int

    @property
    def stage(self) -> Stage:
        """The stage that it is of."""
        return "align" if self.kind == "align" else "finetune"

    @property
    def lora(self) -> Lora | None:
        """Its shape, as LLaVA-1.5's: alpha is twice the rank."""
        return Lora(self.rank, 2 * self.rank) if self.kind == "lora" else None

    def conversation(self, number: int) -> Conversation:
        """Sample `number`; they come round again."""
        return self.conversations[number % len(self.conversations)]

    def samples(self, checkpoint: Checkpoint) -> Callable[[int], TokenSample]:
        """Sample number -> tokens, labels and pixels, as both are given them."""
        template = TEMPLATES_OF_STAGES[self.stage] or checkpoint.template
        make = sample_maker(checkpoint, template, self.conversation, self.max_tokens, str)

        def sample(number: int) -> TokenSample:
            made = make(number)
            assert isinstance(made, TokenSample)  # the pictures are in memory
            return made

        return sample


def work_of(task: Task, checkpoint: Checkpoint, step: int) -> Work:
    """What the batch of a step holds."""
    first = step * task.batch_size
    batch = [task.samples(checkpoint)(n) for n in range(first, first + task.batch_size)]
    return Work(
        [len(sample.ids) for sample in batch],
        sum(int((sample.labels[1:] != IGNORED).sum()) for sample in batch),
        sum(len(sample.pixels) for sample in batch),
    )


class _EnoughError(Exception):
    """Ends a training from within, once its block is done."""


@dataclass
class Block:
    """Some steps of one of the two. seconds: of those after the first `warm`; losses: of all."""

    warm: int
    steps: int
    device: torch.device
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    _begun: int = 0
    _started: float = 0.0

    def step_begins(self, *_: object) -> None:
        """Called when the projector is, once a step, on both sides. Raises when all are done."""
        if self._begun in (self.warm, self.warm + self.steps):
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            now = time.perf_counter()
            self.seconds, self._started = now - self._started, now
            if self._begun > self.warm:
                raise _EnoughError
        self._begun += 1

    def step(self, progress: Progress) -> None:
        """As a Watcher of our loop."""
        self.losses.append(progress.losses["loss"])

    def saving(self, step: int, folder: Path) -> None:
        """Never, in so few steps."""

    def end(self) -> None:
        """Nothing to close."""

    def run(self, projector: nn.Module, train: Callable[[], object]) -> Block:
        """Train until the block is done."""
        hook = projector.register_forward_pre_hook(self.step_begins)
        try:
            train()
        except _EnoughError:
            return self
        finally:
            hook.remove()
        raise RuntimeError(f"the training ended before its {self.warm + self.steps} steps")


def ours(task: Task, checkpoint: Checkpoint, block: Block) -> Block:
    """One block of `run_stage`, as `train align` and `train finetune` call it."""
    model = checkpoint.model
    options = StageOptions(
        loop=LoopOptions(
            steps=_STEPS,
            lr=_LR[task.kind],
            warmup_share=_WARMUP_SHARE,
            betas=(0.9, 0.999),
            log_every=1,
            bf16=task.bf16,
        ),
        batch_size=task.batch_size,
        max_tokens=task.max_tokens,
        workers=0,
        lora=task.lora,
        seed=_SEED,
    )

    def train() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run_stage(
                task.stage,
                checkpoint,
                task.conversation,
                options,
                Path(folder),
                setting=Setting(watchers=[block]),
            )

    with _as_before(task, model, model.projector, model.language_model):
        return block.run(model.projector, train)


def theirs(
    task: Task, checkpoint: Checkpoint, twin: LlavaForConditionalGeneration, block: Block
) -> Block:
    """One block of `Trainer`, with its own class on the same weights."""
    model: Any = twin
    inner = model.model
    with (
        tempfile.TemporaryDirectory() as folder,
        _as_before(task, model, inner.multi_modal_projector, inner.language_model, model.lm_head),
    ):
        _set_learning(task, model)
        arguments = TrainingArguments(
            folder,
            max_steps=_STEPS,
            per_device_train_batch_size=task.batch_size,
            learning_rate=_LR[task.kind],
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            train_sampling_strategy="sequential",
            bf16=task.bf16,
            use_cpu=block.device.type == "cpu",
            seed=_SEED,
        )
        trainer = _Trainer(
            model=model,
            args=arguments,
            train_dataset=_Samples(task, checkpoint),
            data_collator=_collated,
            callbacks=[_Losses(block)],
        )
        trainer.remove_callback(PrinterCallback)
        return block.run(inner.multi_modal_projector, trainer.train)


class _Trainer(Trainer):
    """With the learning rates of our loop; its own begin at 0."""

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> Any:
        self.lr_scheduler = LambdaLR(
            optimizer or self.optimizer,
            lambda step: learning_rate_share(step, num_training_steps, _WARMUP_SHARE),
        )
        return self.lr_scheduler


class _Samples(torch.utils.data.Dataset[TokenSample]):
    def __init__(self, task: Task, checkpoint: Checkpoint) -> None:
        self._sample = task.samples(checkpoint)
        self._length = _STEPS * task.batch_size

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> TokenSample:
        return self._sample(number)


def _collated(samples: list[TokenSample]) -> dict[str, Tensor]:
    batch = collate(samples)
    assert batch.pixels is not None
    lengths = torch.tensor([len(sample.ids) for sample in samples])
    mask = (torch.arange(batch.ids.shape[1]) < lengths[:, None]).long()
    named = {"input_ids": batch.ids, "labels": batch.labels, "attention_mask": mask}
    return {**named, "pixel_values": batch.pixels}


class _Losses(TrainerCallback):
    def __init__(self, block: Block) -> None:
        self._block = block

    def on_log(self, *_: Any, logs: dict[str, float] | None = None, **__: Any) -> None:
        if logs and "loss" in logs:
            self._block.losses.append(logs["loss"])


def _set_learning(task: Task, model: Any) -> None:
    """What learns, in float32, as our stages have it."""
    model.requires_grad_(False)
    decoder = model.model.language_model
    if task.lora is not None:
        from peft import LoraConfig, inject_adapter_in_model

        layers = [name for name, m in decoder.named_modules() if isinstance(m, nn.Linear)]
        torch.manual_seed(_SEED)
        inject_adapter_in_model(
            LoraConfig(r=task.rank, lora_alpha=2 * task.rank, target_modules=layers), decoder
        )
    elif task.kind == "finetune":
        decoder.requires_grad_(True)
        model.lm_head.requires_grad_(True)
    model.model.multi_modal_projector.requires_grad_(True)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


@contextmanager
def _as_before(
    task: Task, model: nn.Module, projector: nn.Module, *decoder: nn.Module
) -> Iterator[None]:
    """Whatever is learned within is forgotten afterwards; an adapter is taken off."""
    learned = (projector, *decoder) if task.kind == "finetune" else (projector,)
    # The other side may hold the same memory: what was learned is written over, where it stands.
    weights = [weight for part in learned for weight in part.parameters()]
    kept = [(weight, weight.data, weight.detach().clone()) for weight in weights]
    try:
        yield
    finally:
        for name, part in [*model.named_modules()]:
            if hasattr(part, "base_layer"):
                above, _, last = name.rpartition(".")
                setattr(model.get_submodule(above), last, part.base_layer)
        for part in (model, *decoder):  # where peft notes that there is one
            vars(part).pop("peft_config", None)
        for weight, memory, before in kept:
            weight.data = memory.copy_(before)
        model.zero_grad(set_to_none=True)
        model.eval().requires_grad_(False)
