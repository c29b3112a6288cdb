"""The body of `/v1/chat/completions`: which fields it may have, and the sentences for the rest.

A field that would change the answer and cannot be honoured is refused by name, never ignored.
Numbers of sampling come through as they are: `engine.base.GenerationSettings` checks them, for
every way in. Imports pydantic, engine.base and the errors beside it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from llava_chat.engine.base import GenerationSettings
from llava_chat.errors import SettingError
from llava_chat.web.openai.errors import CallError

MAX_MESSAGES = 1000
MAX_PARTS = 100
# vLLM's word for all of them, beside 0.
_EVERY_TOKEN = -1
_MOST = 2**64
# They say nothing of what the reply is to be.
_IGNORED = {
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
}
# What cannot be honoured, with the values that ask for nothing; null always does.
_UNSUPPORTED: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": (),
    "verbosity": (),
    "web_search_options": (),
}
_SAMPLING = ("temperature", "top_p", "top_k", "repetition_penalty", "seed", "stop")


def _number(value: object) -> int | float | None:
    """Any number that a float can hold: which are sensible, the settings know."""
    if value is None or (isinstance(value, float | int) and not isinstance(value, bool)):
        if isinstance(value, int) and abs(value) > _MOST:
            raise ValueError("is out of its range")
        return value
    raise ValueError("must be a number")


def _address(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


def _parts(value: object) -> object:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Number = Annotated[Any, BeforeValidator(_number)]


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class ImageUrl(_Fields):
    """Where a picture is: a data URL, or an address. `detail` is not read: the model decides."""

    url: str


class Part(_Fields):
    """A stretch of text, or a picture."""

    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: Annotated[ImageUrl | None, BeforeValidator(_address)] = None

    @model_validator(mode="after")
    def _whole(self) -> Part:
        if getattr(self, self.type) is None:
            raise ValueError(f"has the type {self.type!r} and no {self.type!r}")
        return self


class Message(_Fields):
    """What one side said."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[Part], Field(max_length=MAX_PARTS), BeforeValidator(_parts)]
    tool_calls: None = None
    function_call: None = None


class StreamOptions(_Fields):
    """include_usage: a last chunk tells how many tokens there were."""

    include_usage: bool = False


class ChatRequest(_Fields):
    """The fields that are honoured. None is the server's own setting."""

    model_config = ConfigDict(extra="forbid")

    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Number = None
    max_completion_tokens: Number = None
    temperature: Number = None
    top_p: Number = None
    top_k: Number = None
    repetition_penalty: Number = None
    seed: Number = None
    stop: Annotated[list[str] | None, BeforeValidator(_listed)] = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def generation(self, defaults: GenerationSettings) -> GenerationSettings:
        """How to sample. Raises SettingError that names the field as the caller wrote it."""
        longest = next(
            (f for f in ("max_completion_tokens", "max_tokens") if getattr(self, f) is not None), ""
        )
        given = {name: getattr(self, name) for name in _SAMPLING}
        given["max_new_tokens"] = getattr(self, longest) if longest else None
        if given["top_k"] == _EVERY_TOKEN:
            given["top_k"] = 0
        try:
            return replace(
                defaults, **{n: value for n, value in given.items() if value is not None}
            )
        except SettingError as error:
            if error.field != "max_new_tokens":
                raise
            raise SettingError(longest, error.problem) from None


def read_request(body: bytes) -> ChatRequest:
    """The request in a body. Raises CallError naming the field.

    >>> read_request(b'{"messages": [{"role": "user", "content": "Hi"}]}').messages[0].role
    'user'
    >>> read_request(b'{"messages": [], "n": 2}')
    Traceback (most recent call last):
    llava_chat.web.openai.errors.CallError: n is not supported here; leave it out.
    """
    fields = _object(body)
    for name, value in fields.items():
        if value is not None and value not in _UNSUPPORTED.get(name, (value,)):
            sentence = f"{name} is not supported here; leave it out."
            raise CallError(sentence, param=name, code="unsupported_parameter")
    known = {k: v for k, v in fields.items() if k not in _UNSUPPORTED and k not in _IGNORED}
    try:
        return ChatRequest.model_validate(known)
    except ValidationError as error:
        raise _named(error) from None


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # no UTF-8 is a ValueError too
        raise CallError("The body is not JSON.", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise CallError("The body must be a JSON object.", code="invalid_json")
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _named(error: ValidationError) -> CallError:
    """The first of pydantic's complaints as one sentence."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    param = param_of(first["loc"])
    match first["type"]:
        case "missing":
            return CallError(f"{param} is missing.", param=param, code="missing_required_parameter")
        case "extra_forbidden":
            sentence = f"{param} is not known here; leave it out."
            return CallError(sentence, param=param, code="unknown_parameter")
        case "value_error":
            problem = first["msg"].removeprefix("Value error, ")
            return CallError(f"{param} {problem}.", param=param, code="invalid_value")
    must_be = first["msg"].removeprefix("Input should be ")
    said = f" must be {must_be}" if must_be != first["msg"] else f": {must_be}"
    return CallError(f"{param}{said}.", param=param, code="invalid_type")


def param_of(place: tuple[int | str, ...]) -> str:
    """A field's place as OpenAI writes it.

    >>> param_of(("messages", 0, "content", 2, "image_url"))
    'messages[0].content[2].image_url'
    """
    parts = (f"[{each}]" if isinstance(each, int) else f".{each}" for each in place)
    return "".join(parts).removeprefix(".")
