"""The encoder alone: a CLIP tower learns to name what its patches show.

Captions of whole pictures teach slowly; phrases of regions teach each patch at once (RegionCLIP,
arXiv 2112.09106). The patch features that the projector will read, those before the last layer,
are held against phrases such as "large red circle"; the last layer's class token against the
words of the whole picture, as in CLIP (arXiv 2103.00020). The text side is thrown away.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModel

from llava_chat.image import clip_pixels
from llava_chat.model.encoder import image_size_px, tokens_per_picture
from llava_chat.model.preprocessing import CLIP_MEAN, CLIP_STD
from llava_chat.training.loop import LoopOptions, Losses, train
from llava_chat.training.scenes.draw import draw_scene
from llava_chat.training.scenes.other_pictures import KINDS, draw_other
from llava_chat.training.scenes.world import (
    COLOURS,
    PLACES,
    SHAPES,
    SIZES,
    Scene,
    SceneObject,
    random_scene,
)
from llava_chat.training.stream import batches, from_random, reused

OTHER_SHARE = 0.15

_PLACE_PHRASES = tuple(phrase for row in PLACES for phrase in row)
# What a patch can be called, aspect by aspect. "none" is ground, padding, or another kind.
ASPECTS: dict[str, tuple[str, ...]] = {
    "colour": COLOURS,
    "shape": SHAPES,
    "size": SIZES,
    "place": _PLACE_PHRASES,
    "part": ("centre", "part"),
    "ground": ("shape", "empty", *KINDS),
}
_IGNORED = -100


@dataclass(frozen=True)
class RegionSample:
    """pixels: float32 (3, S, S). labels: aspect -> int64 (P,), -100 where it does not apply."""

    pixels: np.ndarray
    labels: dict[str, np.ndarray]


def patch_centres(scene: Scene, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """X and y of the grid x grid patch centres in the scene's own pixels, padded to a square."""
    longer = max(scene.width, scene.height)
    spots = (np.arange(grid) + 0.5) / grid * longer
    xs = np.tile(spots, grid) - (longer - scene.width) / 2
    ys = np.repeat(spots, grid) - (longer - scene.height) / 2
    return xs, ys


def object_patches(scene: Scene, item: SceneObject, grid: int) -> tuple[np.ndarray, int]:
    """Which patches show `item` (bool (P,)), and the number of the one at its centre."""
    xs, ys = patch_centres(scene, grid)
    central = int(np.argmin((xs - item.x) ** 2 + (ys - item.y) ** 2))
    # 0.8 of the box: patches that hold only a corner of it may hold more ground than shape.
    inside = (np.abs(xs - item.x) < 0.4 * item.width) & (np.abs(ys - item.y) < 0.4 * item.height)
    inside[central] = True
    return inside, central


def near_any(scene: Scene, grid: int) -> np.ndarray:
    """Bool (P,): patches that some object may reach into."""
    xs, ys = patch_centres(scene, grid)
    half = max(scene.width, scene.height) / grid / 2
    near = np.zeros(grid * grid, bool)
    for item in scene.objects:
        near |= (np.abs(xs - item.x) < item.width * 0.6 + half) & (
            np.abs(ys - item.y) < item.height * 0.6 + half
        )
    return near


def scene_labels(scene: Scene, grid: int) -> dict[str, np.ndarray]:
    """Aspect -> labels (P,) of a scene's patches."""
    labels = {aspect: np.full(grid * grid, _IGNORED, np.int64) for aspect in ASPECTS}
    labels["ground"][~near_any(scene, grid)] = ASPECTS["ground"].index("empty")
    for item in scene.objects:
        inside, central = object_patches(scene, item, grid)
        labels["colour"][inside] = COLOURS.index(item.colour)
        labels["shape"][inside] = SHAPES.index(item.shape)
        labels["size"][inside] = SIZES.index(item.size)
        labels["place"][inside] = _PLACE_PHRASES.index(scene.place(item))
        labels["part"][inside] = 1
        labels["part"][central] = 0
        labels["ground"][inside] = 0
    return labels


def region_sample(rng: random.Random, *, size_px: int, grid: int) -> RegionSample:
    """A fresh picture and what its patches show, grid x grid of them."""
    if rng.random() < OTHER_SHARE:
        kind, picture = draw_other(rng)
        labels = {aspect: np.full(grid * grid, _IGNORED, np.int64) for aspect in ASPECTS}
        width, height = picture.size
        xs, ys = patch_centres(Scene(width, height, ()), grid)
        inside = (xs > 0) & (xs < width) & (ys > 0) & (ys < height)
        labels["ground"][inside] = ASPECTS["ground"].index(kind)
    else:
        scene = random_scene(rng)
        picture, labels = draw_scene(scene, rng), scene_labels(scene, grid)
    pixels = clip_pixels(picture, size_px=size_px, mean=CLIP_MEAN, std=CLIP_STD, aspect="pad")
    return RegionSample(pixels, labels)


def collate(samples: list[RegionSample]) -> tuple[Tensor, dict[str, Tensor]]:
    """Samples -> pixels (N, 3, S, S) and labels (N, P) by aspect."""
    pixels = torch.from_numpy(np.stack([s.pixels for s in samples]))
    labels = {
        aspect: torch.from_numpy(np.stack([s.labels[aspect] for s in samples]))
        for aspect in ASPECTS
    }
    return pixels, labels


class PhraseEncoder(nn.Module):
    """A bag of words -> a unit vector. The phrases are short and their order says nothing."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        words = sorted({w for phrases in ASPECTS.values() for p in phrases for w in p.split()})
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

    def __init__(self, config: CLIPVisionConfig, dim: int = 128) -> None:
        super().__init__()
        self.tower = CLIPVisionModel(config)
        _spread_positions(self.tower, math.isqrt(tokens_per_picture(config, "patch")))
        self.phrases = PhraseEncoder(dim)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.views = nn.ModuleDict(
            {name: nn.Linear(config.hidden_size, dim) for name in (*ASPECTS, "whole", "picture")}
        )
        # CLIP's temperature starts at 0.07 and is learned as its logarithm.
        self.log_scale = nn.Parameter(torch.tensor(2.66))

    def losses(self, pixels: Tensor, labels: dict[str, Tensor]) -> Losses:
        """Cross-entropy of patches against phrases, by aspect; 'loss' is their weighted sum."""
        out = self.tower(pixel_values=pixels, output_hidden_states=True)
        patches = self.norm(out.hidden_states[-2][:, 1:])
        losses: dict[str, Tensor] = {}
        for aspect, phrases in ASPECTS.items():
            known = labels[aspect] != _IGNORED
            logits = self._scores(patches[known], aspect, list(phrases))
            losses[aspect] = functional.cross_entropy(logits.float(), labels[aspect][known])
        losses["whole"] = self._whole_phrases(patches, labels)
        losses["picture"] = self._picture(out.pooler_output, labels)
        weights = {
            "shape": 1.5,
            "part": 0.5,
            "place": 0.5,
            "size": 0.7,
            "picture": 0.3,
            "ground": 0.5,
        }
        weighted = [weights.get(name, 1.0) * value for name, value in losses.items()]
        return {"loss": torch.stack(weighted).sum(), **losses}

    def _scores(self, features: Tensor, view: str, phrases: list[str]) -> Tensor:
        seen = functional.normalize(self.views[view](features), dim=-1)
        scores: Tensor = self.log_scale.clamp(max=4.6).exp() * seen @ self.phrases(phrases).T
        return scores

    def _whole_phrases(self, patches: Tensor, labels: dict[str, Tensor]) -> Tensor:
        """Patches against every whole phrase of the batch: "large red circle"."""
        known = labels["colour"] != _IGNORED
        triples = torch.stack([labels[a][known] for a in ("size", "colour", "shape")], -1)
        unique, target = triples.unique(dim=0, return_inverse=True)
        phrases = [f"{SIZES[s]} {COLOURS[c]} {SHAPES[k]}" for s, c, k in unique.tolist()]
        logits = self._scores(patches[known], "whole", phrases)
        return functional.cross_entropy(logits.float(), target)

    def _picture(self, pooled: Tensor, labels: dict[str, Tensor]) -> Tensor:
        """The class token against each word: is it anywhere in the picture?"""
        words, present = [], []
        for aspect in ("colour", "shape", "ground"):
            for number, phrase in enumerate(ASPECTS[aspect]):
                words.append(phrase)
                present.append((labels[aspect] == number).any(1))
        logits = self._scores(pooled, "picture", words).float() - 4.0
        return functional.binary_cross_entropy_with_logits(logits, torch.stack(present, 1).float())


@torch.no_grad()
def aspect_accuracy(
    learner: RegionLearner, batch: tuple[Tensor, dict[str, Tensor]]
) -> dict[str, float]:
    """The share of patches whose phrase of each aspect is found, on one batch."""
    pixels, labels = batch
    out = learner.tower(pixel_values=pixels, output_hidden_states=True)
    patches = learner.norm(out.hidden_states[-2][:, 1:])
    shares: dict[str, float] = {}
    for aspect, phrases in ASPECTS.items():
        known = labels[aspect] != _IGNORED
        found = learner._scores(patches[known], aspect, list(phrases)).argmax(-1)
        shares[aspect] = float((found == labels[aspect][known]).float().mean())
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
    state_file: Path,
) -> CLIPVisionModel:
    """Train a tower from nothing (or from `state_file`) and return it."""
    torch.manual_seed(seed)
    learner = RegionLearner(config).to(device)
    size_px, grid = image_size_px(config), math.isqrt(tokens_per_picture(config, "patch"))

    def make(rng: random.Random) -> RegionSample:
        return region_sample(rng, size_px=size_px, grid=grid)

    def batches_from(step: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        first = step * batch_size // reuse
        drawn = batches(
            from_random(make, seed), collate, batch_size=batch_size, first=first, workers=workers
        )
        return reused(drawn, reuse)

    def loss_of(batch: tuple[Tensor, dict[str, Tensor]]) -> Losses:
        pixels, labels = batch
        moved = {aspect: values.to(device) for aspect, values in labels.items()}
        return learner.losses(pixels.to(device), moved)

    train("encoder", learner, loss_of, batches_from, options, state_file)
    checked = min(512, 8 * batch_size)
    held_out = next(batches(from_random(make, seed + 1), collate, batch_size=checked, workers=0))
    shares = aspect_accuracy(learner.to("cpu"), held_out)
    print("encoder, held out: " + "  ".join(f"{k} {v:.3f}" for k, v in shares.items()))
    return learner.tower
