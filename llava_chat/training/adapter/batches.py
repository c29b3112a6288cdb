"""Rows -> batches of tokens, with the features of their pictures in the place of pixels.

Tower and projector do not move while an adapter is trained, so what they make of a picture is
computed once. Imports torch, numpy, `model`, `tokens` and the modules of training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from llava_chat.conversation import Conversation
from llava_chat.errors import TrainingDataError
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.tokens import IGNORED
from llava_chat.training.adapter.lessons import Lesson, Preference
from llava_chat.training.batch import TokenBatch, TokenSample, collate, token_sample
from llava_chat.training.data import in_epochs
from llava_chat.training.loop import Contents
from llava_chat.training.stream import batches

FEATURE_BYTES = 2 * 2**30


class Features:
    """The rows that tower and projector make of a picture, (rows, D) float32 on the CPU, kept.

    max_bytes: beyond it those that were asked for first are computed again when they are needed.
    """

    def __init__(self, checkpoint: Checkpoint, max_bytes: int = FEATURE_BYTES) -> None:
        self._checkpoint = checkpoint
        self._max_bytes = max_bytes
        self._kept: dict[str, np.ndarray] = {}
        self._bytes = 0

    def __call__(self, picture: Picture) -> np.ndarray:
        """Of one picture."""
        if picture.id not in self._kept:
            rows = self._computed(picture)
            while self._kept and self._bytes + rows.nbytes > self._max_bytes:
                self._bytes -= self._kept.pop(next(iter(self._kept))).nbytes
            self._kept[picture.id] = rows
            self._bytes += rows.nbytes
        return self._kept[picture.id]

    @torch.no_grad()
    def _computed(self, picture: Picture) -> np.ndarray:
        model = self._checkpoint.model
        like = next(model.projector.parameters())
        views = self._checkpoint.pixels(picture).to(like)
        rows = model.picture_rows(views, picture.width, picture.height)
        computed: np.ndarray = rows.float().cpu().numpy()
        return computed


@dataclass(frozen=True)
class TokenRow:
    """A conversation as tokens, and the pictures that its placeholders stand for."""

    sample: TokenSample
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class StepBatch:
    """What one step learns from, whatever of it there is.

    lessons: people's. old: what is to stay. pairs: (2B, T), the chosen replies before the rejected
    ones. reference: (2, B), the log-probabilities of both without the adapter.
    """

    lessons: TokenBatch | None
    old: TokenBatch | None
    pairs: TokenBatch | None
    reference: Tensor | None

    def contents(self) -> Contents:
        """The names of its rows, in the order of its losses'."""
        there = [each for each in (self.lessons, self.old, self.pairs) if each is not None]
        return Contents(
            tokens=sum(each.tokens for each in there),
            names=tuple(name for each in there for name in each.names),
        )


def lesson_row(lesson: Lesson, checkpoint: Checkpoint, max_tokens: int) -> TokenRow:
    """A lesson, cut after max_tokens. Raises TrainingDataError when nothing of it is learned."""
    return _row(lesson.conversation, checkpoint, max_tokens, lesson.where)


def pair_rows(pair: Preference, checkpoint: Checkpoint, max_tokens: int) -> tuple[TokenRow, ...]:
    """(chosen, rejected), of which only the last reply counts.

    Raises TrainingDataError for one that is longer than max_tokens: cut, they might be the same.
    """
    rows = []
    for text in (pair.chosen, pair.rejected):
        row = _row(pair.with_reply(text), checkpoint, max_tokens + 1, pair.where)
        if len(row.sample.ids) > max_tokens:
            raise TrainingDataError(
                f"{pair.where}: prompt and reply are longer than the limit of {max_tokens} tokens"
            )
        labels = last_reply(row.sample.labels)
        rows.append(replace(row, sample=replace(row.sample, labels=labels)))
    return tuple(rows)


def _row(conversation: Conversation, checkpoint: Checkpoint, limit: int, name: str) -> TokenRow:
    model = checkpoint.model
    sample = token_sample(
        conversation,
        checkpoint.tokenizer,
        template=checkpoint.template,
        tokens_per_picture=lambda picture: model.tokens_of(picture.width, picture.height),
        image_token_id=model.config.image_token_id,
        pixels=None,
        max_tokens=limit,
        name=name,
    )
    return TokenRow(sample, tuple(each for turn in conversation.turns for each in turn.images))


def last_reply(labels: np.ndarray) -> np.ndarray:
    """The labels (T,) with only the last run of learned ones, which is the last reply.

    >>> last_reply(np.array([-100, 5, 6, -100, 7, 8])).tolist()
    [-100, -100, -100, -100, 7, 8]
    """
    learned = labels != IGNORED
    end = int(np.flatnonzero(learned)[-1])
    gaps = np.flatnonzero(~learned[:end])
    start = int(gaps[-1]) + 1 if len(gaps) else 0
    alone = np.full_like(labels, IGNORED)
    alone[start : end + 1] = labels[start : end + 1]
    return alone


def token_batch(rows: Sequence[TokenRow], features: Features) -> TokenBatch:
    """Padded rows; the features of all their pictures, in reading order, are its `pixels`."""
    seen = [
        replace(row.sample, pixels=tuple(features(picture) for picture in row.pictures))
        for row in rows
    ]
    return collate(seen)


def in_turns(
    rows: Sequence[object], seed: int, step: int, batch_size: int
) -> Iterator[Sequence[int]]:
    """The rows of every step from `step` on: all of them once an epoch, in another order each.

    >>> steps = in_turns("abcd", seed=0, step=0, batch_size=2)
    >>> sorted([*next(steps), *next(steps)])
    [0, 1, 2, 3]
    """
    row_of: Callable[[int], int] = in_epochs(len(rows), seed)
    return batches(row_of, list, batch_size=batch_size, first=step * batch_size, workers=0)
