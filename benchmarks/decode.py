"""How fast one reply is written, against `generate`, and against what the memory allows.

    python benchmarks/decode.py [--shape 7b] [--device cuda] [--dtype bfloat16] [--json FILE]

One conversation about one picture, in turn by our engine and by transformers' `generate` with its
dynamic and its static cache (which it compiles itself where there is a GPU). Every token reads all
of the decoder's weights and the keys and values of the context once, so that no way can be faster
than the bandwidth divided by these bytes. The bandwidth is measured in the same run, by summing as
many bytes as one token reads: small weights stay in the processor's caches there as here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this folder alone is on it

from benchmarks.apart import generate_apart
from benchmarks.report import Result, head, markdown, number_format, options, ratio, tell
from benchmarks.shapes import open_checkpoint, token_bytes, weight_bytes
from benchmarks.talk import DESCRIBE, asked, drawing
from benchmarks.ways import Ours, Timing, Way
from llava_chat.conversation import Conversation
from llava_chat.engine.local import LocalEngine
from llava_chat.engine.local.passing import in_passing

REPLY_TOKENS = 128
WARM_UPS = 2  # a compiled step is compiled at the first, captured at the second
OURS = "llava_chat"
DYNAMIC, STATIC = "generate, dynamic cache", "generate, static cache"
ROUNDS = 5  # of the bandwidth, each time


def bandwidth(device: torch.device, bytes_read: int) -> float:
    """Bytes a second, the better of summing so many bytes and of copying half of them."""
    numbers = torch.ones(max(1, bytes_read // 4), device=device)
    half = numbers[: len(numbers) // 2]
    target = torch.empty_like(half)
    works: tuple[Callable[[], object], ...] = (numbers.sum, lambda: target.copy_(half))
    return max(numbers.numel() * 4 / min(seconds(work, device)) for work in works)


def seconds(work: Callable[[], object], device: torch.device) -> list[float]:
    """How long it took each time, after one that only warms up."""
    taken = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - began)
    return taken[1:]


def measure(
    shape: str, device: torch.device, dtype: torch.dtype, repeats: int, tokens: int
) -> Result:
    """Medians over `repeats` conversations of their own pictures."""
    checkpoint = open_checkpoint(shape, device, dtype)
    model = checkpoint.model
    with generate_apart(shape, device, dtype) as generate, closing(LocalEngine(checkpoint)) as ours:
        ways: dict[str, Way] = {
            OURS: Ours(ours),
            DYNAMIC: generate,
            STATIC: replace(generate, cache="static"),
        }
        told: dict[str, list[Timing]] = {way: [] for way in ways}
        speeds = []
        for repeat in range(repeats + WARM_UPS):
            conversation = asked(Conversation(), repeat, drawing(repeat), question=DESCRIBE)
            names = list(ways)
            first = repeat % len(names)
            for name in names[first:] + names[:first]:
                told[name].append(ways[name].reply(conversation, tokens))
            context = told[OURS][-1].prompt_tokens + told[OURS][-1].tokens // 2
            step_bytes = weight_bytes(model) + token_bytes(model) * context
            speeds.append(in_passing(bandwidth, device, step_bytes))
    kept = {way: timings[WARM_UPS:] for way, timings in told.items()}
    return {
        "shape": shape,
        "repeats": repeats,
        "context_tokens": context,
        "reply_tokens": int(median(timing.tokens for timing in kept[OURS])),
        "weight_bytes": weight_bytes(model),
        "kv_bytes_per_token": token_bytes(model),
        "bandwidth_bytes_per_s": round(median(speeds[WARM_UPS:])),
        "limit_tokens_per_s": round(median(speeds[WARM_UPS:]) / step_bytes, 2),
        "tokens_per_s": {
            way: round(median(timing.tokens_per_s for timing in timings), 2)
            for way, timings in kept.items()
        },
        "same_token_ids": {
            way: sum(
                timing.token_ids == mine.token_ids
                for timing, mine in zip(kept[way], kept[OURS], strict=True)
            )
            / repeats
            for way in (DYNAMIC, STATIC)
        },
    }


def table(result: Result) -> str:
    """Tokens a second, the share of the limit, and how many times as fast ours is."""
    limit, speeds = result["limit_tokens_per_s"], result["tokens_per_s"]
    rows = [
        [
            way,
            f"{speed:.1f}",
            f"{speed / limit:.0%}",
            "" if way == OURS else ratio(speeds[OURS], speed),
        ]
        for way, speed in speeds.items()
    ]
    gigabytes = result["bandwidth_bytes_per_s"] / 1e9
    rows.append([f"limit at {gigabytes:.1f} GB/s", f"{limit:.1f}", "100%", ""])
    context = f"{result['shape']}, {result['context_tokens']} tokens of context"
    return markdown([context, "tokens a second", "of the limit", f"{OURS} is"], rows)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = options(__doc__, shape="small")
    parser.add_argument("--repeats", type=int, default=5, help="after two that only warm up")
    parser.add_argument("--tokens", type=int, default=REPLY_TOKENS, help="of a reply, at most")
    args = parser.parse_args()
    device, dtype = torch.device(args.device), number_format(args.dtype)
    measured = measure(args.shape, device, dtype, args.repeats, args.tokens)
    result = head("decode", device, dtype) | measured
    tell(result, table(result), args.json)


if __name__ == "__main__":
    main()
