"""How long a person waits for the first word, turn after turn of a conversation about two pictures.

    python benchmarks/first_token.py [--shape bundled --shape small] [--device cuda]
        [--dtype bfloat16] [--gguf FILE --mmproj FILE] [--json FILE]

The same conversation is answered in several ways on the same weights, in an order that changes at
every turn: by our engine; by transformers' `generate` on the whole conversation, given ids and
pixels ready made, in a process of its own; by the real `transformers serve` over HTTP, which is
sent what a client has to send it; and by llama-cpp-python where it is installed and is given the
weights as GGUF. Both pictures come with the first question. Each turn's reply by our engine is what
the next turn goes on from; a server reads its text, whose ids may then be others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this folder alone is on it

from benchmarks.apart import generate_apart
from benchmarks.openai_http import NOT_SERVED, transformers_serve
from benchmarks.report import Result, head, markdown, number_format, options, ratio, tell
from benchmarks.shapes import open_checkpoint
from benchmarks.talk import answered, asked, noise
from benchmarks.ways import Ours, Timing, Way
from benchmarks.with_llama_cpp import NOT_MEASURED, LlamaCpp, installed
from llava_chat.conversation import Conversation
from llava_chat.engine.local import LocalEngine

TURNS = 6
REPLY_TOKENS = 48
QUESTION = "What is to the left of the large red circle, and how many of them are there?"
SHAPES = ("bundled", "small")
OURS, AGAIN = "llava_chat", "generate, all again"
SERVE, LLAMA = "transformers serve", "llama-cpp-python"
GOALS = {AGAIN: 8.0, SERVE: 10.0}
"""From the second turn on, on a CPU: how many times sooner the first word should come."""

Replies = list[dict[str, Timing]]
"""For each turn the reply of each way."""


def converse(ways: dict[str, Way], seed: int) -> Replies:
    """One conversation about two pictures of its own."""
    conversation, replies = Conversation(), []
    for turn in range(TURNS):
        pictures = [noise(2 * seed), noise(2 * seed + 1)] if turn == 0 else []
        conversation = asked(conversation, turn + 1, *pictures, question=QUESTION)
        names = list(ways)
        first = (seed + turn) % len(names)
        told = {
            name: ways[name].reply(conversation, REPLY_TOKENS)
            for name in names[first:] + names[:first]
        }
        replies.append(told)
        conversation = answered(conversation, told[OURS].text, told[OURS].token_ids)
    return replies


def measure(
    shape: str,
    device: torch.device,
    dtype: torch.dtype,
    repeats: int,
    gguf: tuple[Path, Path] | None = None,
) -> Result:
    """Medians over `repeats` conversations, after one that only warms up."""
    checkpoint = open_checkpoint(shape, device, dtype)
    with ExitStack() as opened:
        engine = LocalEngine(checkpoint)
        opened.callback(engine.close)
        again = opened.enter_context(generate_apart(shape, device, dtype))
        ways: dict[str, Way] = {OURS: Ours(engine), AGAIN: again}
        server = opened.enter_context(transformers_serve(checkpoint, device, dtype))
        if server is not None:
            ways[SERVE] = server
        if gguf is not None and installed():
            ways[LLAMA] = LlamaCpp.opened(*gguf, engine.model.context_tokens)
        runs = [converse(ways, seed) for seed in range(repeats + 1)][1:]
    return summary(runs, list(ways))


def summary(runs: Sequence[Replies], ways: Sequence[str]) -> Result:
    """Milliseconds to the first token by turn, and the share of replies that are the same."""
    first_ms = {
        way: [round(1000 * median(run[t][way].first_s for run in runs), 2) for t in range(TURNS)]
        for way in ways
    }
    turns = [turn for run in runs for turn in run]
    return {
        "prompt_tokens": [
            int(median(run[t][OURS].prompt_tokens for run in runs)) for t in range(TURNS)
        ],
        "first_token_ms": first_ms,
        "same_token_ids": {
            way: share([turn[way].token_ids == turn[OURS].token_ids for turn in turns])
            for way in ways
            if way == AGAIN
        },
        "same_text": {
            way: share([turn[way].text.strip() == turn[OURS].text.strip() for turn in turns])
            for way in ways
            if way not in (OURS, AGAIN)
        },
    }


def share(alike: Sequence[bool]) -> float:
    """How many of them are true, from 0 to 1."""
    return round(sum(alike) / len(alike), 3)


def table(result: Result) -> str:
    """Milliseconds to the first token by shape and turn, with ratios to ours."""
    others = list(
        dict.fromkeys(w for told in result["shapes"].values() for w in told["first_token_ms"])
    )
    others.remove(OURS)
    rows = []
    for shape, told in result["shapes"].items():
        first = told["first_token_ms"]
        for turn, mine in enumerate(first[OURS]):
            picture = ", with both pictures" if turn == 0 else ""
            row = [
                f"{shape}, turn {turn + 1}{picture}",
                str(told["prompt_tokens"][turn]),
                f"{mine:.0f}",
            ]
            for way in others:
                theirs = first[way][turn] if way in first else 0
                row += [f"{theirs:.0f}", ratio(theirs, mine)] if theirs else ["", ""]
            rows.append(row)
    names = [name for way in others for name in (way, "")]
    return markdown(["first token, ms", "tokens of the prompt", OURS, *names], rows)


def verdict(result: Result) -> str:
    """The least ratio from the second turn on, beside what it should be."""
    lines = []
    for shape, told in result["shapes"].items():
        first = told["first_token_ms"]
        for way, goal in GOALS.items():
            if way in first:
                times = [other / mine for other, mine in zip(first[way], first[OURS], strict=True)]
                least = min(range(1, TURNS), key=times.__getitem__)
                lines.append(
                    f"{shape}, against {way}: least {ratio(times[least], 1)} (turn {least + 1}), "
                    f"median {ratio(median(times[1:]), 1)} from turn 2 on; the goal is {goal:g}x"
                )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = options(__doc__, shape=None)
    parser.add_argument("--repeats", type=int, default=5, help="conversations, after a warm-up")
    parser.add_argument("--gguf", type=Path, help="the one shape's decoder, for llama-cpp-python")
    parser.add_argument("--mmproj", type=Path, help="its tower and projector")
    args = parser.parse_args()
    shapes = args.shape or SHAPES
    gguf = (args.gguf, args.mmproj) if args.gguf and args.mmproj else None
    if gguf and len(shapes) > 1:
        parser.error("--gguf holds the weights of one shape: name it with --shape")
    device, dtype = torch.device(args.device), number_format(args.dtype)
    result = head("first_token", device, dtype) | {"repeats": args.repeats}
    result["shapes"] = {
        shape: measure(shape, device, dtype, args.repeats, gguf) for shape in shapes
    }
    tell(result, table(result), args.json)
    print("\n" + verdict(result))
    measured = {way for told in result["shapes"].values() for way in told["first_token_ms"]}
    for way, why in ((SERVE, NOT_SERVED), (LLAMA, NOT_MEASURED)):
        if way not in measured:
            print(why)


if __name__ == "__main__":
    main()
