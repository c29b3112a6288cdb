"""Reading, while nobody asks, what is sure to come between a reply and the next message.

The end of the reply, the separator and whose turn it is are the same whatever a person says next:
some tokens fewer to be read when they wait. Imports torch, `model` and the modules beside it. For
one thread only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from llava_chat.engine.local.decoder import RowDecoder
from llava_chat.engine.local.slots import Slot
from llava_chat.model.llava import LlavaModel
from llava_chat.tokens import Ids


@dataclass(frozen=True)
class _Awaited:
    """What will follow the first `known` places of a slot that was left at `last_use`."""

    slot: Slot
    last_use: int
    known: int
    ids: Ids
    decoder: RowDecoder

    @property
    def holds(self) -> bool:
        """Whether the slot is as it was left."""
        slot = self.slot
        return not slot.busy and slot.last_use == self.last_use and len(slot.key) >= self.known


class Foresight:
    """What is to be read ahead, for one model. capacity: of a row, in tokens."""

    def __init__(self, model: LlavaModel, capacity: int) -> None:
        self._model = model
        self._capacity = capacity
        self._awaited: list[_Awaited] = []

    def expect(self, slot: Slot, known: int, ids: Ids, decoder: RowDecoder) -> None:
        """Of a slot that was just left the first `known` places stay, and `ids` will follow."""
        if ids and known + len(ids) < self._capacity:
            self._awaited.append(_Awaited(slot, slot.last_use, known, ids, decoder))

    def read(self) -> bool:
        """Read what follows the newest reply, if anything is left to be read; whether there was.

        What cannot be read is left to the next turn, which tells whoever asks what is wrong.
        """
        if not self._awaited:
            return False
        awaited = self._awaited.pop()
        if awaited.holds:
            slot = awaited.slot
            del slot.key[awaited.known :]
            try:
                ids = torch.tensor([awaited.ids], device=awaited.decoder.device)
                embeds = self._model.embed(ids, None)
                awaited.decoder.read(embeds, slot.row, awaited.known, last=False)
            except Exception:
                slot.key.clear()
            else:
                slot.key.extend(awaited.ids)
        return True

    def forget(self) -> None:
        """Nothing is to be read ahead."""
        self._awaited.clear()
