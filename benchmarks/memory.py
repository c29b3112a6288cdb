"""How much memory a busy engine takes, over what its weights and its conversations have to.

    python benchmarks/memory.py [--shape small|7b] [--device cuda] [--dtype bfloat16] [--json FILE]
    python benchmarks/memory.py --soak 3600 [--log FILE] [--json FILE]

A process of its own loads the model from its files and answers so many people at once as it has
slots, each in a conversation as long as the context, until more was said than it may keep. The peak
counts from after a reply by a model of a few thousand weights, so that what the libraries
take once is not the model's. On a CPU it is told twice, as in loading.py; on a GPU it is torch's.

--soak: people who come and go for so many seconds, on the bundled model; see soak.py.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this folder alone is on it

from benchmarks.process_memory import peaks
from benchmarks.report import Result, head, markdown, number_format, options, ratio, tell
from benchmarks.shapes import (
    BUNDLED,
    SHAPES,
    open_checkpoint,
    random_checkpoint,
    token_bytes,
    weightless_checkpoint,
)
from benchmarks.soak import soak
from benchmarks.talk import asked, noise
from benchmarks.ways import Ours
from llava_chat.conversation import Conversation
from llava_chat.engine.local import LocalEngine
from llava_chat.model.checkpoint import load_checkpoint, save_checkpoint

GOAL = 1.05
REPLY_TOKENS = 16
ROOM_TOKENS = 256  # of the context, for the words around pictures
SAID_OVER_KEPT = 1.5
SIZE_PX = (64, 48)  # small beside what the model makes of a picture


def pictured(first: int, count: int) -> Conversation:
    """One question about so many pictures that nobody saw before."""
    pictures = (noise(first + number, *SIZE_PX) for number in range(count))
    return asked(Conversation(), first, *pictures)


def answer_people(engine: LocalEngine) -> None:
    """Fill what the engine may keep, and more, with as many people at once as it has slots."""
    way, slots = Ours(engine), engine.load().slots or 1
    one, two = (
        engine.context_use(pictured(0, count), REPLY_TOKENS).prompt_tokens for count in (1, 2)
    )
    most = max(1, (engine.model.context_tokens - ROOM_TOKENS) // (two - one))
    fullest = [pictured(most * number, most) for number in range(math.ceil(SAID_OVER_KEPT * slots))]
    with ThreadPoolExecutor(slots) as people:
        for told in people.map(lambda one: way.reply(one, REPLY_TOKENS), fullest):
            assert told.tokens


def measure_here(name: str, device: torch.device, dtype: torch.dtype, slots: int | None) -> Result:
    """The peaks of this process, in bytes above what it had before the model."""
    first = random_checkpoint(SHAPES["tiny"], device, dtype)
    engine = LocalEngine(first)
    Ours(engine).reply(asked(Conversation(), 0, noise(0)), REPLY_TOKENS)
    engine.close()
    del engine, first
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    told: dict[str, float] = {}
    with peaks(told):
        checkpoint = load_checkpoint(name, device=str(device), dtype=dtype)
        engine = LocalEngine(checkpoint, slots=slots)
        answer_people(engine)
    load = engine.load()
    if device.type == "cuda":
        told = {"allocated_bytes": torch.cuda.max_memory_allocated(device) - before}
    model = checkpoint.model
    weights = {weight.data_ptr(): weight.nbytes for weight in model.parameters()}
    engine.close()
    return {
        "slots": load.slots,
        "capacity_tokens": load.capacity_tokens,
        "reserved_bytes": load.reserved_bytes,
        "weight_bytes": sum(weights.values()),
        "kv_bytes_per_token": token_bytes(model),
        "peaks": {kind: int(peak) for kind, peak in told.items()},
    }


@contextmanager
def saved(shape: str, dtype: torch.dtype) -> Iterator[str]:
    """The name of a model in files."""
    if shape == BUNDLED:
        yield "scenes"
        return
    with tempfile.TemporaryDirectory(prefix="llava-memory-") as folder:
        save_checkpoint(weightless_checkpoint(SHAPES[shape], dtype), folder)
        yield folder


def measure(shape: str, device: torch.device, dtype: torch.dtype, slots: int | None) -> Result:
    """What `measure_here` tells in a fresh process."""
    with saved(shape, dtype) as name:
        command = [
            *(sys.executable, str(Path(__file__).resolve()), "--load", name),
            *("--device", str(device), "--dtype", str(dtype).removeprefix("torch.")),
            *(() if slots is None else ("--slots", str(slots))),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    told: Result = json.loads(done.stdout.splitlines()[-1])
    return {"shape": shape} | told


def table(result: Result) -> str:
    """Gigabytes, and the peaks' ratio to what has to be there."""
    weights = result["weight_bytes"]
    reserved = result["reserved_bytes"]
    kept = result["kv_bytes_per_token"] * result["capacity_tokens"]
    rows = [
        ["weights", f"{weights / 1e9:.3f}", "", ""],
        [f"keys and values of {result['capacity_tokens']} tokens", f"{kept / 1e9:.3f}", "", ""],
        ["the same, with pictures' features", f"{reserved / 1e9:.3f}", "", ""],
    ]
    for kind, peak in result["peaks"].items():
        shown = kind.removesuffix("_bytes")
        ratios = (ratio(peak, weights + kept), ratio(peak, weights + reserved))
        rows.append([f"peak, {shown}", f"{peak / 1e9:.3f}", *ratios])
    rows.append(["goal", "", f"{GOAL:.2f}x", ""])
    names = ("GB", "of weights, keys and values", "of weights and all that is reserved")
    return markdown([f"{result['shape']} in {result['dtype']}", *names], rows)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = options(__doc__, shape="small")
    parser.add_argument("--slots", type=int, help="by default the engine's own choice")
    parser.add_argument("--soak", type=float, metavar="SECONDS")
    parser.add_argument("--every", type=float, default=60.0, help="seconds, of the soak's log")
    parser.add_argument("--log", type=Path, help="of the soak; by default stderr")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    args = parser.parse_args()
    device, dtype = torch.device(args.device), number_format(args.dtype)
    if args.load:
        print(json.dumps(measure_here(args.load, device, dtype, args.slots)))
        return
    if args.soak:
        checkpoint = open_checkpoint(BUNDLED, device, dtype)
        told = soak(checkpoint, args.soak, args.every, args.log, args.slots)
        result = head("soak", device, dtype) | told
        tell(result, result["verdict"], args.json)
        sys.exit(0 if result["held"] else 1)
    result = head("memory", device, dtype) | measure(args.shape, device, dtype, args.slots)
    tell(result, table(result), args.json)


if __name__ == "__main__":
    main()
