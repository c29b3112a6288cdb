"""What one picture from outside may cost. Imports errors only."""

from __future__ import annotations

from dataclasses import dataclass, fields

from llava_chat.errors import SettingError


@dataclass(frozen=True)
class PictureLimits:
    """The limits that a file is held to; each must be above 0.

    max_bytes: of the file; the default holds a photograph of 50 megapixels.
    max_pixels: width x height; the default is the most that telephones take.
    max_side_px: the longer side; the default is what WebP can hold and panoramas need.
    decode_memory_bytes: address space of the child that decodes. The dearest picture within the
    other defaults (a transparent WebP of 50 megapixels) needs 0.82 GB.
    decode_timeout_s: seconds to decode it and hand it over; the dearest took 4.5 on busy cores.
    Raises SettingError naming the field.
    """

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000
    max_side_px: int = 16_384
    decode_memory_bytes: int = 2**30
    decode_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise SettingError(field.name, f"must be above 0, not {value!r}")


DEFAULT_LIMITS = PictureLimits()
