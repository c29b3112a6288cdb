"""Conversations -> padded tensors, the same for every stage.

Imports torch, numpy, conversation, image, tokens, errors and `model`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from llava_chat.conversation import Conversation
from llava_chat.errors import BrokenSampleError
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.tokens import IGNORED, Prompt, Tokenizer, tokenize
from llava_chat.training.data import RowProblem


@dataclass(frozen=True)
class TokenSample:
    """ids, labels: (T,) int64. pixels: float32 (V, 3, S, S) of each picture, in order.

    name: what it is called in an error.
    """

    ids: np.ndarray
    labels: np.ndarray
    pixels: tuple[np.ndarray, ...]
    name: str = "a sample"


@dataclass(frozen=True)
class SkippedSample:
    """Stands for a sample whose picture is missing or broken. reason: which, and why."""

    reason: str


@dataclass(frozen=True)
class TokenBatch:
    """ids, labels: (B, T), padded on the right. pixels: (N, 3, S, S), or None without pictures.

    names: of its samples, in the order of its rows. skipped: why samples were left out of it, one
    for each; of a batch of which nothing is left B is 0. positions: (B, T), from 0 on in each text
    of a row that holds several; None when no row does. A decoder that is given them as
    `position_ids`, and no mask, keeps the texts apart. tokens: without the padding.
    """

    ids: Tensor
    labels: Tensor
    pixels: Tensor | None
    names: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    positions: Tensor | None = None
    tokens: int = 0

    @property
    def learned(self) -> int:
        """How many of its tokens are learned. Asks the device that the labels are on."""
        return int((self.labels[:, 1:] != IGNORED).sum())

    def to(self, device: torch.device) -> TokenBatch:
        """The same batch on a device."""

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        return replace(
            self,
            ids=self.ids.to(device),
            labels=self.labels.to(device),
            pixels=moved(self.pixels),
            positions=moved(self.positions),
        )


def token_sample(
    conversation: Conversation,
    tokenizer: Tokenizer,
    *,
    template: str,
    tokens_per_picture: int | Callable[[Picture], int],
    image_token_id: int,
    pixels: Callable[[Picture], np.ndarray] | None,
    max_tokens: int,
    name: str = "a sample",
) -> TokenSample:
    """Tokenise a whole conversation, cut after max_tokens.

    tokens_per_picture: of every picture, or a function where they differ. pixels: None leaves them
    out.
    Raises TrainingDataError naming the sample when nothing of it would be learned, or when the
    cut falls into a picture.
    """
    rows = tokens_per_picture
    prompt = tokenize(
        conversation,
        tokenizer,
        template=template,
        picture_tokens=rows if callable(rows) else lambda _: rows,
        image_token_id=image_token_id,
        cue=False,
    )
    check_cut(prompt, max_tokens, name)
    labels = np.array(prompt.labels[:max_tokens], np.int64)
    seen = tuple(pixels(span.picture) for span in prompt.spans) if pixels else ()
    return TokenSample(np.array(prompt.ids[:max_tokens], np.int64), labels, seen, name)


def check_cut(prompt: Prompt, max_tokens: int, name: str) -> None:
    """Raise RowProblem unless something is learned of a prompt that is cut after max_tokens."""
    if any(span.start + span.length > max_tokens for span in prompt.spans):
        sentence = f"{name}: a picture lies beyond the limit of {max_tokens} tokens"
        raise RowProblem("picture beyond the limit", sentence)
    if all(label == IGNORED for label in prompt.labels[:max_tokens]):
        sentence = f"{name}: it holds no word of the assistant's to learn"
        if len(prompt.labels) > max_tokens:
            sentence += f" within {max_tokens} tokens"
        raise RowProblem("nothing to learn", sentence)


def sample_maker(
    checkpoint: Checkpoint,
    template: str,
    conversation_of: Callable[[int], Conversation],
    max_tokens: int,
    name_of: Callable[[int], str],
) -> Callable[[int], TokenSample | SkippedSample]:
    """Sample number -> that conversation as tokens and pixels, or why it is left out.

    What is made raises TrainingDataError for a conversation that is wrong in anything but a
    picture: see token_sample.
    """
    model = checkpoint.model

    def make(number: int) -> TokenSample | SkippedSample:
        try:
            conversation = conversation_of(number)
        except BrokenSampleError as error:
            return SkippedSample(str(error))
        return token_sample(
            conversation,
            checkpoint.tokenizer,
            template=template,
            tokens_per_picture=model.tokens_per_picture,
            image_token_id=model.config.image_token_id,
            pixels=lambda picture: checkpoint.pixels(picture).numpy(),
            max_tokens=max_tokens,
            name=name_of(number),
        )

    return make


def collate(
    made: Sequence[TokenSample | SkippedSample],
    pad_id: int = 0,
    length: int | None = None,
    *,
    pack: bool = False,
) -> TokenBatch:
    """Pad on the right with ids that no label is learned of, to `length` or the longest sample.

    One length for all batches lets a compiled model be compiled once. What was skipped takes no
    row. pack: texts without a picture share rows, where two fit into one; what is learned of the
    batch stays the same (see TokenBatch.positions).
    """
    samples = [each for each in made if isinstance(each, TokenSample)]
    longest = length or max((len(sample.ids) for sample in samples), default=0)
    rows = _packed(samples, longest) if pack else [[sample] for sample in samples]
    ids = np.full((len(rows), longest), pad_id, np.int64)
    labels = np.full((len(rows), longest), IGNORED, np.int64)
    positions = np.tile(np.arange(longest), (len(rows), 1))
    for row, texts in enumerate(rows):
        start = 0
        for text in texts:
            end = start + len(text.ids)
            ids[row, start:end], labels[row, start:end] = text.ids, text.labels
            positions[row, start:] = np.arange(longest - start)
            if start:
                labels[row, start] = IGNORED  # the text before foretells nothing of this one
            start = end
        if len(texts) > 1:
            positions[row, start:] = np.arange(longest - start)
    pixels = [picture for texts in rows for text in texts for picture in text.pixels]
    return TokenBatch(
        torch.from_numpy(ids),
        torch.from_numpy(labels),
        torch.from_numpy(np.concatenate(pixels)) if pixels else None,
        tuple(text.name for texts in rows for text in texts),
        tuple(each.reason for each in made if isinstance(each, SkippedSample)),
        torch.from_numpy(positions) if len(rows) < len(samples) else None,
        sum(len(sample.ids) for sample in samples),
    )


def _packed(samples: Sequence[TokenSample], length: int) -> list[list[TokenSample]]:
    """Samples by rows of at most `length` tokens: those with pictures alone, texts together.

    First fit, the longest first: never more than 11/9 of the rows that would do (and a row).
    """
    rows = [[sample] for sample in samples if sample.pixels]
    texts = sorted((s for s in samples if not s.pixels), key=lambda s: len(s.ids), reverse=True)
    shared: list[list[TokenSample]] = []
    free: list[int] = []
    for text in texts:
        size = len(text.ids)
        row = next((row for row, left in enumerate(free) if left >= size), None)
        if row is None:
            shared.append([text])
            free.append(length - size)
        else:
            shared[row].append(text)
            free[row] -= size
    return rows + shared


def next_token_loss(hidden: Tensor, labels: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean cross-entropy of the labelled tokens. hidden: (B, T, D), labels: (B, T).

    The vocabulary is read out at the labelled places only, which are a quarter of all.
    """
    targets = labels[:, 1:]
    known = targets != IGNORED
    logits = head(hidden[:, :-1][known])
    return torch.nn.functional.cross_entropy(logits.float(), targets[known])
