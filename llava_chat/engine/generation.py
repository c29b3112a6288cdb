"""How a reply is sampled, and within which limits: the same for every engine.

Imports conversation's check of text, what names an adapter may have, and errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llava_chat.conversation import well_formed
from llava_chat.errors import SettingError
from llava_chat.model.file_names import ADAPTER_NAME

MAX_NEW_TOKENS_LIMIT = 4096
"""The whole context of LLaVA-1.5 (arXiv 2310.03744); a reply in a picture's chat is far shorter."""

MAX_TOP_K = 2**20
"""More than any vocabulary has words."""

MAX_STOPS = 4
"""As many as OpenAI's API takes."""

MAX_STOP_CHARS = 200
"""So much of a reply may be held back while it could be the beginning of a stop."""

MAX_DEADLINE_S = 3600.0
"""Whoever waits for an hour has left; a reply must not hold the engine for longer."""

GREEDY_BELOW_TEMPERATURE = 1e-5
"""Sampling at a lower temperature only tells ids apart that are equally likely but for rounding,
and in float32 ends in a division by zero. vLLM draws the line at the same place."""


@dataclass(frozen=True)
class GenerationSettings:
    """How one reply is sampled.

    temperature: at most 2; below GREEDY_BELOW_TEMPERATURE is greedy. top_p: nucleus mass in (0, 1]
    (arXiv 1904.09751). top_k: so many likeliest tokens are sampled (arXiv 1805.04833), 0 is all of
    them. repetition_penalty: 1 is none, at most 2 (CTRL, arXiv 1909.05858).
    max_new_tokens: tokens, at most MAX_NEW_TOKENS_LIMIT. seed: None draws one. deadline_s: seconds
    from arrival until the reply is cut, at most MAX_DEADLINE_S. stop: texts that end the reply and
    are not part of it, at most MAX_STOPS of MAX_STOP_CHARS. adapter: one of the engine's, by name;
    None is the model as it was opened. Whole numbers may come as floats. 0.2, 0.7 and 512 are those
    of LLaVA's own page (haotian-liu/LLaVA, gradio_web_server.py).
    Raises SettingError naming the field.

    >>> GenerationSettings(temperature=-1)
    Traceback (most recent call last):
    llava_chat.errors.SettingError: temperature must be between 0 and 2, not -1
    """

    temperature: float = 0.2
    top_p: float = 0.7
    repetition_penalty: float = 1.0
    max_new_tokens: int = 512
    seed: int | None = None
    deadline_s: float = 120.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    adapter: str | None = None

    def __post_init__(self) -> None:
        _check_number("temperature", self.temperature, 0, 2)
        _check_number("top_p", self.top_p, 0, 1, low_open=True)
        _check_number("top_k", self.top_k, 0, MAX_TOP_K, whole=True)
        _check_number("repetition_penalty", self.repetition_penalty, 1, 2)
        _check_number("max_new_tokens", self.max_new_tokens, 1, MAX_NEW_TOKENS_LIMIT, whole=True)
        _check_number("deadline_s", self.deadline_s, 0, MAX_DEADLINE_S, low_open=True)
        if self.seed is not None:
            _check_number("seed", self.seed, 0, 2**63 - 1, whole=True)
            object.__setattr__(self, "seed", int(self.seed))  # JSON may say 5.0
        if self.adapter is not None:
            _check_name("adapter", self.adapter)
        object.__setattr__(self, "max_new_tokens", int(self.max_new_tokens))
        object.__setattr__(self, "top_k", int(self.top_k))
        object.__setattr__(self, "stop", _checked_stop(self.stop))

    @property
    def greedy(self) -> bool:
        """True when the most likely token is always taken."""
        return self.temperature < GREEDY_BELOW_TEMPERATURE


def _checked_stop(stop: object) -> tuple[str, ...]:
    texts = tuple(stop) if isinstance(stop, list | tuple) else (stop,)
    if len(texts) > MAX_STOPS:
        raise SettingError("stop", f"must be at most {MAX_STOPS} texts, not {len(texts)}")
    for text in texts:
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_STOP_CHARS:
            raise SettingError("stop", f"must be texts of 1 to {MAX_STOP_CHARS} characters")
    return tuple(well_formed(text) for text in texts)


def _check_name(field: str, value: object) -> None:
    if not isinstance(value, str) or not ADAPTER_NAME.fullmatch(value):
        raise SettingError(field, "must be the name of an adapter that is listed")


def _check_number(
    field: str,
    value: float,
    low: float,
    high: float,
    *,
    low_open: bool = False,
    whole: bool = False,
) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or (whole and value != int(value)):
        raise SettingError(field, f"must be a {'whole ' if whole else ''}number, not {value!r}")
    if value > high or value < low or (low_open and value == low):
        between = f"above {low} and at most {high}" if low_open else f"between {low} and {high}"
        raise SettingError(field, f"must be {between}, not {value!r}")
