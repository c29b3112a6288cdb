"""`train_adapter`: replies to learn, pairs to prefer between, and old skills to keep, in one run.

It takes plain values, so that rows may come from files or from wherever people write them. Imports
torch, `model`, `engine.local` and the modules of training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llava_chat.errors import TrainingDataError
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.model.llava import LlavaModel
from llava_chat.training.adapter.batches import (
    Features,
    StepBatch,
    TokenRow,
    in_turns,
    lesson_row,
    pair_rows,
    token_batch,
)
from llava_chat.training.adapter.lessons import Lesson, Preference, fingerprint
from llava_chat.training.adapter.lora import Lora, put_on, suited
from llava_chat.training.adapter.losses import preference_loss, reply_logprobs
from llava_chat.training.batch import TokenBatch
from llava_chat.training.loop import Losses, train
from llava_chat.training.schedule import LoopOptions, Run, steps_of_a_line

_REFERENCE_ROWS = 8
_LEAST_STEPS, _LEAST_EPOCHS = 80, 3


@dataclass(frozen=True)
class AdapterOptions:
    """How an adapter learns; None is what suits the model.

    lora: its shape. lr: AdamW's peak learning rate. epochs: how often each row is learned; None is
    three times, or as often as it takes for enough steps. batch_size: rows a step, of lessons, of
    pairs and of old skills each. steps: instead of epochs. beta: how far DPO may go from the model
    (0.1 in arXiv 2305.18290). seed: of the adapter and of the order. max_tokens: longer lessons
    are cut. save_every: steps.
    """

    lora: Lora | None = None
    lr: float | None = None
    epochs: float | None = None
    batch_size: int = 8
    steps: int | None = None
    beta: float = 0.1
    seed: int = 0
    max_tokens: int = 2048
    save_every: int = 50

    def peak_lr(self, model: nn.Module) -> float:
        """The learning rate for this model."""
        return suited(model).lr if self.lr is None else self.lr


def train_adapter(
    checkpoint: Checkpoint,
    supervised: Sequence[Lesson],
    preferences: Sequence[Preference],
    options: AdapterOptions,
    checkpoints: Path,
    *,
    old: Sequence[Lesson] = (),
    features: Features | None = None,
) -> Lora:
    """Put a LoRA adapter on `checkpoint.model` and train it, going on from `checkpoints`, if any.

    old: lessons that are learned beside the others, as many a step, so that what the model knows
    stays. features: those of pictures that are known already. Returns the adapter's shape. Raises
    TrainingDataError for a row of which nothing can be learned, LlavaChatError when the state is
    another run's or a loss is no number: with step and row.
    """
    if not supervised and not preferences:
        raise TrainingDataError("there is no row to learn from")
    model = checkpoint.model
    lora = options.lora or suited(model).lora
    limit = min(options.max_tokens, model.config.text.max_position_embeddings or math.inf)
    rows = _Rows(
        [lesson_row(each, checkpoint, int(limit)) for each in supervised],
        [lesson_row(each, checkpoint, int(limit)) for each in old],
        [pair_rows(each, checkpoint, int(limit)) for each in preferences],
        features or Features(checkpoint),
        options,
    )
    learner = _Learner(checkpoint, options.beta)
    rows.reference = learner.pair_logprobs(rows)
    put_on(model, lora, options.seed)
    run: Run = {
        "model": checkpoint.revision,
        "supervised": fingerprint(supervised),
        "preferences": fingerprint(preferences),
        "old": fingerprint(old),
        **_of_run(options, lora),
    }
    steps = step_count(len(supervised), len(preferences), options)
    model.train()
    train(
        "adapter",
        model,
        learner.losses,
        rows.batches_from,
        _loop_of(options, steps, model, run),
        checkpoints,
        contents_of=StepBatch.contents,
    )
    model.eval().requires_grad_(False)
    return lora


def _loop_of(options: AdapterOptions, steps: int, model: LlavaModel, run: Run) -> LoopOptions:
    return LoopOptions(
        steps=steps,
        lr=options.peak_lr(model),
        save_every=options.save_every,
        log_every=steps_of_a_line(steps),
        bf16=model.dtype == torch.bfloat16,
        run=run,
    )


def _of_run(options: AdapterOptions, lora: Lora) -> Run:
    """What a state has in common with the run that goes on from it, beside model and rows."""
    return {
        "rank": lora.rank,
        "alpha": lora.alpha,
        "head": lora.head,
        "beta": options.beta,
        "batch_size": options.batch_size,
        "max_tokens": options.max_tokens,
        "seed": options.seed,
    }


def step_count(supervised: int, preferences: int, options: AdapterOptions) -> int:
    """How many steps: the more of the two, `epochs` times; the fewer go round more often.

    >>> step_count(40, 10, AdapterOptions(epochs=4, batch_size=8))
    20
    >>> step_count(40, 0, AdapterOptions()), step_count(4000, 0, AdapterOptions())
    (80, 1500)
    """
    if options.steps is not None:
        return options.steps
    once = max(supervised, preferences) / options.batch_size
    if options.epochs is None:
        return max(_LEAST_STEPS, math.ceil(_LEAST_EPOCHS * once))
    return math.ceil(options.epochs * once)


@dataclass
class _Rows:
    """What is learned from. reference: (2, pairs), known once the model was asked without LoRA."""

    lessons: list[TokenRow]
    old: list[TokenRow]
    pairs: list[tuple[TokenRow, ...]]
    features: Features
    options: AdapterOptions
    reference: Tensor | None = None

    def batches_from(self, step: int) -> Iterator[StepBatch]:
        """The batch of every step from `step` on."""
        seed, size = self.options.seed, self.options.batch_size
        lessons, old, pairs = (
            in_turns(rows, seed, step, min(size, len(rows))) if rows else None
            for rows in (self.lessons, self.old, self.pairs)
        )
        while True:
            paired = None if pairs is None else list(next(pairs))
            yield StepBatch(
                self._tokens(self.lessons, lessons),
                self._tokens(self.old, old),
                None if paired is None else self.pair_batch(paired),
                None if paired is None or self.reference is None else self.reference[:, paired],
            )

    def _tokens(
        self, rows: Sequence[TokenRow], turns: Iterator[Sequence[int]] | None
    ) -> TokenBatch | None:
        if turns is None:
            return None
        return token_batch([rows[number] for number in next(turns)], self.features)

    def pair_batch(self, numbers: Sequence[int]) -> TokenBatch:
        """(2B, T): the chosen replies of these pairs, then the rejected ones."""
        rows = [self.pairs[number][side] for side in (0, 1) for number in numbers]
        return token_batch(rows, self.features)


class _Learner:
    """The losses of a batch under the model as it is."""

    def __init__(self, checkpoint: Checkpoint, beta: float) -> None:
        self._model = checkpoint.model
        self._beta = beta
        self._device = next(checkpoint.model.projector.parameters()).device

    def losses(self, batch: StepBatch) -> Losses:
        """Each part's loss by its name, and their sum as `loss`."""
        found: dict[str, Tensor] = {}
        rows: list[Tensor] = []
        for name, answers in (("lessons", batch.lessons), ("old", batch.old)):
            if answers is not None:
                logprobs = self.logprobs(answers)
                rows.append(logprobs.detach())
                found[name] = -logprobs.sum() / answers.learned
        margin: dict[str, Tensor] = {}
        if batch.pairs is not None and batch.reference is not None:
            logprobs = self.logprobs(batch.pairs)
            rows.append(logprobs.detach())
            policy = logprobs.reshape(2, -1)
            reference = batch.reference.to(policy)
            found["preferences"], margins = preference_loss(policy, reference, self._beta)
            margin = {"margin": margins.mean()}
        loss = torch.stack([*found.values()]).sum()
        return {"loss": loss, **found, **margin, "rows": torch.cat(rows)}

    def logprobs(self, batch: TokenBatch) -> Tensor:
        """Of each row's learned tokens together: (B,)."""
        moved = batch.to(self._device)
        return reply_logprobs(self._hidden(moved), moved.labels, self._head)

    def _hidden(self, batch: TokenBatch) -> Tensor:
        embeds = self._model.embed(batch.ids, batch.pixels)
        decoder: Any = self._model.language_model.model
        hidden: Tensor = decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state
        return hidden

    def _head(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self._model.language_model.lm_head(hidden)
        return logits

    @torch.no_grad()
    def pair_logprobs(self, rows: _Rows) -> Tensor:
        """(2, pairs): the log-probability of every chosen and of every rejected reply."""
        found = [torch.zeros(2, 0)]
        for first in range(0, len(rows.pairs), _REFERENCE_ROWS):
            numbers = range(first, min(len(rows.pairs), first + _REFERENCE_ROWS))
            found.append(self.logprobs(rows.pair_batch(numbers)).reshape(2, -1).cpu())
        return torch.cat(found, dim=1)


def pair_logprobs(
    checkpoint: Checkpoint,
    preferences: Sequence[Preference],
    max_tokens: int,
    features: Features | None = None,
) -> Tensor:
    """(2, pairs): what the model as it is gives the chosen and the rejected replies.

    Raises TrainingDataError for one that is too long.
    """
    limit = min(max_tokens, checkpoint.model.config.text.max_position_embeddings or max_tokens)
    pairs = [pair_rows(each, checkpoint, limit) for each in preferences]
    rows = _Rows([], [], pairs, features or Features(checkpoint), AdapterOptions())
    return _Learner(checkpoint, 0.0).pair_logprobs(rows)
