"""The model with each adapter that replies ask for: the same weights and rows, other decoders.

Nothing is put into the model, so that a reply without an adapter costs what it did. An adapter is
read when the first reply wants it; of those that nobody uses the least recently used leaves when
there are too many. Imports torch, `model`, errors and the modules beside it. For one thread only.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from llava_chat.engine.local.decoder import RowDecoder
from llava_chat.engine.local.layer import Changes, LowRank
from llava_chat.engine.local.rows import RowCache
from llava_chat.engine.local.step import Step
from llava_chat.errors import CheckpointError
from llava_chat.model.adapter_folders import NamedAdapter, check_changeable
from llava_chat.model.adapters import Adapter, read_adapter
from llava_chat.model.layouts.names import is_unread_layer
from llava_chat.model.llava import LlavaModel
from llava_chat.model.location import fingerprint

MOST_ADAPTERS = 4
"""In memory at once, unless a host says otherwise. One of LLaVA-1.5's recipe (rank 128) is 640 MB
for 7 billion weights in 16 bits; one of the bundled model's is 2 MB."""


@dataclass(eq=False)
class Adapted:
    """What reads and writes with one adapter, or with none. nbytes: beyond the model's own.

    users: so many replies are being made with it.
    """

    decoder: RowDecoder
    step: Step
    nbytes: int = 0
    users: int = 0


class AdaptersAtHand:
    """The model as it is, and with `most` adapters at once.

    step: of replies without one. nbytes: what those in memory take.
    """

    def __init__(
        self, model: LlavaModel, decoder: RowDecoder, step: Step, cache: RowCache, *, most: int
    ) -> None:
        self.plain = Adapted(decoder, step)
        self._model = model
        self._cache = cache
        self._most = most
        self.nbytes = 0
        self._loaded = OrderedDict[str, Adapted]()  # by NamedAdapter.id, the last used last

    def has_room(self, wanted: NamedAdapter | None) -> bool:
        """Whether `take` may be called now: those in memory are not all in use by others."""
        idle = any(not each.users for each in self._loaded.values())
        return wanted is None or wanted.id in self._loaded or idle or len(self._loaded) < self._most

    def take(self, wanted: NamedAdapter | None) -> Adapted:
        """The model with an adapter, in use until `leave`. There is room for it.

        Raises CheckpointError when its folder is damaged or another one by now, and what a device
        without memory raises.
        """
        if wanted is None:
            taken = self.plain
        else:
            if wanted.id not in self._loaded:
                self._drop_idle(len(self._loaded) - self._most + 1)
                self._loaded[wanted.id] = read = self._read(wanted)
                self.nbytes += read.nbytes
            self._loaded.move_to_end(wanted.id)
            taken = self._loaded[wanted.id]
        taken.users += 1
        return taken

    def leave(self, taken: Adapted) -> None:
        """A reply is over."""
        taken.users -= 1

    def forget(self) -> None:
        """Give the memory of those back that nobody uses."""
        self._drop_idle(len(self._loaded))

    def _drop_idle(self, most: int) -> None:
        """So many at most, and those first that were not used for longest."""
        idle = [name for name, each in self._loaded.items() if not each.users]
        for name in idle[: max(0, most)]:
            self.nbytes -= self._loaded.pop(name).nbytes

    def _read(self, wanted: NamedAdapter) -> Adapted:
        adapter = read_adapter(wanted.folder)
        check_changeable(adapter, self._model)
        changes = changes_of(adapter, self._model)
        if fingerprint(wanted.folder) != wanted.revision:
            raise CheckpointError(
                f"The adapter {wanted.name} was changed while it was read; ask again."
            )
        decoder = self.plain.decoder.changed(changes)
        step = Step(decoder, self._cache, decoder.device)
        return Adapted(decoder, step, sum(change.nbytes for change in changes.values()))


def changes_of(adapter: Adapter, model: LlavaModel) -> Changes:
    """What an adapter changes, each beside the layer that it changes."""
    weights = adapter.read(next(model.projector.parameters()).dtype)
    layers = model.tower.config.num_hidden_layers
    changes: dict[str, LowRank] = {}
    for name in adapter.modules:
        if is_unread_layer(name, layers):
            continue
        weight = model.get_submodule(name).weight
        assert isinstance(weight, nn.Parameter)  # it fits: the layer is a linear one
        down, up = (weights[name, kind].to(weight.device) for kind in ("lora_A", "lora_B"))
        changes[name] = LowRank(down, up, adapter.scaling(name))
    return changes
