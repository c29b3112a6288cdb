"""From settings to parts: the one place where the options become dataclasses and an engine.

The page and the commands share it. It imports settings, templates, image, errors, progress and
engine; the packages of a model are loaded when one is looked at, so that a wrong option is told at
once, and not at all where a server has the model.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llava_chat.engine.base import ChatEngine, GenerationSettings
from llava_chat.errors import CheckpointError, SettingError
from llava_chat.image import PictureLimits
from llava_chat.model.file_names import ADAPTER_NAME
from llava_chat.progress import Report
from llava_chat.settings import GENERATION_FIELDS, SLOT_FIELDS, Settings, flag, on_zero_gpu
from llava_chat.templates import template_named

# What a server decides for itself.
OF_THIS_PROCESS = (
    "adapter",
    "vision_tower",
    "quantize",
    "device",
    "dtype",
    "template",
    "models",
    "compare_with",
    "adapters",
    *SLOT_FIELDS,
)


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


def check_model(settings: Settings) -> None:
    """Raise what is known to be wrong with the model before any of its weights is read.

    Of a Hub id that was not downloaded yet the small files are, so that one that cannot be had, or
    would not fit into the memory, is not waited for. Raises as `open_engine` does; a server is not
    asked yet.
    """
    check_engine(settings)
    if settings.engine == "remote":
        return
    if settings.template is not None:
        template_named(settings.template)
    from llava_chat.model.device import choose_device, named_dtype
    from llava_chat.model.inspection import check_room, inspect_checkpoint
    from llava_chat.model.quantization import quantize_kind

    with _flags_named():
        device, dtype = choose_device(settings.device), named_dtype(settings.dtype)
        quantization = quantize_kind(settings.quantize, device)
    found = inspect_checkpoint(
        settings.model,
        adapter=settings.adapter,
        vision_tower=settings.vision_tower,
        template=settings.template,
    )
    if found["problems"]:
        raise CheckpointError(found["problems"][0])
    check_room(found, device, dtype, quantization)


def open_engine(settings: Settings, report: Report | None = None) -> ChatEngine:
    """Load the model and start the engine that answers with it. report: is told how far it is.

    Raises CheckpointError when the model cannot be loaded, UsageError for an unknown template,
    SettingError for a device or a quantisation that is not there, or a model that the server does
    not offer, RemoteEngineError for a server that cannot be used.
    """
    if settings.engine == "remote":
        return _open_remote(settings)
    if settings.template is not None:
        template_named(settings.template)
    named = named_adapters(settings)
    from llava_chat.engine import local
    from llava_chat.model.adapter_folders import AdapterFolders

    with _flags_named():
        return local.open_engine(
            settings.model,
            device=settings.device,
            dtype=settings.dtype,
            template=settings.template,
            adapter=settings.adapter,
            vision_tower=settings.vision_tower,
            quantize=settings.quantize,
            slots=settings.slots,
            context_tokens=settings.context_tokens,
            cache_bytes=settings.cache_bytes,
            capture=settings.capture,
            adapters=AdapterFolders(settings.adapter_folder, named),
            max_adapters=settings.max_adapters,
            lend=importlib.import_module("spaces").GPU if on_zero_gpu() else None,
            max_waiting=settings.max_waiting,
            report=report,
        )


def named_adapters(settings: Settings) -> dict[str, Path]:
    """The folders of `--adapters` by their names. Raises SettingError for what is no such pair.

    >>> named_adapters(Settings(adapters=("crimson=/adapters/one",)))
    {'crimson': PosixPath('/adapters/one')}
    """
    found: dict[str, Path] = {}
    for pair in settings.adapters:
        name, equals, folder = pair.partition("=")
        if not equals or not folder or not ADAPTER_NAME.fullmatch(name):
            raise SettingError(
                flag("adapters"),
                "must be like crimson=/adapters/crimson, the name of at most 64 letters, digits "
                f"and any of _.- behind the first, not {pair!r}",
            )
        found[name] = Path(folder)
    return found


def check_engine(settings: Settings) -> None:
    """Raise SettingError where the options do not fit the engine; nobody is asked for that."""
    named_adapters(settings)
    if settings.engine == "local":
        if settings.engine_url:
            where = f"{flag('engine')} remote"
            raise SettingError(flag("engine_url"), f"is for {where}; give that too, or neither")
        return
    for name in OF_THIS_PROCESS:
        if getattr(settings, name) != Settings.model_fields[name].default:
            raise SettingError(
                flag(name),
                f"is for a model in this process; with {flag('engine')} remote the server has its "
                "own, so leave it out",
            )
    from llava_chat.engine import remote

    with _flags_named():
        remote.checked_urls(settings.engine_url)


def _open_remote(settings: Settings) -> ChatEngine:
    check_engine(settings)
    from llava_chat.engine import remote

    with _flags_named():
        return remote.open_engine(
            settings.engine_url,
            key=_engine_key(settings),
            model=_model_wanted(settings),
            max_waiting=settings.max_waiting,
        )


def _served_name(settings: Settings) -> str:
    from llava_chat.engine import remote

    with _flags_named():
        urls = remote.checked_urls(settings.engine_url)
        wanted = _model_wanted(settings)
        return remote.served_model(urls, key=_engine_key(settings), wanted=wanted).id


def _engine_key(settings: Settings) -> str | None:
    return None if settings.engine_key is None else settings.engine_key.get_secret_value()


def _model_wanted(settings: Settings) -> str | None:
    """The model to ask a server for; None, the only one that it has, when nobody named any."""
    return None if settings.model == Settings.model_fields["model"].default else settings.model


def for_model(settings: Settings, name: str) -> Settings:
    """The settings to open another model with: what belongs to one model only is left out."""
    if name == settings.model:
        return settings
    of_one = {"template": None, "adapter": None, "vision_tower": None}
    return settings.model_copy(update={"model": name, **of_one})


@dataclass(frozen=True)
class OfferedModel:
    """A model that the page has or may switch to. name: what opens it. label: what people read.

    needs: its size in words, "" where it is not known.
    """

    name: str
    label: str
    needs: str


def offered_models(settings: Settings) -> tuple[OfferedModel, ...]:
    """The started model, then those listed; without a list, for this machine alone, those here.

    A public page offers what its host listed: one visitor switches for all of them. Of a server it
    is the one that it serves us. Raises CheckpointError for a folder that is not there, and as
    `open_engine` does for a server.
    """
    if settings.engine == "remote":
        name = _served_name(settings)
        return (OfferedModel(name, name, ""),)
    from llava_chat.model.inspection import known_model, known_models

    if settings.models is not None:
        names = settings.models
    elif settings.public:
        names = ()
    else:
        names = tuple(model.name for model in known_models() if model.present)
    found = [known_model(name) for name in dict.fromkeys((settings.model, *names))]
    labels = labelled([model.name for model in found])
    return tuple(
        OfferedModel(model.name, label, needs(model.memory_bytes, model.present))
        for model, label in zip(found, labels, strict=True)
    )


def compared_models(settings: Settings) -> tuple[OfferedModel, ...]:
    """The models that are opened beside the started one, for comparisons alone.

    Each takes its own memory, weights and conversations. Raises CheckpointError for a folder that
    is not there.
    """
    if not settings.compare_with:
        return ()
    from llava_chat.model.inspection import known_model

    names = dict.fromkeys(name for name in settings.compare_with if name != settings.model)
    found = [known_model(name) for name in (settings.model, *names)]
    labels = labelled([model.name for model in found])
    return tuple(
        OfferedModel(model.name, label, needs(model.memory_bytes, model.present))
        for model, label in zip(found, labels, strict=True)
    )[1:]


def labelled(names: list[str]) -> list[str]:
    """Names without the folders around them, which are nobody's business; no two are alike.

    >>> labelled(["scenes", "llava-hf/llava-1.5-7b-hf", "/usr/", "/usr/."])
    ['scenes', 'llava-hf/llava-1.5-7b-hf', 'usr', 'usr (2)']
    """
    labels: list[str] = []
    seen = Counter[str]()
    for name in names:
        label = Path(name).resolve().name if Path(name).is_dir() else name
        seen[label] += 1
        labels.append(f"{label} ({seen[label]})" if seen[label] > 1 else label)
    return labels


def needs(memory_bytes: int, present: bool) -> str:
    """What a model takes, in words.

    >>> needs(14_126_854_144, True), needs(45_000_000, True), needs(14_126_854_144, False)
    ('14.1 GB in bfloat16', '45 MB in bfloat16', '14.1 GB in bfloat16, to be downloaded')
    """
    if not memory_bytes:
        return "" if present else "to be downloaded"
    size = f"{memory_bytes / 1e9:.1f} GB" if memory_bytes >= 1e9 else f"{memory_bytes / 1e6:.0f} MB"
    return f"{size} in bfloat16" + ("" if present else ", to be downloaded")


@contextmanager
def _flags_named() -> Iterator[None]:
    """The parts know a setting by its name, a person by its flag."""
    try:
        yield
    except SettingError as error:
        raise SettingError(flag(error.field), error.problem) from error
