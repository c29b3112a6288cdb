"""What one picture from outside may cost. Imports errors only."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

from llava_chat.errors import SettingError

DEFAULT_MAX_PIXELS = 50_000_000

# At the peak of the dearest picture, a WebP: two canvases that libwebp composes frames on, the one
# that it hands over and Pillow's own image, 4 bytes a pixel each.
DECODE_BYTES_PER_PIXEL = 16
# Of any picture: Python and Pillow, a few copies of the file, a PNG's texts unpacked.
DECODE_BASE_BYTES = 2**28
DECODE_S = 10.0  # what the defaults allow; the dearest picture within them took 4.5 on busy cores


@dataclass(frozen=True)
class PictureLimits:
    """The limits that a file is held to; each must be above 0.

    max_bytes: of the file; the default holds a photograph of 50 megapixels.
    max_pixels: width x height; the default is the most that telephones take.
    max_side_px: the longer side; the default is what WebP can hold and panoramas need.
    decode_memory_bytes: address space of the child that decodes.
    decode_timeout_s: seconds to decode a picture and hand it over.
    Memory and time are enough for the other defaults; `scaled` fits them to other max_pixels.
    Raises SettingError naming the field.
    """

    max_bytes: int = 20 * 2**20
    max_pixels: int = DEFAULT_MAX_PIXELS
    max_side_px: int = 16_384
    decode_memory_bytes: int = DECODE_BASE_BYTES + DECODE_BYTES_PER_PIXEL * DEFAULT_MAX_PIXELS
    decode_timeout_s: float = DECODE_S

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise SettingError(field.name, f"must be above 0, not {value!r}")

    @classmethod
    def scaled(cls, *, max_bytes: int, max_pixels: int, max_side_px: int) -> Self:
        """Limits whose memory and time are enough for any picture of max_pixels.

        They count on a file that is not much larger than the default allows. The time never falls
        below the default: a busy machine is slow with small pictures too.
        """
        return cls(
            max_bytes=max_bytes,
            max_pixels=max_pixels,
            max_side_px=max_side_px,
            decode_memory_bytes=DECODE_BASE_BYTES + DECODE_BYTES_PER_PIXEL * max_pixels,
            decode_timeout_s=DECODE_S * max(1.0, max_pixels / DEFAULT_MAX_PIXELS),
        )


DEFAULT_LIMITS = PictureLimits()
