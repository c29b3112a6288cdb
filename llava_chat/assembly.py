"""From settings to parts: the one place where the options become dataclasses and an engine.

The page and the commands share it. It imports settings, templates, image, errors and engine; the
engine's own packages are loaded when one is opened, so that a wrong option is told at once.
"""

from __future__ import annotations

from llava_chat.engine.base import ChatEngine, GenerationSettings
from llava_chat.errors import SettingError
from llava_chat.image import PictureLimits
from llava_chat.settings import GENERATION_FIELDS, Settings, flag
from llava_chat.templates import template_named


def generation_settings(settings: Settings) -> GenerationSettings:
    """How replies are sampled unless somebody asks otherwise."""
    return GenerationSettings(**{name: getattr(settings, name) for name in GENERATION_FIELDS})


def picture_limits(settings: Settings) -> PictureLimits:
    """What a picture from outside may cost."""
    return PictureLimits.scaled(
        max_bytes=settings.max_picture_bytes,
        max_pixels=settings.max_picture_pixels,
        max_side_px=settings.max_picture_side,
    )


def open_engine(settings: Settings) -> ChatEngine:
    """Load the model and start the engine that answers with it.

    Raises CheckpointError when the model cannot be loaded, UsageError for an unknown template,
    SettingError for a device or a quantisation that is not there.
    """
    if settings.template is not None:
        template_named(settings.template)
    from llava_chat.engine import local

    try:
        return local.open_engine(
            settings.model,
            device=settings.device,
            dtype=settings.dtype,
            template=settings.template,
            quantize=settings.quantize,
            cache_bytes=settings.cache_bytes,
            max_waiting=settings.max_waiting,
        )
    except SettingError as error:  # the engine knows a setting by its name, a person by its flag
        raise SettingError(flag(error.field), error.problem) from error
