"""Started twice by torchrun, next to itself: what several processes make of runs of a tiny model.

FSDP too, on the CPU by gloo, where accelerate's own settings would only share out a GPU's weights.
It writes what test_processes.py reads, for `python -m tests.training.two_processes MODEL FOLDER`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from PIL import Image
from torch import nn

from llava_chat.conversation import Conversation, Turn
from llava_chat.errors import BrokenSampleError, LlavaChatError, TrainingDataError
from llava_chat.image import picture_from_image
from llava_chat.model.checkpoint import load_checkpoint, save_checkpoint
from llava_chat.training import loop
from llava_chat.training.launched import processes
from llava_chat.training.loop import Setting
from llava_chat.training.processes import Processes
from llava_chat.training.schedule import LoopOptions
from llava_chat.training.stages import StageOptions, run_stage
from llava_chat.training.watching.progress import Progress

COLOURS = ("red", "blue", "green", "black", "white")
OPTIONS = StageOptions(
    LoopOptions(steps=6, lr=0.02, log_every=1, save_every=3, bf16=False),
    batch_size=4,
    workers=0,
    seed=0,
)
BROKEN = frozenset((2, 3, 12, 13, 14, 15))
"""Samples without a picture: all of the second process's in step 0, and all of step 3."""

Talk = Callable[[int], Conversation]


def talk(number: int) -> Conversation:
    """Pictures and texts, of different lengths; a step of texts alone is among them."""
    colour = COLOURS[number % 5]
    asked = Turn("user", "What is it?")
    if number // 4 != 2 and number % 4:
        asked = replace(asked, images=(picture_from_image(Image.new("RGB", (30, 20), colour)),))
    return Conversation(
        (asked, Turn("assistant", f"A {number % 3 * 'very '}large {colour} circle."))
    )


def partly_broken(number: int) -> Conversation:
    if number in BROKEN:
        raise BrokenSampleError(f"row {number}, image: it is broken")
    return talk(number)


def wrong_at_last(number: int) -> Conversation:
    if number == 11:  # of the second process alone
        raise TrainingDataError("row 11, conversations: it is wrong")
    return talk(number)


class Told:
    """A Watcher that keeps the figures."""

    def __init__(self) -> None:
        self.figures: list[tuple[int, float, float, int, int, int]] = []

    def step(self, progress: Progress) -> None:
        figures = (progress.losses["loss"], progress.gradient_norm)
        counts = (progress.tokens, progress.samples, progress.skipped)
        self.figures.append((progress.step, *figures, *counts))

    def saving(self, step: int, folder: Path) -> None:
        pass

    def end(self) -> None:
        pass


def trained(
    name: str,
    group: Processes,
    model: str,
    folder: Path,
    conversation_of: Talk = talk,
    options: StageOptions = OPTIONS,
) -> list[Any]:
    """A run's figures; its model, if it ends, is written to folder/name."""
    told = Told()
    checkpoint = run_stage(
        "finetune",
        load_checkpoint(model, device="cpu", dtype="float32"),
        conversation_of,
        options,
        folder / f"{name}-checkpoints",
        setting=Setting(group, [told]),
    )
    if group.first:
        save_checkpoint(checkpoint, folder / name)
    return told.figures


def refused(work: Callable[[], object]) -> str:
    try:
        work()
    except LlavaChatError as error:
        return str(error)
    return ""


def stopped_after(step: int, group: Processes, work: Callable[[], object]) -> None:
    """As if the second process alone were told to end, before a step."""
    asked = [0]

    def told() -> bool:
        asked[0] += 1
        return group.index == 1 and asked[0] > step

    with patch.object(loop, "termination", lambda: nullcontext(told)):
        try:
            work()
        except SystemExit as left:
            assert left.code == 143
            return
    raise AssertionError("it went on")


def in_shards(group: Processes) -> None:
    """Make accelerate share the weights out from here on."""
    from accelerate import PartialState
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=["LlamaDecoderLayer", "CLIPEncoderLayer"],
        state_dict_type="SHARDED_STATE_DICT",
        cpu_ram_efficient_loading=False,
    )
    for state in (PartialState._shared_state, AcceleratorState._shared_state):
        state["distributed_type"] = DistributedType.FSDP
    AcceleratorState().fsdp_plugin = plugin
    group.sharded = True


def main() -> None:
    """All of it, one after the other."""
    torch.set_num_threads(1)
    model, folder = sys.argv[1], Path(sys.argv[2])
    group = processes("cpu")
    found: dict[str, Any] = {"count": group.count}
    small = replace(OPTIONS, micro_batch_size=1)
    found["whole"] = trained("whole", group, model, folder)
    found["micro"] = trained("micro", group, model, folder, options=small)
    found["skipped"] = trained("skipped", group, model, folder, partly_broken)
    found["uneven"] = trained(
        "uneven", group, model, folder, options=replace(OPTIONS, batch_size=3)
    )
    wrong = refused(lambda: trained("wrong", group, model, folder, wrong_at_last))
    found["wrong"] = group.texts([wrong])
    found["not a number"] = group.texts([not_a_number(group, model, folder)])
    stopped_after(4, group, lambda: trained("stopped", group, model, folder))
    found["stopped"] = trained("stopped", group, model, folder)
    in_shards(group)
    stopped_after(4, group, lambda: trained("shards", group, model, folder))
    found["shards"] = trained("shards", group, model, folder)
    if group.first:
        (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")
    group.end()


def not_a_number(group: Processes, model: str, folder: Path) -> str:
    """What is said where losses of the second process's samples are none."""
    original = nn.functional.cross_entropy

    def poisoned(*given: Any, **named: Any) -> torch.Tensor:
        return original(*given, **named) * (float("nan") if group.index else 1.0)

    with patch.object(nn.functional, "cross_entropy", poisoned):
        return refused(lambda: trained("none", group, model, folder))


if __name__ == "__main__":
    main()
