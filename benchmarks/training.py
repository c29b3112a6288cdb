"""Samples a second of stage 1, stage 2 and a LoRA, against transformers' `Trainer`.

    python benchmarks/training.py [--shape 7b --device cuda --dtype bfloat16] [--json FILE]

Both train the same weights on the same samples, padded alike, with the same AdamW and the same
learning rates, block by block in turn; a block begins from the first weights, and its first steps
only warm up. The first losses of both are printed, and must agree. Beside them stands what share of
the device's peak the step's own arithmetic is (MFU): see `flops.py` for what is counted. The 7B
shape is trained as LLaVA-1.5's LoRA is, for whole it does not fit into one GPU.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import mean, median

import torch
from transformers import LlavaForConditionalGeneration

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this folder alone is on it

from benchmarks.flops import peak_flops, step_flops
from benchmarks.report import Result, head, markdown, number_format, options, ratio, tell
from benchmarks.shapes import BUNDLED, open_checkpoint, transformers_twin
from benchmarks.talk import DESCRIBE, QUESTION, noise
from benchmarks.two_trainers import KINDS, Block, Kind, Task, ours, theirs, work_of
from llava_chat.conversation import Conversation, Turn
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.training.scenes.recipe import conversation_maker

OURS, THEIRS = "llava_chat", "Trainer"
NAMES = {"align": "stage 1", "finetune": "stage 2", "lora": "LoRA"}
_WORDS = " ".join(["large red circle"] * 20)  # of a made-up answer
WARM = 2
_ALIKE = {False: 1e-3, True: 1e-2}
"""How far the losses of a step may lie apart, by whether it is computed in bfloat16."""


def conversations(shape: str, kind: Kind, count: int) -> list[Conversation]:
    """Of the scenes world for the bundled model; noise and words, all of a length, for others."""
    if shape == BUNDLED:
        make = conversation_maker("align" if kind == "align" else "finetune", turns=6)
        drawn = (make(random.Random(f"benchmark:{number}")) for number in range(10 * count))
        return [*islice((one for one in drawn if one.turns[0].images), count)]
    asked, answer = "" if kind == "align" else DESCRIBE, Turn("assistant", _WORDS)
    further = () if kind == "align" else (Turn("user", QUESTION), answer)
    return [
        Conversation((Turn("user", asked, (noise(seed, 336, 336),)), answer, *further))
        for seed in range(count)
    ]


def measure(args: argparse.Namespace) -> Result:
    """Medians over the blocks of each kind."""
    device, dtype = torch.device(args.device), number_format(args.dtype)
    checkpoint = open_checkpoint(args.shape, device, dtype)
    twin = transformers_twin(checkpoint.model)
    default = KINDS if args.shape in (BUNDLED, "tiny") else ("lora",)
    computed = torch.bfloat16 if args.bf16 else dtype
    peaks = [peak_flops(device, computed)]
    kinds: dict[Kind, Result] = {}
    for kind in args.stage or default:
        samples = conversations(args.shape, kind, 4 * args.batch_size)
        task = Task(kind, samples, args.batch_size, 2048, args.bf16, args.rank)
        kinds[kind] = of_kind(task, checkpoint, twin, args.blocks, args.steps, device)
        peaks.append(peak_flops(device, computed))
    return {
        "shape": args.shape,
        "computed_in": str(computed).removeprefix("torch."),
        "batch_size": args.batch_size,
        "steps_a_block": args.steps,
        "blocks": args.blocks,
        "rank": args.rank,
        # What else a machine does is in a measured peak, now and then.
        "peak_flops": max(peaks),
        "stages": kinds,
    }


def of_kind(
    task: Task,
    checkpoint: Checkpoint,
    twin: LlavaForConditionalGeneration,
    blocks: int,
    steps: int,
    device: torch.device,
) -> Result:
    """Both in turn, who begins by turns as well. Ends the program when they learn otherwise."""
    flops = mean(_flops(task, checkpoint, step) for step in range(WARM, WARM + steps))
    ways: dict[str, Callable[[Block], Block]] = {
        OURS: lambda block: ours(task, checkpoint, block),
        THEIRS: lambda block: theirs(task, checkpoint, twin, block),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    losses: dict[str, list[float]] = {}
    for number in range(blocks):
        for name in [*ways][:: -1 if number % 2 else 1]:
            block = ways[name](Block(WARM, steps, device))
            seconds[name].append(block.seconds / steps)
            losses.setdefault(name, block.losses)
    apart = max(abs(a - b) for a, b in zip(losses[OURS], losses[THEIRS], strict=False))
    for name in ways:
        print(f"{NAMES[task.kind]}, {name}: {'  '.join(f'{one:.4f}' for one in losses[name])}")
    if apart > _ALIKE[task.bf16]:
        raise SystemExit(f"{NAMES[task.kind]}: the losses lie {apart:.4f} apart; see above")
    step_s = {name: median(times) for name, times in seconds.items()}
    return {
        "step_s": step_s,
        "step_s_of_blocks": seconds,
        "samples_per_s": {name: task.batch_size / each for name, each in step_s.items()},
        "flops_per_step": flops,
        "first_losses": losses,
    }


def _flops(task: Task, checkpoint: Checkpoint, step: int) -> float:
    decoder = checkpoint.model.language_model.model
    adapted = [part for part in decoder.modules() if isinstance(part, torch.nn.Linear)]
    weights = sum(task.rank * (part.in_features + part.out_features) for part in adapted)
    return step_flops(
        checkpoint.model,
        task.kind,
        work_of(task, checkpoint, step),
        weights if task.kind == "lora" else 0,
    )


def table(result: Result) -> str:
    """Samples a second and MFU, ours and theirs."""
    peak = result["peak_flops"]
    rows = []
    for kind, told in result["stages"].items():
        speed = told["samples_per_s"]
        done = {name: told["flops_per_step"] / each for name, each in told["step_s"].items()}
        mfu = [f"{done[name] / peak:.0%}" if peak else "" for name in (OURS, THEIRS)]
        shown = [f"{speed[OURS]:.2f}", f"{speed[THEIRS]:.2f}", ratio(speed[OURS], speed[THEIRS])]
        rows.append([NAMES[kind], *shown, *mfu])
    names = [f"samples a second ({result['shape']})", OURS, THEIRS, "llava_chat is"]
    return markdown([*names, "MFU", f"MFU of {THEIRS}"], rows)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = options(__doc__, shape=BUNDLED)
    parser.add_argument("--stage", choices=KINDS, action="append", help="several times for several")
    parser.add_argument("--batch-size", type=int, default=8, help="samples a step")
    parser.add_argument(
        "--steps", type=int, default=4, help="of each block, after two that warm up"
    )
    parser.add_argument("--blocks", type=int, default=5, help="of each of the two")
    parser.add_argument("--rank", type=int, default=128, help="of the LoRA; alpha is twice that")
    parser.add_argument(
        "--bf16",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compute in bfloat16, whatever --dtype the weights are kept in",
    )
    args = parser.parse_args()
    device, dtype = torch.device(args.device), number_format(args.dtype)
    result = head("training", device, dtype) | measure(args)
    tell(result, table(result), args.json)


if __name__ == "__main__":
    main()
