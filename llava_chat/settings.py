"""Every option, once: its name, default, range and help; flags and variables follow from it.

A field `max_new_tokens` is the flag `--max-new-tokens` and the variable
`LLAVA_CHAT_MAX_NEW_TOKENS`; a flag wins over a variable. This is the only module that reads
`os.environ`. It imports the exception tree alone, and needs pydantic: what a GPU machine runs
(model, engine, training, evaluation) takes plain dataclasses instead and never imports it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AliasChoices,
    ByteSize,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from llava_chat.errors import SettingError

PREFIX = "LLAVA_CHAT_"

MODEL_FIELDS = (
    "model",
    "adapter",
    "vision_tower",
    "quantize",
    "device",
    "dtype",
    "engine",
    "engine_url",
)
CONVERSATION_FIELDS = ("template", "system")
GENERATION_FIELDS = (
    "temperature",
    "top_p",
    "repetition_penalty",
    "max_new_tokens",
    "seed",
    "deadline_s",
)
PICTURE_FIELDS = ("max_picture_bytes", "max_picture_pixels", "max_picture_side", "max_pictures")
SERVER_FIELDS = ("host", "port", "data_dir", "database_url", "models")
LIMIT_FIELDS = (*PICTURE_FIELDS, "max_message_chars", "max_waiting", "cache_bytes")

# Fields whose feature does not exist yet, with the one value they take until it does.
NOT_BUILT: Mapping[str, object] = {
    "engine": "local",
    "engine_url": None,
}

MIN_KEY_CHARS = 16  # of the key that signs sessions: a shorter one could be found by trying

Number = Annotated[float, Field(allow_inf_nan=False)]


class Settings(BaseSettings):
    """The whole configuration, checked. Built by `load_settings`; immutable."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
    )

    model: str = Field("scenes", description="a folder, a Hub id, or `scenes`, the bundled model")
    adapter: str | None = Field(
        None, description="a LoRA adapter, or a projector alone, to put on the model"
    )
    vision_tower: str | None = Field(
        None, description="vision tower of a model that holds none, instead of the one it names"
    )
    quantize: Literal["none", "8bit", "4bit"] = Field(
        "none", description="bits of the language model's weights, on a CUDA GPU, by bitsandbytes"
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="auto (CUDA, then MPS, then CPU), cpu, mps, cuda or cuda:N",
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="numbers that the model computes with; auto fits the device"
    )
    engine: Literal["local", "remote"] = Field(
        "local", description="where replies are made (remote is not available yet)"
    )
    engine_url: str | None = Field(
        None, description="address of the remote engine (not available yet)"
    )

    template: str | None = Field(
        None, description="conversation template; by default the one that the model names"
    )
    system: str | None = Field(
        None, description="system message; by default the template's own, '' for none"
    )

    temperature: Number = Field(0.2, ge=0, le=2, description="0 always takes the likeliest token")
    top_p: Number = Field(0.7, gt=0, le=1, description="nucleus of probability that is sampled")
    repetition_penalty: Number = Field(1.0, ge=1, le=2, description="1 is none")
    max_new_tokens: int = Field(512, ge=1, le=4096, description="longest reply, in tokens")
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="makes sampling repeatable; by default one is drawn"
    )
    deadline_s: Number = Field(
        120.0, gt=0, le=3600, description="seconds after which a reply is cut"
    )

    host: str = Field(
        "127.0.0.1",
        validation_alias=AliasChoices(f"{PREFIX}HOST", "GRADIO_SERVER_NAME"),
        description="address to listen on; 0.0.0.0 is every network",
    )
    port: int = Field(
        7860,
        ge=1,
        le=65535,
        validation_alias=AliasChoices(f"{PREFIX}PORT", "GRADIO_SERVER_PORT"),
        description="port to listen on",
    )
    data_dir: Path = Field(
        Path("data"), description="folder of the database, the pictures and the signing key"
    )
    database_url: str | None = Field(
        None, description="SQLAlchemy address; by default a SQLite file in the data folder"
    )
    models: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None,
        description="models that the page lets everybody choose from, separated by commas; "
        "by default those that are here when only this machine is listened to, else none",
    )
    secret: SecretStr | None = Field(
        None,
        min_length=MIN_KEY_CHARS,
        description="key that signs sessions; by default one is drawn and kept in the data folder",
    )

    max_picture_bytes: ByteSize = Field(
        ByteSize(20 * 2**20), ge=1, description="largest picture file, like 20MiB"
    )
    max_picture_pixels: int = Field(
        50_000_000,
        ge=1,
        le=89_478_485,  # Pillow warns of a decompression bomb above it whenever one is opened again
        description="most pixels in a picture",
    )
    max_picture_side: int = Field(16_384, ge=1, description="longest side of a picture, in pixels")
    max_pictures: int = Field(4, ge=0, description="most pictures with one message")
    max_message_chars: int = Field(20_000, ge=1, description="longest message, in characters")
    max_waiting: int = Field(32, ge=1, description="most replies that may wait for the model")
    cache_bytes: ByteSize = Field(
        ByteSize(512 * 2**20),
        ge=0,
        description="memory for what earlier turns computed, like 512MiB",
    )

    @field_validator(*NOT_BUILT)
    @classmethod
    def _refuse_what_is_not_built(cls, value: object, info: ValidationInfo) -> object:
        only = NOT_BUILT[str(info.field_name)]
        if value != only:
            way_out = "leave it out" if only is None else f"leave it at {only}"
            raise ValueError(f"{value} is not available in this version; {way_out}")
        return value

    @field_validator("models", mode="before")
    @classmethod
    def _parted(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(name for part in value.split(",") if (name := part.strip()))

    @property
    def public(self) -> bool:
        """Whether others than this machine's users may reach the page."""
        return on_space() or self.host not in ("127.0.0.1", "localhost", "::1")

    @property
    def uploads(self) -> Path:
        """The folder where uploads wait until they are sent."""
        return self.data_dir.resolve() / "uploads"

    @property
    def database(self) -> str:
        """The SQLAlchemy address of the database, the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'llava_chat.db'}"


def flag(name: str) -> str:
    """The command line's name of a field.

    >>> flag("max_new_tokens")
    '--max-new-tokens'
    """
    return "--" + name.replace("_", "-")


def variables(name: str) -> tuple[str, ...]:
    """The environment variables that set a field, the first of them winning.

    >>> variables("top_p"), variables("port")
    (('LLAVA_CHAT_TOP_P',), ('LLAVA_CHAT_PORT', 'GRADIO_SERVER_PORT'))
    """
    alias = Settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (PREFIX + name.upper(),)


def add_arguments(
    parser: argparse.ArgumentParser, names: Iterable[str], title: str = "settings"
) -> None:
    """Add a flag for each of the fields `names`, under a heading of the help.

    A flag that is not given leaves no attribute, so that the variable or the default holds.
    Values stay text: `load_settings` checks them, whichever way they came.
    """
    group = parser.add_argument_group(title)
    for name in names:
        field = Settings.model_fields[name]
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else None
        group.add_argument(
            flag(name),
            dest=name,
            default=argparse.SUPPRESS,
            choices=choices,
            metavar=None if choices else _metavar(field),
            help=_help(name, field).replace("%", "%%"),
        )


def load_settings(namespace: argparse.Namespace | None = None) -> Settings:
    """Flags from `namespace`, then variables, then defaults.

    Raises SettingError naming the flag, or the variable, that the first wrong value came from.
    """
    given = {
        name: value
        for name, value in vars(namespace or argparse.Namespace()).items()
        if name in Settings.model_fields
    }
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = _field_name(str(first["loc"][0]))
        raise SettingError(_origin(name, given), _problem(name, first)) from None


def on_space() -> bool:
    """Whether this is a Hugging Face Space, whose page stands in a frame of huggingface.co."""
    return "SPACE_ID" in os.environ


def prepare_libraries(settings: Settings) -> None:
    """Tell the libraries what they read from the environment, some of it when they are imported.

    They report nothing to their makers, and Gradio keeps uploads in the data folder: in the
    system's temporary folder others might read them, and nobody would ever delete them.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(settings.uploads)


def _metavar(field: FieldInfo) -> str:
    words = {int: "N", float: "X", ByteSize: "BYTES", Path: "DIR"}
    kinds = (field.annotation, *get_args(field.annotation))
    return next((words[kind] for kind in kinds if kind in words), "TEXT")


def _help(name: str, field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, ByteSize):
        default = default.human_readable(separator="")
    shown = [] if default is None else [f"default: {default}"]
    return f"{field.description} ({'; '.join([*shown, ', '.join(variables(name))])})"


def _field_name(location: str) -> str:
    """A field by its own name or by one of its variables: pydantic reports either."""
    return next(n for n in Settings.model_fields if location == n or location in variables(n))


def _origin(name: str, given: Mapping[str, object]) -> str:
    if name in given:
        return flag(name)
    return next((v for v in variables(name) if v in os.environ), name)


def _problem(name: str, error: ErrorDetails) -> str:
    """What is wrong with the value, to be read after the flag's name."""
    kind, message = error["type"], error["msg"].split(", unable to")[0]
    if name == "secret":  # its value is never shown
        return f"must have at least {MIN_KEY_CHARS} characters"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        message = f"must be {Settings.model_fields[name].description}"
    elif kind.startswith("byte_size"):
        message = "must be a number of bytes, like 20000000 or 20MiB"
    message = message.replace("Input should be", "must be", 1)
    return f"{message}, not {_shortened(error['input'])}"


def _shortened(value: Any, longest: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."
