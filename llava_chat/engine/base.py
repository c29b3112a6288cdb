"""What every engine promises: settings in, events out.

The web page, the command line and the API know this module and nothing of how replies are made.
It imports neither torch nor gradio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from llava_chat.conversation import Conversation, well_formed
from llava_chat.errors import EngineError, LlavaChatError, SettingError
from llava_chat.progress import Progress

FinishReason = Literal["stop", "length", "cancelled", "deadline"]

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

UNKNOWN_TOKEN = -1
"""The id of a Token where only its text is known."""

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
    are not part of it, at most MAX_STOPS of MAX_STOP_CHARS. Whole numbers may come as floats.
    0.2, 0.7 and 512 are those of LLaVA's own page (haotian-liu/LLaVA, gradio_web_server.py).
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


@dataclass(frozen=True)
class Opening:
    """Waiting for the model `name`, which is being opened.

    progress: how far it is, once that is known. waiting_for: so many replies of the model before it
    are still being written.
    """

    name: str
    progress: Progress | None = None
    waiting_for: int = 0


@dataclass(frozen=True)
class Queued:
    """Waiting for the engine. `place` 1 is next.

    wait_s: about how long, None while nothing is known of it.
    """

    place: int
    wait_s: float | None = None


@dataclass(frozen=True)
class Looking:
    """The prompt is being read: `pictures` of them had to be encoded, `prompt_tokens` in all.

    Of a server that does not tell: the newest message's pictures, and 0 tokens.
    """

    pictures: int
    prompt_tokens: int
    reused_tokens: int


@dataclass(frozen=True)
class Token:
    """One more token. `text` is what it added to the reply ('' inside a multi-byte character).

    token_id: UNKNOWN_TOKEN from a server that sends text alone, perhaps of several tokens.
    """

    text: str
    token_id: int


REMOTE_TEMPLATE = "remote"
"""Stands for the template of a server that writes the prompt by its own; no name of TEMPLATES."""


@dataclass(frozen=True)
class ModelInfo:
    """What a user and a record need to know of the model that answers.

    padded_boxes: it counts boxes on the picture padded to a square. adapter: what was put on it,
    with its revision, None for nothing. local: False for one on a server, whose weights and
    tokenizer are not here: its template is REMOTE_TEMPLATE, revision, device and dtype are "",
    parameters 0, and so are context_tokens when the server does not tell them.
    """

    id: str
    revision: str
    template: str
    context_tokens: int
    parameters: int
    description: str
    device: str
    dtype: str
    padded_boxes: bool = False
    adapter: str | None = None
    local: bool = True


@dataclass(frozen=True)
class Done:
    """The reply is complete, or was cut for the reason in `finish`.

    token_ids are the generated ids without the end token; text decoded again may not give them.
    They are () where only the text is known; then server_tokens says how many the server counted,
    or, of a reply that was stopped before that, in how many pieces it came, which is no more.
    dropped_turns counts the oldest turns that did not fit the context. Times in seconds from
    arrival; first_token_s is None when not a single token came. model: who wrote it, from an engine
    whose model may be another one by now.
    """

    text: str
    token_ids: tuple[int, ...]
    finish: FinishReason
    prompt_tokens: int
    reused_tokens: int
    dropped_turns: int
    seed: int | None
    first_token_s: float | None
    total_s: float
    model: ModelInfo | None = None
    server_tokens: int | None = None

    @property
    def generated_tokens(self) -> int:
        """How many tokens were generated."""
        return len(self.token_ids) if self.server_tokens is None else self.server_tokens

    @property
    def known_ids(self) -> tuple[int, ...] | None:
        """As a Turn has them: None where only the text is known."""
        return self.token_ids or None


@dataclass(frozen=True)
class Failed:
    """The reply failed; `error` carries the sentence for the user. The engine goes on."""

    error: LlavaChatError


Event = Opening | Queued | Looking | Token | Done | Failed


@dataclass(frozen=True)
class ContextUse:
    """How full the context is: tokens of the prompt after truncation, the limit, what is left out.

    dropped_pictures: those that the model no longer sees; some of the dropped turns it may.
    """

    prompt_tokens: int
    context_tokens: int
    dropped_turns: int
    dropped_pictures: int = 0


@dataclass(frozen=True)
class EngineLoad:
    """How busy an engine is at this moment.

    running: replies that are being read or written; waiting: those in line. slots: how many can run
    at once, None where the engine does not know. kept_tokens: of conversations whose keys and
    values are at hand, of capacity_tokens at most; reserved_bytes: what they and the pictures'
    features may take beside the weights. wait_s: about how long somebody who comes now waits for a
    slot, None while nothing is known of it.
    """

    running: int
    waiting: int
    slots: int | None = None
    kept_tokens: int = 0
    capacity_tokens: int = 0
    reserved_bytes: int = 0
    wait_s: float | None = None


class Stream(Iterator[Event], Protocol):
    """The reader's end of a reply."""

    def cancel(self) -> None:
        """Stop; the words so far still come, ending in Done."""

    def close(self) -> None:
        """Stop, and let go of what is left: nothing is yielded after that."""


def whole_reply(events: Iterable[Event], told: Callable[[str], object] | None = None) -> Done:
    """Read a reply to its end; `told` gets each piece of its text.

    Raises the error of a reply that failed.
    """
    for event in events:
        if isinstance(event, Token) and told is not None:
            told(event.text)
        elif isinstance(event, Failed):
            raise event.error
        elif isinstance(event, Done):
            return event
    raise EngineError("The reply ended without saying how; ask again.")


class ChatEngine(Protocol):
    """Makes replies. All methods may be called from any thread."""

    @property
    def model(self) -> ModelInfo:
        """The model that answers. Raises EngineOpeningError while there is none yet."""

    def stream(self, conversation: Conversation, settings: GenerationSettings) -> Stream:
        """Yield Opening*, Queued*, Looking, Token*, then one Done or Failed.

        The conversation's last turn is the user's. Cancelling or closing frees the engine within
        one token. Raises EngineBusyError or EngineClosedError before the first event, never later.
        """

    def context_use(
        self, conversation: Conversation, max_new_tokens: int | None = None
    ) -> ContextUse | None:
        """Count the prompt of `conversation` without running the model; None where only the
        server knows.

        max_new_tokens: of the reply that it leaves room for; None is what the settings have when
        nobody changed them. Raises ContextFullError when the newest message does not fit alone,
        UsageError when the conversation has no template or cannot be told in it,
        EngineOpeningError while there is no model to count for.
        """

    def load(self) -> EngineLoad:
        """How busy it is. Never waits for the model."""

    def close(self, grace_s: float = 10.0) -> None:
        """Take no new work; let running replies end for `grace_s` seconds, then cancel them."""
