"""The settings themselves, and which of them belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, ByteSize, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from llava_chat.settings.environment import on_space

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
# Of the engine that runs the model in this process.
SLOT_FIELDS = ("slots", "context_tokens", "cache_bytes", "capture", "max_adapters")
CONVERSATION_FIELDS = ("template", "system")
GENERATION_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "repetition_penalty",
    "max_new_tokens",
    "seed",
    "deadline_s",
)
PICTURE_FIELDS = ("max_picture_bytes", "max_picture_pixels", "max_picture_side", "max_pictures")
SERVER_FIELDS = (
    "host",
    "port",
    "data_dir",
    "database_url",
    "keep_days",
    "feedback_dataset",
    "feedback_push_minutes",
    "models",
    "adapters",
    "compare_with",
)
# Who may sign in, and what they may do.
ACCESS_FIELDS = ("sign_in", "people_file", "hosts", "leads")
LIMIT_FIELDS = (
    *PICTURE_FIELDS,
    "max_message_chars",
    "max_waiting",
    "messages_per_minute",
    "replies_at_once",
    "uploads_per_hour",
    "tokens_per_day",
    "trusted_proxies",
    "picture_hosts",
)
# Only from the environment: other people on a machine can read its command lines.
SECRET_FIELDS = ("secret", "engine_key", "api_keys")

MIN_KEY_CHARS = 16  # of the key that signs sessions: a shorter one could be found by trying

Number = Annotated[float, Field(allow_inf_nan=False)]
Names = Annotated[tuple[str, ...], NoDecode]  # parted by commas, not written as JSON


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
        "local", description="where replies are made: here, or by an OpenAI-compatible server"
    )
    engine_url: Names = Field(
        (), description="addresses of the remote engine, like http://127.0.0.1:8000/v1"
    )
    engine_key: SecretStr | None = Field(
        None, description="API key of the server that replies, judgements or data are asked of"
    )

    slots: int | None = Field(
        None,
        ge=1,
        le=256,
        description="conversations in the model's memory, as many of which are answered at once; "
        "by default as many as the memory for them holds, 16 at most",
    )
    context_tokens: int | None = Field(
        None, ge=64, description="longest conversation, in tokens; by default the model's own"
    )
    cache_bytes: ByteSize | None = Field(
        None,
        ge=0,
        description="memory for conversations and pictures beside the weights, like 4GiB; "
        "by default what suits the device",
    )
    capture: Literal["auto", "on", "off"] = Field(
        "auto", description="CUDA graphs of the step that writes a token; auto is on where they run"
    )

    max_adapters: int = Field(
        4, ge=1, le=256, description="adapters that replies chose, in memory at once"
    )

    template: str | None = Field(
        None, description="conversation template; by default the one that the model names"
    )
    system: str | None = Field(
        None, description="system message; by default the template's own, '' for none"
    )

    temperature: Number = Field(0.2, ge=0, le=2, description="0 always takes the likeliest token")
    top_p: Number = Field(0.7, gt=0, le=1, description="nucleus of probability that is sampled")
    top_k: int = Field(
        0, ge=0, le=2**20, description="so many likeliest tokens are sampled; 0 is all"
    )
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
        None,
        description="SQLAlchemy address, like postgresql+psycopg://user@host/name; "
        "by default a SQLite file in the data folder",
    )
    keep_days: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="days after which a chat that was not changed is removed with all that was "
        "said of it; by default never",
    )
    feedback_dataset: str | None = Field(
        None,
        pattern=r"^[\w.-]+/[\w.-]+$",
        description="private dataset of the Hub, like owner/name, that what is said of replies is "
        "pushed to and read back from, with the token in HF_TOKEN; by default none",
    )
    feedback_push_minutes: Number = Field(
        5.0, ge=0.1, le=1440, description="minutes between two pushes to it"
    )
    models: Names | None = Field(
        None,
        description="models that the page lets everybody choose from, separated by commas; "
        "by default those that are here when only this machine is listened to, else none",
    )
    adapters: Names = Field(
        (),
        description="LoRA adapters to choose from, like crimson=/adapters/crimson, separated by "
        "commas, besides those in the folder `adapters` of the data folder",
    )
    compare_with: Names = Field(
        (),
        description="models that the Compare tab has beside the first, separated by commas; each "
        "is loaded too and takes as much memory as if it ran alone",
    )
    secret: SecretStr | None = Field(
        None,
        min_length=MIN_KEY_CHARS,
        description="key that signs sessions; by default one is drawn and kept in the data folder",
    )

    sign_in: Literal["none", "people", "hugging-face"] = Field(
        "none",
        description="how people say who they are: not at all, by name and password "
        "(`llava_chat people`), or by Hugging Face on a Space with hf_oauth",
    )
    people_file: Path | None = Field(
        None, description="file of who may sign in; by default people.json in the data folder"
    )
    hosts: Names = Field((), description="names that may do everything, separated by commas")
    leads: Names = Field(
        (), description="names that make projects for annotators and see their results"
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
    messages_per_minute: int | None = Field(
        None,
        ge=0,
        description="messages that one person may send in a minute, 0 for any number; "
        "by default 20 where others than this machine's users can reach the page",
    )
    replies_at_once: int | None = Field(
        None,
        ge=0,
        description="replies that one person may have written at once, 0 for any number; "
        "by default 2 where others can reach the page",
    )
    uploads_per_hour: int | None = Field(
        None,
        ge=0,
        description="pictures that one person may upload in an hour, 0 for any number; "
        "by default 120 where others can reach the page",
    )
    tokens_per_day: int | None = Field(
        None,
        ge=0,
        description="tokens that are written for one person in a day, 0 for any number; "
        "by default 200000 where others can reach the page",
    )
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=16,
        description="proxies of the host's own in front of this server, whose word on where a "
        "request comes from is taken",
    )
    picture_hosts: Names = Field(
        (),
        description="hosts, like example.org or example.org:8443, from which the API may fetch "
        "pictures by address; by default none",
    )
    api_keys: Names = Field(
        (), repr=False, description="keys of which a caller of the API has to send one"
    )

    @field_validator(
        "models",
        "adapters",
        "compare_with",
        "engine_url",
        "hosts",
        "leads",
        "picture_hosts",
        "api_keys",
        mode="before",
    )
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
    def adapter_folder(self) -> Path:
        """The folder whose folders are adapters to choose from."""
        return self.data_dir.resolve() / "adapters"

    @property
    def accounts(self) -> Path:
        """The file of who may sign in."""
        return self.people_file or self.data_dir / "people.json"

    @property
    def database(self) -> str:
        """The SQLAlchemy address of the database, the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'llava_chat.db'}"
