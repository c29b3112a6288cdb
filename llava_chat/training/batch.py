"""Conversations -> padded tensors, the same for every stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llava_chat.conversation import Conversation
from llava_chat.errors import TrainingDataError
from llava_chat.image import Picture
from llava_chat.tokens import IGNORED, Tokenizer, tokenize


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
class TokenBatch:
    """ids, labels: (B, T), padded on the right. pixels: (N, 3, S, S), or None without pictures.

    names: of its samples.
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
        pixels = None if self.pixels is None else self.pixels.to(device)
        return TokenBatch(self.ids.to(device), self.labels.to(device), pixels, self.names)


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
    if any(span.start + span.length > max_tokens for span in prompt.spans):
        raise TrainingDataError(f"{name}: a picture lies beyond the limit of {max_tokens} tokens")
    labels = np.array(prompt.labels[:max_tokens], np.int64)
    if (labels == IGNORED).all():
        raise TrainingDataError(f"{name}: it holds no word of the assistant's to learn")
    seen = tuple(pixels(span.picture) for span in prompt.spans) if pixels else ()
    return TokenSample(np.array(prompt.ids[:max_tokens], np.int64), labels, seen, name)


def collate(
    samples: Sequence[TokenSample], pad_id: int = 0, length: int | None = None
) -> TokenBatch:
    """Pad on the right with ids that no label is learned of, to `length` or the longest sample.

    One length for all batches lets a compiled model be compiled once.
    """
    longest = length or max(len(sample.ids) for sample in samples)
    ids = np.full((len(samples), longest), pad_id, np.int64)
    labels = np.full((len(samples), longest), IGNORED, np.int64)
    for row, sample in enumerate(samples):
        ids[row, : len(sample.ids)] = sample.ids
        labels[row, : len(sample.labels)] = sample.labels
    pixels = [picture for sample in samples for picture in sample.pixels]
    stacked = torch.from_numpy(np.concatenate(pixels)) if pixels else None
    names = tuple(sample.name for sample in samples)
    tokens = sum(len(sample.ids) for sample in samples)
    return TokenBatch(
        torch.from_numpy(ids), torch.from_numpy(labels), stacked, names, tokens=tokens
    )


def next_token_loss(hidden: Tensor, labels: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean cross-entropy of the labelled tokens. hidden: (B, T, D), labels: (B, T).

    The vocabulary is read out at the labelled places only, which are a quarter of all.
    """
    targets = labels[:, 1:]
    known = targets != IGNORED
    logits = head(hidden[:, :-1][known])
    return torch.nn.functional.cross_entropy(logits.float(), targets[known])
