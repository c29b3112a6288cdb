"""How a model wants its pictures: the step from a checked picture to the pixels of the encoder.

The same numbers are kept in preprocessor_config.json, where transformers finds them too. Imports
torch, Pillow, `encoder` and `llava` beside it, `image` and errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from llava_chat.errors import CheckpointError
from llava_chat.image import Picture, clip_pixels
from llava_chat.model.encoder import image_size_px
from llava_chat.model.llava import ImageAspect, LlavaConfig

Colour = tuple[float, float, float]

# openai/CLIP, clip/clip.py: mean and standard deviation of its training pictures, R G B in 0..1.
CLIP_MEAN: Colour = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Colour = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocessing:
    """Call it with a picture: (3, size_px, size_px) float32, normalised with mean and std.

    aspect: `pad` to a square of the mean colour, or `square`: resize the shorter edge and crop.
    resample: one of PIL's filters.
    """

    size_px: int
    aspect: ImageAspect = "pad"
    mean: Colour = CLIP_MEAN
    std: Colour = CLIP_STD
    resample: int = Image.Resampling.BICUBIC

    def __call__(self, picture: Picture) -> Tensor:
        """The pixels that the encoder reads."""
        pixels = clip_pixels(
            picture.rgb(),
            size_px=self.size_px,
            mean=self.mean,
            std=self.std,
            aspect=self.aspect,
            colour=self.pad_colour,
            resample=Image.Resampling(self.resample),
        )
        return torch.from_numpy(pixels)

    @property
    def pad_colour(self) -> tuple[int, int, int]:
        """What is around a padded picture: int(mean x 255), R G B, as in the reference LLaVA."""
        red, green, blue = (int(min(max(share * 255, 0), 255)) for share in self.mean)
        return red, green, blue

    @classmethod
    def of(cls, config: LlavaConfig) -> Preprocessing:
        """CLIP's own, at the size and aspect of a configuration."""
        return cls(image_size_px(config.vision), config.image_aspect)

    @classmethod
    def read(cls, settings: Mapping[str, Any], config: LlavaConfig) -> Preprocessing:
        """From the content of preprocessor_config.json; what it leaves out is CLIP's.

        Raises CheckpointError for a mean, deviation or filter that cannot be used.
        """
        plain = cls.of(config)
        try:
            return cls(
                plain.size_px,
                plain.aspect,
                _colour(settings.get("image_mean", CLIP_MEAN)),
                _deviation(settings.get("image_std", CLIP_STD)),
                Image.Resampling(settings.get("resample", plain.resample)),
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"The picture settings cannot be used: {error}.") from error

    def settings(self) -> dict[str, Any]:
        """The content of preprocessor_config.json, for transformers' LlavaImageProcessor."""
        side = {"height": self.size_px, "width": self.size_px}
        return {
            "image_processor_type": "LlavaImageProcessor",
            "processor_class": "LlavaProcessor",
            "do_convert_rgb": True,
            "do_pad": self.aspect == "pad",
            "do_resize": True,
            "size": {"shortest_edge": self.size_px},
            "resample": int(self.resample),
            "do_center_crop": True,
            "crop_size": side,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }


def _colour(values: Any) -> Colour:
    red, green, blue = (float(value) for value in values)
    if not all(map(math.isfinite, (red, green, blue))):
        raise ValueError(f"image_mean and image_std must be finite numbers, not {values}")
    return red, green, blue


def _deviation(values: Any) -> Colour:
    deviation = _colour(values)
    if min(deviation) <= 0:
        raise ValueError(f"image_std must be above 0, not {values}")
    return deviation
