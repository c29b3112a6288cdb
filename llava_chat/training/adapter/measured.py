"""One whole run on plain values: measure, train, save the adapter, measure again.

Imports `model`, `engine.local` through `judging`, and the modules of training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from llava_chat.model.checkpoint import Checkpoint
from llava_chat.training.adapter import judging
from llava_chat.training.adapter.batches import Features
from llava_chat.training.adapter.lessons import Lesson, Preference, hold_out
from llava_chat.training.adapter.lora import Lora, save_adapter
from llava_chat.training.adapter.old_skills import knows_scenes, replaced_words
from llava_chat.training.adapter.report import Figures, Report
from llava_chat.training.adapter.training import AdapterOptions, step_count, train_adapter

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Rows:
    """What is learned, and what of it is held out to measure."""

    lessons: Sequence[Lesson]
    pairs: Sequence[Preference]
    held_lessons: Sequence[Lesson]
    held_pairs: Sequence[Preference]

    @classmethod
    def of(cls, lessons: Sequence[Lesson], pairs: Sequence[Preference], held_out: float) -> Rows:
        """held_out: a share of them, always the same ones."""
        (learned, held), (better, held_pairs) = (
            hold_out(lessons, held_out),
            hold_out(pairs, held_out),
        )
        return cls(learned, better, held, held_pairs)


@dataclass(frozen=True)
class Base:
    """What the adapter goes on. name: as its files name it. hub: the Hub's revision, if it has one.

    pictures: of `scenes` on which its old skills are measured.
    """

    checkpoint: Checkpoint
    name: str
    hub: str | None = None
    pictures: int = 0


def measured_run(
    base: Base,
    rows: Rows,
    options: AdapterOptions,
    folder: Path,
    old_rows: Callable[[Collection[str]], Sequence[Lesson]],
) -> Report:
    """Train an adapter into `folder`, from the state there where a run was cut off.

    old_rows: what is learned beside, without some words. Raises as train_adapter and save_adapter.
    """
    started = time.monotonic()
    judge = _Judge(base, rows, options)
    changed = judge.changed_words()
    before = judge.figures(changed)
    old = old_rows(changed)
    measured = time.monotonic()
    checkpoint, kept = base.checkpoint, folder / CHECKPOINTS
    lora = train_adapter(
        checkpoint, rows.lessons, rows.pairs, options, kept, old=old, features=judge.features
    )
    save_adapter(checkpoint.model, lora, folder, base=base.name, revision=base.hub)
    trained = time.monotonic()
    after = judge.figures(changed)
    return Report(
        base=base.name,
        revision=checkpoint.revision,
        settings=_told(lora, options, checkpoint),
        rows=_counted(rows, old),
        changed_words=tuple(sorted(changed)),
        steps=step_count(len(rows.lessons), len(rows.pairs), options),
        seconds={
            "before": round(measured - started, 1),
            "training": round(trained - measured, 1),
            "after": round(time.monotonic() - trained, 1),
        },
        before=before,
        after=after,
    )


def _told(lora: Lora, options: AdapterOptions, checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "rank": lora.rank,
        "alpha": lora.alpha,
        "read-out of words": lora.head,
        "lr": options.peak_lr(checkpoint.model),
        "batch size": options.batch_size,
        "beta": options.beta,
        "seed": options.seed,
    }


def _counted(rows: Rows, old: Sequence[Lesson]) -> dict[str, int]:
    return {
        "replies": len(rows.lessons),
        "pairs": len(rows.pairs),
        "old rows": len(old),
        "replies held out": len(rows.held_lessons),
        "pairs held out": len(rows.held_pairs),
    }


class _Judge:
    """Measures a model twice: before there is an adapter, and with it."""

    def __init__(self, base: Base, rows: Rows, options: AdapterOptions) -> None:
        self.features = Features(base.checkpoint)
        self._checkpoint = base.checkpoint
        self._rows, self._options = rows, options
        self._pictures = base.pictures if knows_scenes(base.checkpoint.description) else 0
        self._reference: Tensor | None = None

    def changed_words(self) -> frozenset[str]:
        """What people replace in the replies of the model as it is, and in those they reject."""
        rejected = [(pair.rejected, pair.chosen) for pair in self._rows.pairs]
        if not self._rows.lessons:
            return replaced_words(rejected)
        engine = judging.opened(self._checkpoint)
        try:
            return replaced_words([*judging.replies(engine, self._rows.lessons), *rejected])
        finally:
            engine.close(grace_s=0)

    def figures(self, changed: Collection[str]) -> Figures:
        """Of the model as it is now; the first time is before training."""
        preferences, logprobs = judging.preference_figures(
            self._checkpoint,
            self._rows.held_pairs,
            self._reference,
            beta=self._options.beta,
            max_tokens=self._options.max_tokens,
            features=self.features,
        )
        self._reference = logprobs if self._reference is None else self._reference
        engine = judging.opened(self._checkpoint)
        try:
            said = judging.replies(engine, self._rows.held_lessons)
            old = {}
            if self._pictures:
                old = judging.kinds(judging.old_skills(engine, self._pictures, changed))
        finally:
            engine.close(grace_s=0)
        return Figures(judging.lesson_figures(said), preferences, old)
