"""Any Pillow image as people see it: RGB, upright, transparency on white. Imports Pillow only."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image, ImageMath

# What undoes each value of the EXIF tag Orientation (Exif 2.32, table 6).
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

STRIP_PIXELS = 2**20


def upright_rgb(image: Image.Image) -> Image.Image:
    """Turn any Pillow image into RGB, upright, transparency on white.

    Only the pixels of the result are meant: it may be `image` itself, and hold its metadata.
    """
    turn = UPRIGHT.get(_orientation(image))
    return _on_white(image if turn is None else image.transpose(turn))


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF raises nearly anything, and is no reason to refuse a picture
        return 1
    return orientation if isinstance(orientation, int) else 1


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        flatten = _from_16_bits
    elif "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        flatten = _with_alpha
    else:
        return image if image.mode == "RGB" else image.convert("RGB")
    flat = Image.new("RGB", image.size, "white")
    for box in strips(image.size):  # a large picture in one piece would need four copies at once
        strip, opacity = flatten(image.crop(box))
        flat.paste(strip, box, mask=opacity)
    return flat


def strips(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of about STRIP_PIXELS that cover an image of this size, from the top down.

    >>> [*strips((2**20, 2))]
    [(0, 0, 1048576, 1), (0, 1, 1048576, 2)]
    """
    width, height = size
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def _with_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    colour = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(colour, tuple) and max(colour) > 255:
        # Pillow keeps the upper byte of 16-bit pixels, but both of the transparent colour.
        image.info["transparency"] = tuple(value >> 8 for value in colour)
    translucent = image.convert("RGBA")
    return translucent.convert("RGB"), translucent.getchannel("A")


def _from_16_bits(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    grey = image.convert("I")  # Pillow's own conversion to RGB would clip at 255
    rgb = grey.point(lambda value: value * (1 / 257) + 0.5).convert("L").convert("RGB")
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return rgb, None
    opaque = ImageMath.lambda_eval(lambda of: (of["grey"] != transparent) * 255, grey=grey)
    return rgb, opaque.convert("L")
