"""Pictures that are no scenes, so that the model learns to say so.

Real photographs would need licences; their statistics do not. "Dead leaves" (overlapping shapes
with power-law sizes; Lee, Mumford and Huang, 2001) under 1/f clouds, light and blur have the
edges and spectra of photographs. Screens, pages, charts and noise are drawn plainly.
"""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from llava_chat.training.scenes.draw import wear

KINDS = ("photograph", "screenshot", "page", "chart", "noise")
_WEIGHTS = (50, 17, 9, 9, 15)
_LETTERS = "abcdefghijklmnoprstuvw"


def draw_other(rng: random.Random) -> tuple[str, Image.Image]:
    """A picture that is no scene: its kind (one of KINDS) and RGB pixels."""
    kind = rng.choices(KINDS, weights=_WEIGHTS)[0]
    width = rng.randint(140, 320)
    height = max(80, round(width * rng.choice((0.56, 0.66, 0.75, 1.0, 1.33))))
    return kind, wear(_DRAWERS[kind](width, height, rng), rng)


def clouds(width: int, height: int, noise: np.random.Generator, power: float = 1.0) -> np.ndarray:
    """1/f^power noise, float32 (height, width), mean 0 and deviation 1."""
    spectrum = np.fft.rfft2(noise.normal(size=(height, width)))
    fy = np.fft.fftfreq(height)[:, None] * height
    fx = np.fft.rfftfreq(width)[None, :] * width
    radius = np.sqrt(fx**2 + fy**2)
    radius[0, 0] = 1.0
    field = np.fft.irfft2(spectrum / radius**power, s=(height, width))
    field -= field.mean()
    return (field / max(1e-6, float(field.std()))).astype(np.float32)


def _photograph(width: int, height: int, rng: random.Random) -> Image.Image:
    noise = np.random.default_rng(rng.getrandbits(32))
    canvas = Image.fromarray(_landscape(width, height, rng, noise))
    leaves = rng.choice((0, rng.randint(5, 30), rng.randint(30, 160)))
    tones = [tuple(int(v) for v in noise.integers(10, 235, 3)) for _ in range(rng.randint(3, 8))]
    pen = ImageDraw.Draw(canvas)
    for _ in range(leaves):
        radius = min(0.6, 0.02 / max(0.01, rng.random()) ** 0.8) * width
        _leaf(pen, rng, width, height, radius, _near(rng.choice(tones), rng, 25))
    pixels = np.asarray(canvas, np.float32)
    grey = pixels.mean(2, keepdims=True)
    pixels = grey + (pixels - grey) * rng.choice((0.0, 0.2, 0.35, 0.5, 0.7, 1.0))
    depth = rng.uniform(6, 34)
    pixels = pixels + depth * clouds(width, height, noise, rng.uniform(0.7, 1.5))[..., None]
    pixels = pixels + rng.uniform(0, 25) * clouds(width, height, noise, 2.0)[..., None]
    pixels = pixels + noise.normal(0, rng.uniform(0, 6), (height, width, 3))
    faded = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return faded.filter(ImageFilter.GaussianBlur(rng.choice((0, 0.5, 0.8, 1.5))))


def _landscape(
    width: int, height: int, rng: random.Random, noise: np.random.Generator
) -> np.ndarray:
    """Two to four bands with rough edges, such as sky, hills, ground: uint8 (height, width, 3)."""
    ys = np.arange(height, dtype=np.float32)[:, None] / height
    pixels = np.zeros((height, width, 3), np.float32)
    top = np.array([rng.uniform(20, 240) for _ in range(3)])
    pixels += top + (ys * rng.uniform(-90, 90))[..., None]
    for level in sorted(rng.uniform(0.15, 0.95) for _ in range(rng.randint(0, 3))):
        ridge = level + rng.uniform(0.01, 0.09) * clouds(width, 2, noise, 1.2)[0][None, :]
        band = np.array([rng.uniform(10, 210) for _ in range(3)])
        shade = band + ((ys - level) * rng.uniform(-120, 120))[..., None]
        below = (ys > ridge)[..., None]
        pixels = np.where(below, shade, pixels)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _leaf(
    pen: ImageDraw.ImageDraw,
    rng: random.Random,
    width: int,
    height: int,
    radius: float,
    tone: tuple[int, int, int],
) -> None:
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    flat = rng.uniform(0.3, 1.0)
    if rng.random() < 0.5:
        pen.ellipse((x - radius, y - radius * flat, x + radius, y + radius * flat), fill=tone)
        return
    corners = rng.randint(3, 8)
    turns = sorted(rng.uniform(0, 2 * np.pi) for _ in range(corners))
    pen.polygon(
        [
            (x + radius * rng.uniform(0.5, 1.2) * np.cos(t), y + radius * flat * np.sin(t))
            for t in turns
        ],
        fill=tone,
    )


def _near(tone: tuple[int, ...], rng: random.Random, spread: int) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, c + rng.randint(-spread, spread))) for c in tone)
    return red, green, blue


def _words(rng: random.Random, count: int) -> str:
    return " ".join(
        "".join(rng.choice(_LETTERS) for _ in range(rng.randint(2, 9))) for _ in range(count)
    )


def _text_lines(
    pen: ImageDraw.ImageDraw,
    rng: random.Random,
    box: tuple[int, int, int, int],
    ink: tuple[int, int, int],
) -> None:
    size = rng.randint(7, 13)
    font = ImageFont.load_default(size)
    left, top, right, bottom = box
    for y in range(top, bottom - size, round(size * 1.5)):
        words = _words(rng, max(1, round((right - left) / size / rng.uniform(2.5, 6))))
        pen.text((left, y), words[: max(1, int((right - left) / size * 1.9))], ink, font)


def _page(width: int, height: int, rng: random.Random) -> Image.Image:
    paper = rng.randint(225, 255)
    canvas = Image.new("RGB", (width, height), (paper, paper, rng.randint(200, paper)))
    edge = rng.randint(6, 24)
    ink = _near((30, 30, 30), rng, 30)
    _text_lines(ImageDraw.Draw(canvas), rng, (edge, edge, width - edge, height - edge), ink)
    return canvas


def _screenshot(width: int, height: int, rng: random.Random) -> Image.Image:
    dark = rng.random() < 0.4
    ground = _near((32, 34, 40) if dark else (245, 246, 248), rng, 10)
    ink = _near((210, 210, 215) if dark else (50, 52, 58), rng, 20)
    canvas = Image.new("RGB", (width, height), ground)
    pen = ImageDraw.Draw(canvas)
    bar = rng.randint(10, 26)
    pen.rectangle(
        (0, 0, width, bar), fill=_near((60, 90, 160) if not dark else (20, 22, 28), rng, 40)
    )
    pen.text(
        (6, bar // 4), _words(rng, 2), (240, 240, 240), ImageFont.load_default(max(7, bar // 2))
    )
    side = rng.choice((0, width // 4))
    if side:
        pen.rectangle((0, bar, side, height), fill=_near(ground, rng, 18))
        _text_lines(pen, rng, (4, bar + 6, side - 4, height - 4), ink)
    top = bar + 6
    while top < height - 24:
        tall = rng.randint(18, 70)
        left = side + rng.randint(5, 12)
        right = width - rng.randint(5, 40)
        if rng.random() < 0.5:
            fill = _near(ground, rng, 14)
            pen.rounded_rectangle((left, top, right, top + tall), 4, fill=fill, outline=ink)
        _text_lines(pen, rng, (left + 4, top + 3, right - 4, top + tall), ink)
        top += tall + rng.randint(4, 12)
    return canvas


def _chart(width: int, height: int, rng: random.Random) -> Image.Image:
    canvas = Image.new("RGB", (width, height), (255, 255, 255))
    pen = ImageDraw.Draw(canvas)
    left, bottom, right, top = 24, height - 18, width - 8, 14
    pen.line((left, top, left, bottom, right, bottom), fill=(60, 60, 60))
    for step in range(1, 5):
        y = bottom - (bottom - top) * step // 5
        pen.line((left, y, right, y), fill=(215, 215, 215))
        pen.text((3, y - 4), str(step * 10), (70, 70, 70), ImageFont.load_default(8))
    count = rng.randint(4, 12)
    xs = np.linspace(left + 8, right - 8, count)
    tones = [_near((120, 120, 120), rng, 110) for _ in range(3)]
    if rng.random() < 0.5:
        half = max(2, (right - left) // count // 3)
        for x in xs:
            pen.rectangle((x - half, rng.randint(top, bottom - 3), x + half, bottom), fill=tones[0])
    else:
        for tone in tones[: rng.randint(1, 3)]:
            pen.line([(x, rng.randint(top, bottom)) for x in xs], fill=tone, width=2)
    pen.text((left, 1), _words(rng, 3), (40, 40, 40), ImageFont.load_default(9))
    return canvas


def _noise(width: int, height: int, rng: random.Random) -> Image.Image:
    noise = np.random.default_rng(rng.getrandbits(32))
    cell = rng.choice((1, 1, 2, 4, 8))
    small = (height // cell + 1, width // cell + 1)
    channels = rng.choice((1, 3))
    levels: np.ndarray
    if rng.random() < 0.5:
        levels = noise.integers(0, 256, (*small, channels))
    else:
        levels = noise.normal(rng.uniform(60, 190), rng.uniform(25, 70), (*small, channels))
    pixels = np.broadcast_to(np.clip(levels, 0, 255).astype(np.uint8), (*small, 3))
    grown = np.repeat(np.repeat(pixels, cell, 0), cell, 1)[:height, :width]
    return Image.fromarray(np.ascontiguousarray(grown))


_DRAWERS = {
    "photograph": _photograph,
    "screenshot": _screenshot,
    "page": _page,
    "chart": _chart,
    "noise": _noise,
}
