"""Where the parts of a checkpoint are: one folder, or several laid over one another.

    base model  <-  vision tower (where the base holds none)  <-  projector  <-  LoRA adapter

A LLaVA-1.5 of the authors' layout names its tower, a LoRA or a projector that stage 1 trained names
its base. What is found here is described, but no weight is read. Imports the modules beside it and
errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from llava_chat.errors import CheckpointError
from llava_chat.model.adapters import Adapter, read_adapter
from llava_chat.model.file_names import (
    ADAPTER_CONFIG_NAME,
    CONFIG_NAME,
    NON_LORA_NAME,
    PROJECTOR_NAME,
)
from llava_chat.model.hub import HubModel
from llava_chat.model.layouts.description import Description
from llava_chat.model.layouts.names import HEAD, WORDS, model_name
from llava_chat.model.layouts.original import is_original
from llava_chat.model.layouts.reading import read_description
from llava_chat.model.location import BUNDLED_NAME, HUB_ID, Located, locate
from llava_chat.model.published import published
from llava_chat.model.weight_files import (
    WeightHeader,
    briefly,
    has_weights,
    read_headers,
    read_json,
    weight_files,
)
from llava_chat.progress import Report

# What the authors' training writes beside, or instead of, the language model's weights.
_PROJECTOR_FILES = (PROJECTOR_NAME, NON_LORA_NAME)

_LONGEST_SHOWN = 200

Headers = Mapping[str, WeightHeader]


@dataclass(frozen=True)
class Search:
    """How parts that a checkpoint only names are looked for.

    vision_tower: a folder or Hub id to take instead of the named tower. download: whether Hub ids
    may be fetched. outline: of those that are not here, what is beside their weights is. report:
    told how far a download is.
    """

    vision_tower: str | None = None
    download: bool = True
    outline: bool = False
    report: Report | None = None

    def find(self, name: str) -> Located:
        """What a person named."""
        return locate(name, download=self.download, outline=self.outline, report=self.report)

    def find_part(self, name: str, of: Located, what: str, way_out: str) -> Located:
        """What the checkpoint `of` names. Raises CheckpointError naming it and the `way_out`.

        A Hub id is fetched only for a checkpoint of the Hub, as nothing else asks the network; and
        only a local checkpoint may name a folder outside itself.
        """
        inside = of.folder / name
        with suppress(OSError, ValueError):
            if inside.is_dir() and inside.resolve().is_relative_to(of.folder.resolve()):
                return locate(str(inside))
            if not of.from_hub and Path(name).is_absolute() and Path(name).is_dir():
                return locate(name)
        if name == BUNDLED_NAME:
            return locate(name)
        if HUB_ID.fullmatch(name) and len(name) < _LONGEST_SHOWN:
            if of.from_hub and (self.download or self.outline):
                return self.find(name)
            with suppress(CheckpointError):
                return replace(self, download=False, outline=False).find(name)
            way_out = f"download it with `{HubModel.named(name).download_command}`, or {way_out}"
        shown = name if name.isprintable() and len(name) < _LONGEST_SHOWN else repr(name[:40])
        raise CheckpointError(f"{of.id} needs the {what} {shown}, which is not here; {way_out}.")


@dataclass(frozen=True)
class Sources:
    """All that a model is loaded from.

    located: what was asked for; its id and revision are the model's. base: where the language
    model is, the same folder for most. on_top: a LoRA adapter or a projector on it. described:
    which of them the description is of.
    """

    located: Located
    base: Located
    on_top: Located | None
    described: Located
    description: Description
    search: Search

    @property
    def folder(self) -> Path:
        """Where the tokenizer and the picture's settings are: with the part that was trained."""
        names = ("tokenizer.json", "tokenizer.model", "vocab.json")
        if self.on_top and any((self.on_top.folder / name).is_file() for name in names):
            return self.on_top.folder
        return self.base.folder

    @property
    def lacking_bytes(self) -> int:
        """Of weights that are not here, because an outline was asked for."""
        every = (self.base, self.on_top, self.tower)
        return sum(part.lacking_bytes for part in every if part is not None)

    @cached_property
    def tower(self) -> Located | None:
        """Where the vision tower is, when the base is here and does not hold one.

        Raises CheckpointError when it is not to be found, or the base is damaged.
        """
        if self.description.tower is None or self.base.lacking_bytes:
            return None
        if any(name.startswith("tower.") for name in self._base_headers):
            return None
        return _tower(self.search, self.described, self.description.tower)

    @cached_property
    def _base_headers(self) -> dict[str, WeightHeader]:
        return named_headers(weight_files(self.base.folder))

    @property
    def revision(self) -> str:
        """What tells versions of the model apart; of one that names its base, both."""
        return "+".join(dict.fromkeys((self.located.revision, self.base.revision)))

    @property
    def added(self) -> str | None:
        """What was put on the model that was asked for, as `id@revision`."""
        if self.on_top is None or self.on_top is self.located:
            return None
        return f"{self.on_top.id}@{self.on_top.revision}"

    @property
    def adapter(self) -> Located | None:
        """The part that is a LoRA adapter, None when there is none."""
        is_lora = self.on_top and (self.on_top.folder / ADAPTER_CONFIG_NAME).is_file()
        return self.on_top if is_lora else None

    @cached_property
    def lora(self) -> Adapter | None:
        """The LoRA adapter. Raises CheckpointError when it cannot be read."""
        return None if self.adapter is None else read_adapter(self.adapter.folder)

    def headers(self) -> dict[str, WeightHeader]:
        """Every weight but a LoRA's matrices by its name in LlavaModel; of two parts the later's.

        Raises CheckpointError when a file, or the tower, is not here or damaged.
        """
        headers = dict(self._base_headers)
        if self.tower is not None:
            found = named_headers(weight_files(self.tower.folder))
            headers |= {name: each for name, each in found.items() if name.startswith("tower.")}
        if self.on_top is not None:
            headers |= named_headers(_projector_files(self.on_top.folder))
        if self.lora is not None:
            headers = {**_untied(headers, self.lora), **self.lora.whole}
        return headers


def find_sources(
    name: str, search: Search, *, adapter: str | None = None, is_delta: bool = False
) -> Sources:
    """Find and describe a checkpoint: `scenes`, a folder or a Hub id.

    adapter: a LoRA adapter, or a projector alone, to put on the model. is_delta: it is about to be
    added to what it is a delta to. Raises CheckpointError when a part is not here or does not fit.
    """
    known = published(name.partition("@")[0])
    if known is not None and known.convert_first and not is_delta:
        raise CheckpointError(
            f"{name} is a delta to LLaMA, no model by itself; make one of it with "
            f"`python -m llava_chat {known.convert_first}`."
        )
    located = search.find(name)
    on_top = None if adapter is None else search.find(adapter)
    if on_top is not None and not _goes_on_top(on_top.folder):
        raise CheckpointError(
            f"{on_top.folder} is no adapter and no projector: it holds neither "
            f"{ADAPTER_CONFIG_NAME} nor {PROJECTOR_NAME}."
        )
    base = located
    if on_top is None and not is_model(located.folder):
        on_top = located
        base = search.find_part(
            base_name(located.folder),
            located,
            "base model",
            "name its folder with --model and this one with --adapter",
        )
    described = on_top if on_top is not None and _describes(on_top.folder) else base
    description = read_description(
        described.folder, lambda named: _tower(search, described, named).folder
    )
    return Sources(located, base, on_top, described, description, search)


def is_model(folder: Path) -> bool:
    """Whether a folder holds a language model, not only what goes on top of one."""
    return has_weights(folder) or not _goes_on_top(folder)


def _goes_on_top(folder: Path) -> bool:
    return (folder / ADAPTER_CONFIG_NAME).is_file() or bool(_projector_files(folder))


def base_name(folder: Path) -> str:
    """The model that a LoRA adapter or a projector was trained on, as its files say.

    Raises CheckpointError when they do not.
    """
    fields = ((ADAPTER_CONFIG_NAME, "base_model_name_or_path"), (CONFIG_NAME, "_name_or_path"))
    for file, field in fields:
        if (folder / file).is_file():
            name = read_json(folder / file).get(field)
            if isinstance(name, str) and name:
                return name
    raise CheckpointError(
        f"{folder} does not say which base model it was trained on; name that one with --model and "
        "this folder with --adapter."
    )


def _describes(folder: Path) -> bool:
    path = folder / CONFIG_NAME
    if not path.is_file():
        return False
    content = read_json(path)
    return is_original(content) or "vision_config" in content


def _untied(headers: dict[str, WeightHeader], lora: Adapter) -> dict[str, WeightHeader]:
    """With the head's table where the words' is both and the adapter changes only one of them."""
    changed = {*lora.whole, *(f"{module}.weight" for module in lora.modules)}
    if HEAD in headers or len(changed & {WORDS, HEAD}) != 1 or WORDS not in headers:
        return headers
    return headers | {HEAD: headers[WORDS]}


def _projector_files(folder: Path) -> list[Path]:
    return [folder / name for name in _PROJECTOR_FILES if (folder / name).is_file()]


def _tower(search: Search, of: Located, name: str) -> Located:
    if search.vision_tower is not None:
        return search.find(search.vision_tower)
    return search.find_part(name, of, "vision tower", "name its folder with --vision-tower")


def named_headers(files: Iterable[Path]) -> dict[str, WeightHeader]:
    """The weights of files by their names in LlavaModel.

    Raises CheckpointError for a damaged file, or two names of one weight.
    """
    headers = read_headers(files)
    named: dict[str, WeightHeader] = {}
    doubled: list[str] = []
    for stored, header in headers.items():
        name = model_name(stored)
        if name in named:
            doubled += [named[name].name, stored]
        elif name is not None:
            named[name] = header
    if doubled:
        folder = headers[doubled[0]].file.parent
        raise CheckpointError(
            f"The weights in {folder} have two names of one weight, such as {briefly(doubled)}."
        )
    return named
