"""How a model wants its pictures: the step from a checked picture to the pixels of the encoder.

The same numbers are kept in preprocessor_config.json, where transformers finds them too: whichever
of its processors is named there gives the same pixels. Imports torch, Pillow, `anyres`, `encoder`
and `llava` beside it, `image` and errors.
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
from llava_chat.image import Picture, normalised, view_of, views_of
from llava_chat.model.anyres import pinpoints_from
from llava_chat.model.encoder import image_size_px
from llava_chat.model.llava import ImageAspect, LlavaConfig

Colour = tuple[float, float, float]

# openai/CLIP, clip/clip.py: mean and standard deviation of its training pictures, R G B in 0..1.
CLIP_MEAN: Colour = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Colour = (0.26862954, 0.26130258, 0.27577711)
# google-research/big_vision, configs of SigLIP: `value_range(-1, 1)`.
SIGLIP_MEAN: Colour = (0.5, 0.5, 0.5)
SIGLIP_STD: Colour = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Preprocessing:
    """Call it with a picture: (V, 3, size_px, size_px) float32, normalised with mean and std.

    aspect: `pad` to a square of the mean colour; `square`: resize the shorter edge and crop;
    `stretch` to a square; `anyres`: stretched first, then in tiles. V is 1 but for the last.
    grid_pinpoints: (height, width) in pixels of what the tiles together may be, for `anyres`.
    resample: one of PIL's filters.
    """

    size_px: int
    aspect: ImageAspect = "pad"
    mean: Colour = CLIP_MEAN
    std: Colour = CLIP_STD
    resample: int = Image.Resampling.BICUBIC
    grid_pinpoints: tuple[tuple[int, int], ...] = ()

    def __call__(self, picture: Picture) -> Tensor:
        """The pixels that the encoder reads."""
        return torch.from_numpy(normalised(self._views(picture.rgb()), self.mean, self.std))

    def _views(self, image: Image.Image) -> list[Image.Image]:
        resample = Image.Resampling(self.resample)
        if self.aspect == "anyres":
            return views_of(image, self.grid_pinpoints, self.size_px, resample)
        view = view_of(
            image,
            size_px=self.size_px,
            aspect=self.aspect,
            colour=self.pad_colour,
            resample=resample,
        )
        return [view]

    @property
    def pad_colour(self) -> tuple[int, int, int]:
        """What is around a padded picture: int(mean x 255), R G B, as in the reference LLaVA."""
        red, green, blue = (int(min(max(share * 255, 0), 255)) for share in self.mean)
        return red, green, blue

    @classmethod
    def of(cls, config: LlavaConfig) -> Preprocessing:
        """The vision tower's own, at the size and aspect of a configuration."""
        is_siglip = config.vision.model_type == "siglip_vision_model"
        return cls(
            image_size_px(config.vision),
            config.image_aspect,
            SIGLIP_MEAN if is_siglip else CLIP_MEAN,
            SIGLIP_STD if is_siglip else CLIP_STD,
            grid_pinpoints=config.grid_pinpoints if config.image_aspect == "anyres" else (),
        )

    @classmethod
    def read(cls, settings: Mapping[str, Any], config: LlavaConfig) -> Preprocessing:
        """From the content of preprocessor_config.json; what it leaves out is the tower's own.

        The size, the aspect and the pinpoints are the configuration's, because they decide how
        many rows a picture takes: the processors of LLaVA-1.5's converted checkpoints crop, though
        the model was trained on padded pictures. Two things only the settings may tell: that a
        picture is stretched (a size of height and width, nothing cropped or padded), where the
        configuration says `pad` as it does for want of a word; and pinpoints where it has none.
        Raises CheckpointError for a mean, deviation, filter or pinpoints that cannot be used.
        """
        plain = cls.of(config)
        aspect = "stretch" if plain.aspect == "pad" and _stretches(settings) else plain.aspect
        pinpoints = plain.grid_pinpoints
        try:
            if aspect == "anyres" and not pinpoints:
                pinpoints = pinpoints_from(settings.get("image_grid_pinpoints"), plain.size_px)
            return cls(
                plain.size_px,
                aspect,
                _colour(settings.get("image_mean", plain.mean)),
                _deviation(settings.get("image_std", plain.std)),
                Image.Resampling(settings.get("resample", plain.resample)),
                pinpoints,
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"The picture settings cannot be used: {error}.") from error

    def settings(self) -> dict[str, Any]:
        """The content of preprocessor_config.json, for the processor of transformers it names."""
        name = {"stretch": "Siglip", "anyres": "LlavaNext"}.get(self.aspect, "Llava")
        return {
            "image_processor_type": f"{name}ImageProcessor",
            "processor_class": "LlavaNextProcessor" if name == "LlavaNext" else "LlavaProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            **self._shape_settings(),
            "resample": int(self.resample),
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }

    def _shape_settings(self) -> dict[str, Any]:
        side = {"height": self.size_px, "width": self.size_px}
        if self.aspect == "stretch":
            return {"size": side}
        crop = {
            "size": {"shortest_edge": self.size_px},
            "do_center_crop": True,
            "crop_size": side,
        }
        if self.aspect == "anyres":
            # Padded is a batch, with empty views; a picture's own padding has no setting.
            return {
                **crop,
                "do_pad": True,
                "image_grid_pinpoints": [*map(list, self.grid_pinpoints)],
            }
        return {**crop, "do_pad": self.aspect == "pad"}


def _stretches(settings: Mapping[str, Any]) -> bool:
    """Whether a picture is resized to a height and a width, and neither cropped nor padded."""
    size = settings.get("size")
    if settings.get("do_pad") or settings.get("do_center_crop") or not isinstance(size, Mapping):
        return False
    return bool(size.get("height") and size.get("width"))


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
