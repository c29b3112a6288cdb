"""The encoder alone: a CLIP tower learns to name what its patches show.

Captions of whole pictures teach slowly; phrases of regions teach each patch at once (RegionCLIP,
arXiv 2112.09106). The patch features that the projector will read, those before the last layer,
are held against phrases such as "large red circle"; the last layer's class token against the
words of the whole picture, as in CLIP (arXiv 2103.00020). The text side is thrown away.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModel

from llava_chat.model.encoder import image_size_px, tokens_per_picture
from llava_chat.training.loop import Losses, train
from llava_chat.training.scenes.regions import (
    IGNORED,
    Aspects,
    RegionBatch,
    RegionSample,
    aspects_of,
    collate,
    region_sample,
)
from llava_chat.training.scenes.world import COLOURS, CORE, SHAPES, SIZES, World
from llava_chat.training.schedule import LoopOptions
from llava_chat.training.stream import batches, from_random, reused

_MAX_LOG_SCALE = 4.6  # ln 100, at which CLIP stops too (arXiv 2103.00020, 2.5)
# Most words are in no picture: without it the first steps would only learn that.
_PICTURE_BIAS = -4.0
# Beside the others' 1: shapes are the hardest, where and how large an object is the easiest.
_WEIGHTS = {
    "shape": 1.5, "part": 0.5, "place": 0.5, "size": 0.7, "picture": 0.3, "ground": 0.5,
    "left letter": 0.7, "right letter": 0.7, "letters": 0.5,
}  # fmt: skip
_BOX_WEIGHT = 10.0  # an edge that is off by a tenth of the side then costs as much as a wrong word


class PhraseEncoder(nn.Module):
    """A bag of words -> a unit vector. The phrases are short and their order says nothing."""

    def __init__(self, aspects: Aspects, dim: int) -> None:
        super().__init__()
        words = sorted({w for phrases in aspects.values() for p in phrases for w in p.split()})
        self.index = {word: number for number, word in enumerate(words)}
        self.words = nn.EmbeddingBag(len(words), dim, mode="sum")
        self.mix = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, phrases: list[str]) -> Tensor:
        """Phrases (K) -> (K, dim), each of length one."""
        numbers = [[self.index[word] for word in phrase.split()] for phrase in phrases]
        offsets = np.cumsum([0, *(len(n) for n in numbers[:-1])])
        device = self.words.weight.device
        flat = torch.tensor([n for group in numbers for n in group], device=device)
        bags = self.words(flat, torch.tensor(offsets, device=device))
        return functional.normalize(bags + self.mix(bags), dim=-1)


@torch.no_grad()
def _spread_positions(tower: CLIPVisionModel, grid: int) -> None:
    """Start the position embeddings as sines and cosines of row and column.

    Random ones are small beside the pixels at first, and the place of an object is learned late.
    They are learned from here on.
    """
    table = tower.get_parameter("embeddings.position_embedding.weight")
    quarter = table.shape[1] // 4
    rates = torch.pi / 2 * (grid / 2) ** torch.linspace(0, 1, quarter)
    spots = (torch.arange(grid) + 0.5) / grid
    waves = torch.cat([(spots[:, None] * rates).sin(), (spots[:, None] * rates).cos()], 1)
    rows, columns = waves.repeat_interleave(grid, 0), waves.repeat(grid, 1)
    table[1:] = 0.5 * torch.cat([rows, columns], 1)


class RegionLearner(nn.Module):
    """The tower, its phrase encoder, and a view of the patches for each aspect."""

    def __init__(self, config: CLIPVisionConfig, world: World = CORE, dim: int = 128) -> None:
        super().__init__()
        self.aspects = aspects_of(world)
        self.tower = CLIPVisionModel(config)
        _spread_positions(self.tower, math.isqrt(tokens_per_picture(config, "patch")))
        self.phrases = PhraseEncoder(self.aspects, dim)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.views = nn.ModuleDict(
            {
                name: nn.Linear(config.hidden_size, dim)
                for name in (*self.aspects, "whole", "picture")
            }
        )
        self.box = nn.Linear(config.hidden_size, 4) if world.boxes else None
        # CLIP's temperature starts at 0.07 and is learned as its logarithm.
        self.log_scale = nn.Parameter(torch.tensor(2.66))  # ln(1 / 0.07), as CLIP begins

    def losses(self, batch: RegionBatch) -> Losses:
        """Cross-entropy of patches against phrases, by aspect; 'loss' is their weighted sum."""
        out = self.tower(pixel_values=batch.pixels, output_hidden_states=True)
        patches = self.norm(out.hidden_states[-2][:, 1:])
        losses: dict[str, Tensor] = {}
        for aspect, phrases in self.aspects.items():
            labels = batch.labels[aspect]
            known = labels != IGNORED
            logits = self._scores(patches[known], aspect, list(phrases))
            # A sum, so that a batch without any letter costs nothing.
            total = functional.cross_entropy(logits.float(), labels[known], reduction="sum")
            losses[aspect] = total / known.sum().clamp(min=1)
        losses["whole"] = self._whole_phrases(patches, batch.labels)
        losses["picture"] = self._picture(out.pooler_output, batch.labels)
        weighted = [_WEIGHTS.get(name, 1.0) * value for name, value in losses.items()]
        if self.box is not None:
            known = ~batch.boxes.isnan().any(-1)
            off = (self.box(patches[known]).float() - batch.boxes[known]).abs()
            losses["box"] = off.sum() / (4 * known.sum().clamp(min=1))
            weighted.append(_BOX_WEIGHT * losses["box"])
        return {"loss": torch.stack(weighted).sum(), **losses}

    def _scores(self, features: Tensor, view: str, phrases: list[str]) -> Tensor:
        seen = functional.normalize(self.views[view](features), dim=-1)
        scores: Tensor = (
            self.log_scale.clamp(max=_MAX_LOG_SCALE).exp() * seen @ self.phrases(phrases).T
        )
        return scores

    def _whole_phrases(self, patches: Tensor, labels: dict[str, Tensor]) -> Tensor:
        """Patches against every whole phrase of the batch: "large red circle"."""
        known = labels["colour"] != IGNORED
        triples = torch.stack([labels[a][known] for a in ("size", "colour", "shape")], -1)
        unique, target = triples.unique(dim=0, return_inverse=True)
        phrases = [f"{SIZES[s]} {COLOURS[c]} {SHAPES[k]}" for s, c, k in unique.tolist()]
        logits = self._scores(patches[known], "whole", phrases)
        return functional.cross_entropy(logits.float(), target)

    def _picture(self, pooled: Tensor, labels: dict[str, Tensor]) -> Tensor:
        """The class token against each word: is it anywhere in the picture?"""
        words, present = [], []
        for aspect in ("colour", "shape", "ground"):
            for number, phrase in enumerate(self.aspects[aspect]):
                words.append(phrase)
                present.append((labels[aspect] == number).any(1))
        logits = self._scores(pooled, "picture", words).float() + _PICTURE_BIAS
        return functional.binary_cross_entropy_with_logits(logits, torch.stack(present, 1).float())


@torch.no_grad()
def aspect_accuracy(learner: RegionLearner, batch: RegionBatch) -> dict[str, float]:
    """The share of patches whose phrase of each aspect is found, on one batch."""
    out = learner.tower(pixel_values=batch.pixels, output_hidden_states=True)
    patches = learner.norm(out.hidden_states[-2][:, 1:])
    shares: dict[str, float] = {}
    for aspect, phrases in learner.aspects.items():
        known = batch.labels[aspect] != IGNORED
        found = learner._scores(patches[known], aspect, list(phrases)).argmax(-1)
        shares[aspect] = float((found == batch.labels[aspect][known]).float().mean())
    return shares


def train_encoder(
    config: CLIPVisionConfig,
    options: LoopOptions,
    *,
    batch_size: int,
    seed: int,
    workers: int,
    reuse: int,
    device: torch.device,
    checkpoints: Path,
    world: World = CORE,
) -> CLIPVisionModel:
    """Train a tower from nothing (or from `checkpoints`) and return it."""
    torch.manual_seed(seed)
    learner = RegionLearner(config, world).to(device)
    if device.type == "cpu":
        # At under a hundred patches of few heads, plain attention is the faster there.
        learner.tower.set_attn_implementation("eager")
    size_px, grid = image_size_px(config), math.isqrt(tokens_per_picture(config, "patch"))

    def make(rng: random.Random) -> RegionSample:
        return region_sample(rng, size_px=size_px, grid=grid, world=world)

    def batches_from(step: int) -> Iterator[RegionBatch]:
        numbered = from_random(make, seed)
        return reused(
            numbered, collate, batch_size=batch_size, times=reuse, step=step, workers=workers
        )

    def loss_of(batch: RegionBatch) -> Losses:
        return learner.losses(batch.to(device))

    train("encoder", learner, loss_of, batches_from, options, checkpoints)
    checked = min(512, 8 * batch_size)
    held_out = next(batches(from_random(make, seed + 1), collate, batch_size=checked, workers=0))
    shares = aspect_accuracy(learner.to("cpu"), held_out)
    told = "  ".join(f"{aspect} {share:.3f}" for aspect, share in shares.items())
    print(f"encoder, held out: {told}", file=sys.stderr, flush=True)
    return learner.tower
