"""The LoRA adapters that replies can choose among, by name: folders, looked at anew when asked.

A folder that appears, changes or goes does so for the next who asks; what was read of one is kept
for as long as its files stay as they are. Imports the modules beside it and errors.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llava_chat.errors import CheckpointError, SettingError
from llava_chat.model.adapters import Adapter, check_adapter, read_adapter
from llava_chat.model.file_names import (
    ADAPTER_CONFIG_NAME,
    ADAPTER_NAME,
    NON_LORA_NAME,
    PROJECTOR_NAME,
)
from llava_chat.model.llava import LlavaModel
from llava_chat.model.location import fingerprint

_DECODER = "language_model."
_START_WITH_IT = "start with --adapter to use it"

_Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class NamedAdapter:
    """An adapter as it is on the disk just now. revision: changes with its files."""

    name: str
    folder: Path
    revision: str

    @property
    def id(self) -> str:
        """What a record says of it.

        >>> NamedAdapter("crimson", Path("data/adapters/crimson"), "1f").id
        'crimson@1f'
        """
        return f"{self.name}@{self.revision}"


@dataclass(frozen=True)
class _Seen:
    """What was found in a folder whose files had this signature."""

    signature: _Signature
    found: NamedAdapter | CheckpointError


class AdapterFolders:
    """Adapters for one model. Any thread may call any method.

    parent: a folder whose folders are adapters, if it is there. named: others, by name, which win.
    """

    def __init__(self, parent: Path | None = None, named: Mapping[str, Path] | None = None) -> None:
        self._parent = parent
        self._named = dict(named or {})
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    def all(self, model: LlavaModel) -> dict[str, NamedAdapter | CheckpointError]:
        """Every adapter by its name, sorted; the error of one that the model cannot use."""
        folders = self._folders()
        with self._lock:
            self._seen = {name: seen for name, seen in self._seen.items() if name in folders}
            return {name: self._look(name, folders[name], model) for name in sorted(folders)}

    def named(self, name: str, model: LlavaModel) -> NamedAdapter:
        """One of them. Raises SettingError when there is none, CheckpointError as `all` tells."""
        folder = self._folders().get(name)
        if folder is None:
            raise SettingError("adapter", f"{name[:64]!r} is not here; choose one that is listed")
        with self._lock:
            found = self._look(name, folder, model)
        if isinstance(found, CheckpointError):
            raise found.with_traceback(None)
        return found

    def _folders(self) -> dict[str, Path]:
        there: dict[str, Path] = {}
        try:
            children = [] if self._parent is None else [*self._parent.iterdir()]
        except OSError:  # nobody has made it yet, or it may not be read
            children = []
        for folder in children:
            if ADAPTER_NAME.fullmatch(folder.name) and (folder / ADAPTER_CONFIG_NAME).is_file():
                there[folder.name] = folder
        return there | self._named

    def _look(self, name: str, folder: Path, model: LlavaModel) -> NamedAdapter | CheckpointError:
        try:
            signature = _signature(folder)
            seen = self._seen.get(name)
            if seen is None or seen.signature != signature:
                check_changeable(read_adapter(folder), model)
                found = NamedAdapter(name, folder, fingerprint(folder))
                self._seen[name] = seen = _Seen(signature, found)
            return seen.found
        except CheckpointError as error:
            self._seen[name] = _Seen(signature, error.with_traceback(None))
            return error
        except OSError as error:  # taken away while it is looked at
            return CheckpointError(f"{folder} cannot be read: {error.strerror or error}.")


def check_changeable(adapter: Adapter, model: LlavaModel) -> None:
    """Raise CheckpointError unless a reply can use the adapter while others use other ones.

    Those change linear layers of the language model alone, by a product of two matrices each; so
    what was seen of a picture holds for all of them.
    """
    if any("base_layer" in name for name, _ in model.named_modules()):
        raise CheckpointError(
            "The model was opened with an adapter on it; open it without one to choose among "
            "several."
        )
    check_adapter(adapter, model)
    beside = [name for name in (NON_LORA_NAME, PROJECTOR_NAME) if (adapter.folder / name).is_file()]
    changed = [*adapter.modules, *adapter.whole]
    elsewhere = [name for name in changed if not name.startswith(_DECODER)]
    if adapter.whole or beside or elsewhere:
        what = [*adapter.whole, *beside, *elsewhere][0]
        raise CheckpointError(
            f"The adapter in {adapter.folder} changes more than layers of the language model "
            f"({what}); {_START_WITH_IT}."
        )
    if adapter.config.use_dora:
        raise CheckpointError(
            f"The adapter in {adapter.folder} uses DoRA, which changes the weights themselves; "
            f"{_START_WITH_IT}."
        )


def _signature(folder: Path) -> _Signature:
    """What changes when a file of the folder does. Raises OSError."""
    stats = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
