"""The language model alone: it learns to talk about a scene before it has ever seen one.

Where a picture's patches will stand, it reads a grid of words: each cell is the mean embedding of
the words that describe what is there ("large red circle", the row and the column). So it learns
the language and how to find things in a grid, and stage 1 only has to translate patches into words.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from llava_chat.image import picture_from_image
from llava_chat.training.batch import TokenSample, collate, next_token_loss, token_sample
from llava_chat.training.compiling import compiled, on_device
from llava_chat.training.loop import Losses, train
from llava_chat.training.scenes.dialogue import Dialogue, as_conversation, random_dialogue
from llava_chat.training.scenes.printed import LETTERS
from llava_chat.training.scenes.regions import (
    letter_halves,
    near_any,
    object_patches,
    scene_boxes,
)
from llava_chat.training.scenes.tokenizer import IMAGE_TOKEN, WORD_START
from llava_chat.training.scenes.world import CORE, Scene, World
from llava_chat.training.schedule import LoopOptions
from llava_chat.training.stream import batches, from_random

_EMPTY = -1
_WORDS_A_CELL = 12
_WORD_DROPOUT = 0.1
_NOISE = 0.15
# Rows, columns and the letters of a cell's right half are named by byte pieces that only text
# beyond ASCII uses.
_ROW_BYTE, _RIGHT_LETTER_BYTE, _COLUMN_BYTE = 0x80, 0x90, 0xC0
_RIGHT = ">"
_BOX_ERROR = 0.01  # of an edge, about the encoder's
_BOX_LOUDNESS = 0.5  # beside a word's
_FINEST_BOX_RATE = 32.0  # its wave is an eighth of the side long, many times the error
_STAND_IN = picture_from_image(Image.new("RGB", (1, 1)))  # the grid takes its place


@dataclass(frozen=True)
class GridSample:
    """tokens: the conversation. words: int64 (P, 12) ids of each cell's words, -1 empty.

    boxes: float32 (P, 4), the box of the object at each cell, NaN where there is none. Both are
    None where nothing is shown.
    """

    tokens: TokenSample
    words: np.ndarray | None
    boxes: np.ndarray | None


@dataclass(frozen=True)
class GridBatch:
    """ids, labels: int64 (B, T). words, boxes: (N, P, 12) and (N, P, 4) of the N that show some."""

    ids: Tensor
    labels: Tensor
    words: Tensor
    boxes: Tensor

    def to(self, device: torch.device) -> GridBatch:
        """The same batch on a device."""
        parts = (self.ids, self.labels, self.words, self.boxes)
        return GridBatch(*(part.to(device) for part in parts))


class GridWriter:
    """Describes a dialogue's picture as a grid of word ids."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, grid: int) -> None:
        self.grid = grid
        self.tokenizer = tokenizer
        self.vocabulary = tokenizer.get_vocab()

    def sample(self, dialogue: Dialogue, rng: random.Random, max_tokens: int) -> GridSample:
        """The dialogue as tokens, a grid in the place of its picture."""
        words = self.cells(dialogue, rng)
        tokens = token_sample(
            as_conversation(dialogue.talk, None if words is None else _STAND_IN),
            self.tokenizer,
            template="vicuna_v1",
            tokens_per_picture=self.grid**2,
            image_token_id=self.vocabulary[IMAGE_TOKEN],
            pixels=None,
            max_tokens=max_tokens,
        )
        if words is None:
            return GridSample(tokens, None, None)
        scene = dialogue.scene or Scene(1, 1, ())
        return GridSample(tokens, words, scene_boxes(scene, self.grid))

    def cells(self, dialogue: Dialogue, rng: random.Random) -> np.ndarray | None:
        """int64 (grid * grid, 12), some words left out by chance; None without a picture."""
        if dialogue.scene is not None:
            texts = self._scene_cells(dialogue.scene)
        elif dialogue.other_kind is not None:
            texts = [f"{dialogue.other_kind}"] * self.grid**2
        else:
            return None
        table = np.full((self.grid**2, _WORDS_A_CELL), _EMPTY, np.int64)
        for cell, text in enumerate(texts):
            row, column = divmod(cell, self.grid)
            ids = [self._byte(_ROW_BYTE + row), self._byte(_COLUMN_BYTE + column)]
            # A letter stands once: without it the word would be another.
            words = [w for w in text.split() if rng.random() >= _WORD_DROPOUT or len(w) < 3]
            ids += [i for word in words for i in self._ids(word)]
            table[cell, : len(ids[:_WORDS_A_CELL])] = ids[:_WORDS_A_CELL]
        return table

    def _scene_cells(self, scene: Scene) -> list[str]:
        texts = ["nothing"] * self.grid**2
        # Patches that an object only touches read as anything between it and nothing.
        blurred = near_any(scene, self.grid)
        for item in scene.objects:
            inside, central = object_patches(scene, item, self.grid)
            text = f"{item.size} {item.colour} {item.shape} {scene.place(item)}"
            for cell in np.flatnonzero(inside):
                texts[cell] = text
            texts[central] += " centre"
            blurred &= ~inside
        halves = letter_halves(scene, self.grid)
        for cell in np.flatnonzero(halves.shown):
            texts[cell] = "text"
        for cell, side in np.argwhere(halves.centred):
            texts[cell] += f" {_RIGHT * side}{LETTERS[halves.covering[cell, side]]}"
        blurred &= ~halves.shown
        for cell in np.flatnonzero(blurred):
            texts[cell] = "edge"
        return texts

    def _ids(self, word: str) -> list[int]:
        if word.startswith(_RIGHT):
            return [self._byte(_RIGHT_LETTER_BYTE + LETTERS.index(word[1]))]
        whole = self.vocabulary.get(WORD_START + word)
        if whole is not None and len(word) > 1:
            return [whole]
        # A letter, or a word that no answer holds ("centre"): the pieces of its first letters.
        return [self.vocabulary[letter] for letter in word[:2]]

    def _byte(self, value: int) -> int:
        return self.vocabulary[f"<0x{value:02X}>"]


def cell_embeddings(words: Tensor, embedding: nn.Embedding) -> Tensor:
    """Word ids (N, P, W), -1 empty -> their mean embeddings (N, P, D), scaled up by sqrt(words)."""
    known = words != _EMPTY
    vectors: Tensor = embedding(words.clamp(min=0)) * known[..., None]
    return vectors.sum(2) / known.sum(2).clamp(min=1).sqrt()[..., None]


def box_waves(boxes: Tensor, dim: int) -> Tensor:
    """Boxes (..., 4) -> (..., dim): sines and cosines of each edge, 1 in their mean square.

    dim: a multiple of 8. NaN, where there is no box, gives zeros.

    >>> boxes = torch.tensor([[0.1, 0.2, 0.3, 0.4], [float("nan")] * 4])
    >>> [round(float(row.square().mean()), 3) for row in box_waves(boxes, 32)]
    [1.0, 0.0]
    """
    rates = torch.pi / 2 * _FINEST_BOX_RATE ** torch.linspace(0, 1, dim // 8, device=boxes.device)
    angles = (boxes[..., None] * rates).flatten(-2)
    return (2**0.5 * torch.cat([angles.sin(), angles.cos()], -1)).nan_to_num()


def grid_embeddings(batch: GridBatch, embedding: nn.Embedding, image_token_id: int) -> Tensor:
    """The tokens (B, T) as embeddings (B, T, D), a noisy grid for each picture among them.

    A cell's box is told in waves of a fixed form: a learned one grows until it drowns the words.
    """
    is_cell = batch.ids == image_token_id
    loud = embedding.weight.detach().std()
    seen = batch.boxes + _BOX_ERROR * torch.randn_like(batch.boxes)
    cells = cell_embeddings(batch.words, embedding)
    cells = cells + _BOX_LOUDNESS * loud * box_waves(seen, cells.shape[-1])
    cells = cells + _NOISE * loud * torch.randn_like(cells)
    embeds: Tensor = embedding(batch.ids.masked_fill(is_cell, 0))
    return embeds.masked_scatter(is_cell[..., None], cells.to(embeds.dtype))


def collate_grids(samples: list[GridSample], max_tokens: int, grid: int) -> GridBatch:
    """Samples -> a batch of `max_tokens` tokens each."""
    batch = collate([sample.tokens for sample in samples], length=max_tokens)
    words = [np.zeros((0, grid**2, _WORDS_A_CELL), np.int64)]
    words += [sample.words[None] for sample in samples if sample.words is not None]
    boxes = [np.zeros((0, grid**2, 4), np.float32)]
    boxes += [sample.boxes[None] for sample in samples if sample.boxes is not None]
    told = torch.from_numpy(np.concatenate(words)), torch.from_numpy(np.concatenate(boxes))
    return GridBatch(batch.ids, batch.labels, *told)


@torch.no_grad()
def look_for_alike(model: LlamaForCausalLM) -> None:
    """Start every head with equal query and key projections, so that like looks at like.

    "circle" in a question is then drawn to the cells that hold "circle" before anything has been
    learned (after arXiv 2305.09828, which measures such a product in trained models). Twice the
    usual size gives those scores a weight beside the others'.
    """
    for layer in model.model.layers:
        attention = layer.self_attn
        attention.q_proj.weight.mul_(2)
        attention.k_proj.weight.copy_(attention.q_proj.weight)


def train_language_model(
    config: LlamaConfig,
    tokenizer: PreTrainedTokenizerBase,
    options: LoopOptions,
    *,
    grid: int,
    batch_size: int,
    turns: int,
    max_tokens: int,
    seed: int,
    workers: int,
    device: torch.device,
    checkpoints: Path,
    compile_decoder: bool = True,
    world: World = CORE,
) -> LlamaForCausalLM:
    """Train a decoder from nothing (or from `checkpoints`) and return it."""
    torch.manual_seed(seed)
    model: LlamaForCausalLM = on_device(LlamaForCausalLM(config), device)
    look_for_alike(model)
    writer = GridWriter(tokenizer, grid)
    image_token_id = tokenizer.get_vocab()[IMAGE_TOKEN]
    decoder = compiled(model.model) if compile_decoder else model.model

    def make(rng: random.Random) -> GridSample:
        """What one random dialogue shows and says."""
        return writer.sample(random_dialogue(rng, turns, drawn=False, world=world), rng, max_tokens)

    def loss_of(batch: GridBatch) -> Losses:
        batch = batch.to(device)
        embeds = grid_embeddings(batch, model.model.embed_tokens, image_token_id)
        hidden = decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state
        return {"loss": next_token_loss(hidden, batch.labels, model.lm_head)}

    def collated(samples: list[GridSample]) -> GridBatch:
        return collate_grids(samples, max_tokens, grid)

    def batches_from(step: int) -> Iterator[GridBatch]:
        first = step * batch_size
        return batches(
            from_random(make, seed), collated, batch_size=batch_size, first=first, workers=workers
        )

    train("language model", model, loss_of, batches_from, options, checkpoints)
    return model
