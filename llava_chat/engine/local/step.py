"""The step that writes one token for several replies at once.

On a GPU the time of a step is the launching of its some thousand small kernels more than their
work, so there it is recorded as a CUDA graph and played back (PyTorch, "CUDA Graphs" of its CUDA
semantics). A graph has fixed shapes: it is recorded for a few numbers of rows and lengths, and what
is in between takes the next larger one. Imports torch, `model`, errors and
the modules beside it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llava_chat.engine.local.decoder import RowDecoder
from llava_chat.engine.local.rows import RowCache
from llava_chat.errors import SettingError
from llava_chat.model.llava import LlavaModel
from llava_chat.model.quantization import bits_of
from llava_chat.progress import Progress, Report

_SHORTEST = 256  # of the lengths that are recorded; attention over so few places costs nothing
_WARM_UPS = 2  # before a recording: libraries choose their kernels and reserve their memory


def can_record(model: LlavaModel, capture: str) -> bool:
    """Whether the step is to be played back from CUDA graphs: `auto` is where that works.

    It does on one CUDA device, with weights as they are: the layers that bitsandbytes quantises ask
    the device for values while they run. Raises SettingError for `on` where it does not.
    """
    devices = {weight.device for weight in model.parameters()}
    works = {device.type for device in devices} == {"cuda"} and len(devices) == 1
    works = works and bits_of(model) is None
    if capture == "on" and not works:
        raise SettingError(
            "capture", "on needs a model on one CUDA GPU that is not quantised; use auto"
        )
    return works and capture != "off"


class Step:
    """Feeds the newest token of rows side by side, and gives the logits of those after them.

    device: where ids go and logits come back to.
    """

    def __init__(self, decoder: RowDecoder, cache: RowCache, device: torch.device) -> None:
        self._decoder = decoder
        self._cache = cache
        self._device = device

    def write(self, ids: Sequence[int], positions: Sequence[int], first: int = 0) -> Tensor:
        """The newest id of each row from `first` on, and where it stands in it -> (rows, V)."""
        words, places = torch.tensor([ids, positions], device=self._device)
        alone = len(ids) == 1
        return self._decoder.write(words, places, max(positions) + 1, alone=alone, first=first)


@dataclass(frozen=True)
class _Recording:
    """A graph, and where it reads and writes: ids and positions (B,), logits (B, V)."""

    graph: torch.cuda.CUDAGraph
    ids: Tensor
    positions: Tensor
    logits: Tensor


class FixedStep(Step):
    """A step of the first rows in a few fixed shapes: `_run` says how one is run.

    Rows that only fill a shape up write behind the end of their row, where nobody reads.
    """

    def __init__(self, decoder: RowDecoder, cache: RowCache, device: torch.device) -> None:
        super().__init__(decoder, cache, device)
        self.counts = doubling(1, cache.rows)
        self.lengths = doubling(min(_SHORTEST, cache.capacity), cache.capacity)

    def write(self, ids: Sequence[int], positions: Sequence[int], first: int = 0) -> Tensor:
        """As Step's; `first` is 0."""
        if first:
            raise ValueError("a step of fixed shapes begins with the first row")
        count = next_larger(self.counts, len(ids))
        length = next_larger(self.lengths, max(positions) + 1)
        filling = count - len(ids)
        words = torch.tensor([*ids, *[0] * filling])
        places = torch.tensor([*positions, *[self._cache.capacity] * filling])
        return self._run(words, places, length)[: len(ids)]

    def _run(self, ids: Tensor, positions: Tensor, length: int) -> Tensor:
        """ids, positions: (B,) on the CPU -> logits (B, V)."""
        there = ids.to(self._device), positions.to(self._device)
        return self._decoder.write(*there, length, alone=False)


class RecordedStep(FixedStep):
    """A step played back from CUDA graphs, recorded here. report: told how far that is.

    The logits hold until the next step.
    """

    def __init__(
        self,
        decoder: RowDecoder,
        cache: RowCache,
        device: torch.device,
        report: Report | None = None,
    ) -> None:
        super().__init__(decoder, cache, device)
        self._recordings: dict[tuple[int, int], _Recording] = {}
        self._pool = torch.cuda.graph_pool_handle()
        shapes = [(count, length) for count in self.counts for length in self.lengths]
        # The largest first: what it needs is enough for the others, which share its memory.
        for done, (count, length) in enumerate(reversed(shapes)):
            if report is not None:
                report(Progress("recording the decoding step", done, len(shapes), "shapes"))
            self._recordings[count, length] = self._record(count, length)

    def _run(self, ids: Tensor, positions: Tensor, length: int) -> Tensor:
        recording = self._recordings[len(ids), length]
        recording.ids.copy_(ids)
        recording.positions.copy_(positions)
        recording.graph.replay()
        return recording.logits

    @torch.inference_mode()
    def _record(self, count: int, length: int) -> _Recording:
        ids = torch.zeros(count, dtype=torch.long, device=self._device)
        # Behind the end of every row, so that recording leaves nothing in them.
        positions = torch.full_like(ids, self._cache.capacity)
        beside = torch.cuda.Stream(self._device)
        beside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UPS):
                self._decoder.write(ids, positions, length, alone=False)
        torch.cuda.current_stream(self._device).wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            logits = self._decoder.write(ids, positions, length, alone=False)
        return _Recording(graph, ids, positions, logits)


def doubling(first: int, last: int) -> list[int]:
    """The numbers from `first`, each twice the one before, up to `last`, which is one of them.

    >>> doubling(1, 16), doubling(256, 1000), doubling(1, 1)
    ([1, 2, 4, 8, 16], [256, 512, 1000], [1])
    """
    numbers = []
    while first < last:
        numbers.append(first)
        first *= 2
    return [*numbers, last]


def next_larger(numbers: Sequence[int], wanted: int) -> int:
    """The first of ascending `numbers` that is at least `wanted`.

    >>> next_larger([1, 2, 4, 8], 3), next_larger([256, 512], 256)
    (4, 256)
    """
    return numbers[bisect_left(numbers, wanted)]
