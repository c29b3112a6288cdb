"""From a scene to pixels, in many looks: backgrounds, outlines, shading, tilt, JPEG wear."""

from __future__ import annotations

import io
import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from llava_chat.training.scenes.outlines import outline_points
from llava_chat.training.scenes.printed import PrintedText, text_mask
from llava_chat.training.scenes.world import COLOURS, Scene, SceneObject

RGB = tuple[int, int, int]

# For each colour word: what drawing programs mean by it (CSS, matplotlib, Material, Tailwind
# and office palettes), so that pictures drawn elsewhere look familiar. Jitter is added.
PALETTE: dict[str, tuple[RGB, ...]] = {
    "red": ((255, 0, 0), (220, 20, 60), (214, 39, 40), (244, 67, 54), (200, 16, 30), (196, 22, 22)),
    "orange": ((255, 165, 0), (255, 140, 0), (255, 127, 14), (251, 146, 60), (245, 130, 32)),
    "yellow": ((255, 255, 0), (255, 235, 59), (250, 204, 21), (255, 221, 51), (245, 230, 90)),
    "green": ((0, 128, 0), (0, 255, 0), (44, 160, 44), (76, 175, 80), (34, 139, 34), (0, 170, 70)),
    "cyan": ((0, 255, 255), (0, 206, 209), (23, 190, 207), (64, 224, 208), (34, 211, 238)),
    "blue": (
        (0, 0, 255),
        (31, 119, 180),
        (33, 150, 243),
        (65, 105, 225),
        (0, 0, 160),
        (37, 99, 235),
    ),
    "purple": ((128, 0, 128), (148, 103, 189), (156, 39, 176), (106, 13, 173), (138, 43, 226)),
    "pink": ((255, 192, 203), (255, 105, 180), (236, 72, 153), (255, 150, 190), (244, 143, 177)),
    "brown": (
        (139, 69, 19),
        (165, 42, 42),
        (140, 86, 75),
        (121, 85, 72),
        (101, 67, 33),
        (150, 90, 40),
    ),
    "black": ((0, 0, 0), (20, 20, 20), (33, 33, 33), (10, 10, 25)),
    "white": ((255, 255, 255), (248, 248, 248), (240, 240, 240), (252, 250, 242)),
    "gray": ((128, 128, 128), (158, 158, 158), (105, 105, 105), (169, 169, 169), (144, 150, 156)),
}
# Below this distance in RGB a shape would melt into what is behind it.
MIN_CONTRAST = 90.0
SUPERSAMPLING = 3


def draw_scene(scene: Scene, rng: random.Random) -> Image.Image:
    """An RGB picture of `scene`. The same random state gives the same picture."""
    pixels = background(scene.width, scene.height, rng)
    canvas = Image.fromarray(pixels)
    style = _Style(rng)
    for item in scene.objects:
        _paste(canvas, item, style, rng)
    if scene.printed is not None:
        _print(canvas, scene.printed, rng)
    return wear(canvas, rng)


class _Style:
    """What the shapes of one picture have in common."""

    def __init__(self, rng: random.Random) -> None:
        self.outline: RGB | None = None
        if rng.random() < 0.35:
            self.outline = rng.choice(((0, 0, 0), (40, 40, 40), (255, 255, 255), (70, 60, 60)))
        self.outline_share = rng.uniform(0.02, 0.06)
        self.smooth = rng.random() < 0.8
        self.shading = rng.choices(("flat", "graded", "grain"), weights=(75, 15, 10))[0]
        self.shadow = rng.random() < 0.1


def colour_of(word: str, rng: random.Random) -> RGB:
    """A shade of the colour that the word names."""
    base = rng.choice(PALETTE[word])
    spread = 5 if word in ("white", "black") else 10
    red, green, blue = (min(255, max(0, c + rng.randint(-spread, spread))) for c in base)
    return red, green, blue


def background(width: int, height: int, rng: random.Random) -> np.ndarray:
    """A plain, graded or textured ground: uint8 (height, width, 3)."""
    base = np.array(_ground_colour(rng), np.float32)
    ground = np.broadcast_to(base, (height, width, 3)).copy()
    kind = rng.choices(("plain", "graded", "textured"), weights=(50, 25, 25))[0]
    if kind == "graded":
        other = np.clip(base + np.array([rng.uniform(-70, 70) for _ in range(3)]), 0, 255)
        angle = rng.uniform(0, 2 * math.pi)
        ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
        along = xs / width * math.cos(angle) + ys / height * math.sin(angle)
        along = (along - along.min()) / max(1e-6, float(np.ptp(along)))
        ground += (other - base).astype(np.float32) * along[..., None]
    elif kind == "textured":
        ground += _texture(width, height, rng)[..., None]
    return np.clip(ground, 0, 255).astype(np.uint8)


def _ground_colour(rng: random.Random) -> RGB:
    kind = rng.choices(("white", "light", "dark", "any"), weights=(30, 35, 15, 20))[0]
    if kind == "white":
        return (255, 255, 255)
    low, high = {"light": (190, 255), "dark": (0, 60), "any": (0, 255)}[kind]
    tint = rng.randint(low, high)
    spread = 25 if kind != "any" else 120
    red, green, blue = (min(255, max(0, tint + rng.randint(-spread, spread))) for _ in range(3))
    return red, green, blue


def _texture(width: int, height: int, rng: random.Random) -> np.ndarray:
    """Faint grain, stripes, checks or clouds: float32 (height, width) around zero."""
    strength = rng.uniform(4, 16)
    noise = np.random.default_rng(rng.getrandbits(32))
    kind = rng.choice(("grain", "stripes", "checks", "clouds", "dots"))
    if kind == "grain":
        return noise.normal(0, strength * 0.7, (height, width)).astype(np.float32)
    if kind == "clouds":
        small = noise.normal(0, 1, (rng.randint(3, 8), rng.randint(3, 8))).astype(np.float32)
        grown = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(grown, np.float32) * np.float32(strength)
    ys, xs = np.mgrid[0:height, 0:width]
    period = rng.randint(6, 30)
    wave: np.ndarray
    if kind == "stripes":
        wave = (xs * rng.choice((0, 1)) + ys) // period % 2
    elif kind == "checks":
        wave = (xs // period + ys // period) % 2
    else:
        wave = ((xs % period - period / 2) ** 2 + (ys % period - period / 2) ** 2) < period
    return (wave.astype(np.float32) - 0.5) * strength


def _paste(canvas: Image.Image, item: SceneObject, style: _Style, rng: random.Random) -> None:
    left, top, right, bottom = (round(v) for v in item.box)
    behind = np.asarray(canvas.crop((left, top, right, bottom)), np.float32)
    fill = _visible_colour(item.colour, behind, rng)
    scale = SUPERSAMPLING if style.smooth else 1
    size = (max(4, right - left), max(4, bottom - top))
    pad = round(0.2 * max(size)) + 2
    mask = shape_mask(item, size, pad, scale)
    spot = (left - pad, top - pad)
    if style.shadow:
        shift = max(1, round(0.04 * max(size)))
        soft = mask.filter(ImageFilter.GaussianBlur(shift)).point([v * 2 // 5 for v in range(256)])
        canvas.paste((0, 0, 0), (spot[0] + shift, spot[1] + shift), soft)
    outline = style.outline
    edge = fill if outline is None else outline
    if max(_contrast(fill, behind), _contrast(edge, behind)) < MIN_CONTRAST:
        outline = (0, 0, 0) if float(behind.mean()) > 110 else (255, 255, 255)
    if outline is not None:
        canvas.paste(outline, spot, mask)
        border = max(1.0, style.outline_share * max(size))
        mask = shape_mask(item, size, pad, scale, shrink=border)
    canvas.paste(_filling(fill, mask.size, style.shading, rng), spot, mask)


def _print(canvas: Image.Image, printed: PrintedText, rng: random.Random) -> None:
    """The text in any colour that stands out."""
    corner = (round(printed.box[0]), round(printed.box[1]))
    mask = text_mask(printed, bold=rng.choice((0, 0, 2, 4)))
    spot = (*corner, corner[0] + mask.width, corner[1] + mask.height)
    behind = np.asarray(canvas.crop(spot), np.float32)
    inks = [colour_of(rng.choice(COLOURS), rng) for _ in range(3)] + [(0, 0, 0), (255, 255, 255)]
    ink = next(ink for ink in inks if _contrast(ink, behind) >= MIN_CONTRAST)
    canvas.paste(ink, corner, mask)


def _visible_colour(word: str, behind: np.ndarray, rng: random.Random) -> RGB:
    shades = [colour_of(word, rng) for _ in range(4)]
    if _contrast(shades[0], behind) >= MIN_CONTRAST:
        return shades[0]
    return max(shades, key=lambda shade: _contrast(shade, behind))


def _contrast(colour: RGB, behind: np.ndarray) -> float:
    if behind.size == 0:
        return 255.0
    return float(np.linalg.norm(behind.reshape(-1, 3).mean(0) - np.array(colour, np.float32)))


def _filling(fill: RGB, size: tuple[int, int], shading: str, rng: random.Random) -> Image.Image:
    if shading == "flat":
        return Image.new("RGB", size, fill)
    width, height = size
    if shading == "graded":
        change = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * rng.uniform(-22, 22)
        change = np.broadcast_to(change, (height, width))
    else:
        noise = np.random.default_rng(rng.getrandbits(32))
        change = noise.normal(0, 8, (height, width)).astype(np.float32)
    pixels = np.array(fill, np.float32) + change[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def shape_mask(
    item: SceneObject, size: tuple[int, int], pad: int, scale: int, shrink: float = 0.0
) -> Image.Image:
    """The shape as an L mask of `size` plus `pad` on each side; `shrink` pixels thinner."""
    width, height = size
    grid = ((width + 2 * pad) * scale, (height + 2 * pad) * scale)
    mask = Image.new("L", grid, 0)
    pen = ImageDraw.Draw(mask)
    cx, cy = grid[0] / 2, grid[1] / 2
    half_w, half_h = width * scale / 2, height * scale / 2
    outline = outline_points(item.shape, item.tilt, height / width)
    points = [(cx + x * half_w, cy + y * half_h) for x, y in outline]
    pen.polygon(points, fill=255)
    if shrink:
        width_px = max(2, round(2 * shrink * scale))
        pen.line([*points, *points[:2]], fill=0, width=width_px, joint="curve")
    return mask.reduce(scale) if scale > 1 else mask


def wear(picture: Image.Image, rng: random.Random) -> Image.Image:
    """What happens to pictures on their way: a blur, JPEG, both, or nothing."""
    if rng.random() < 0.1:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    if rng.random() < 0.45:
        written = io.BytesIO()
        picture.save(written, "JPEG", quality=rng.randint(30, 95))
        picture = Image.open(written, formats=["JPEG"]).convert("RGB")
    return picture
