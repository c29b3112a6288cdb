"""How long a person waits for the first word, turn after turn, and how fast the words then come.

    python benchmarks/turns.py [--shape small|7b] [--device cuda] [--dtype bfloat16] [--json FILE]

Three ways to answer the same conversation about one picture, in turn, on the same weights: our
engine; transformers' `generate` on the whole conversation each time, as its server does; and
`generate` with the keys and values of the turns before kept by hand. Ours includes what a server
does around the model (prompt, picture, queue, events); theirs is given ids and pixels ready made.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from PIL import Image
from transformers import DynamicCache
from transformers.generation.streamers import BaseStreamer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this folder alone is on it

from benchmarks.shapes import SHAPES, random_checkpoint, transformers_twin
from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, GenerationSettings, Token
from llava_chat.engine.local import LocalEngine
from llava_chat.image import Picture, picture_from_image
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.tokens import tokenize

TURNS = 4
REPLY_TOKENS = 48
OURS, AGAIN, KEPT = "llava_chat", "generate, all again", "generate, cache kept by hand"
# About sixty tokens: a question of some length.
QUESTION = (
    "What is to the left of the large red circle, and how many of them are there in all? " * 3
)


@dataclass
class Timing:
    """One reply: seconds to its first token, tokens a second after it, and the tokens."""

    first_s: float
    tokens_per_s: float
    ids: list[int]


class Clock(BaseStreamer):
    """Notes when each token comes out of `generate`; the prompt comes first."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        """Called with the prompt, then with every token."""
        value.cpu()  # what a person reads has left the device
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Called after the last token."""


def timing(began: float, times: list[float], ids: list[int]) -> Timing:
    """From the moments at which tokens came."""
    return Timing(times[0] - began, (len(times) - 1) / (times[-1] - times[0]), ids)


def ours(engine: LocalEngine, conversation: Conversation) -> tuple[Timing, Done]:
    """A reply by our engine."""
    settings = GenerationSettings(temperature=0, max_new_tokens=REPLY_TOKENS, deadline_s=600)
    began = time.perf_counter()
    times: list[float] = []
    for event in engine.stream(conversation, settings):
        if isinstance(event, Token):
            times.append(time.perf_counter())
    if not isinstance(event, Done):
        raise SystemExit(f"the engine failed: {event}")
    return timing(began, times, list(event.token_ids)), event


@dataclass
class Generate:
    """transformers' `generate`, with or without the keys and values of earlier turns."""

    checkpoint: Checkpoint
    model: transformers.LlavaForConditionalGeneration
    keep: bool
    cache: DynamicCache = field(default_factory=DynamicCache)

    def reply(self, conversation: Conversation, picture: Picture) -> Timing:
        """A reply to the whole conversation."""
        model, config = self.checkpoint.model, self.checkpoint.model.config
        prompt = tokenize(
            conversation,
            self.checkpoint.tokenizer,
            template=self.checkpoint.template,
            picture_tokens=lambda _: model.tokens_per_picture,
            image_token_id=config.image_token_id,
        )
        weight = model.language_model.lm_head.weight
        ids = torch.tensor([prompt.ids], device=weight.device)
        pixels = self.checkpoint.pixels(picture).to(weight)
        more: dict[str, Any] = {"past_key_values": self.cache} if self.keep else {}
        if not (self.keep and self.cache.get_seq_length()):
            more["pixel_values"] = pixels
        clock, began = Clock(), time.perf_counter()
        output = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=REPLY_TOKENS,
            suppress_tokens=list(self.checkpoint.suppressed_ids),
            streamer=clock,
            **more,
        )
        return timing(began, clock.times[1:], output[0, ids.shape[1] :].tolist())


def converse(
    engine: LocalEngine,
    checkpoint: Checkpoint,
    twin: transformers.LlavaForConditionalGeneration,
    seed: int,
) -> list[dict[str, Timing]]:
    """One conversation about a picture of its own: for each turn the three ways, one by one."""
    noise = torch.randint(0, 256, (300, 400, 3), generator=torch.Generator().manual_seed(seed))
    picture = picture_from_image(Image.fromarray(noise.byte().numpy()))
    again, kept = (Generate(checkpoint, twin, keep) for keep in (False, True))
    turns: tuple[Turn, ...] = ()
    timings = []
    for number in range(TURNS):
        asked = Turn("user", f"{number}. {QUESTION}", () if number else (picture,))
        conversation = Conversation((*turns, asked))
        mine, done = ours(engine, conversation)
        timings.append(
            {
                OURS: mine,
                AGAIN: again.reply(conversation, picture),
                KEPT: kept.reply(conversation, picture),
            }
        )
        turns = (*turns, asked, Turn("assistant", done.text, token_ids=done.token_ids))
    return timings


def measure(shape: str, device: torch.device, dtype: torch.dtype, repeats: int) -> dict[str, Any]:
    """Medians over `repeats` conversations, after one that only warms up."""
    checkpoint = random_checkpoint(SHAPES[shape], device, dtype)
    twin = transformers_twin(checkpoint.model)
    engine = LocalEngine(checkpoint)
    runs = [converse(engine, checkpoint, twin, seed) for seed in range(repeats + 1)][1:]
    engine.close()
    ways = (OURS, AGAIN, KEPT)
    first_ms = {
        way: [round(1000 * median(run[t][way].first_s for run in runs), 2) for t in range(TURNS)]
        for way in ways
    }
    speeds = {way: round(median(run[-1][way].tokens_per_s for run in runs), 1) for way in ways}
    alike = {
        way: sum(turn[way].ids == turn[OURS].ids for run in runs for turn in run)
        / (TURNS * repeats)
        for way in ways[1:]
    }
    return {
        "benchmark": "turns",
        "shape": shape,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "threads": torch.get_num_threads(),
        "dtype": str(dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "repeats": repeats,
        "first_token_ms": first_ms,
        "tokens_per_s": speeds,
        "same_tokens": alike,
    }


def table(result: dict[str, Any]) -> str:
    """Milliseconds to the first token by turn, then tokens a second, with ratios to ours."""
    first, speeds = result["first_token_ms"], result["tokens_per_s"]
    lines = [
        f"| first token, ms | {OURS} | {AGAIN} | | {KEPT} | |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for turn in range(TURNS):
        mine, again, kept = (first[way][turn] for way in (OURS, AGAIN, KEPT))
        lines.append(
            f"| turn {turn + 1} | {mine:.0f} | {again:.0f} | {again / mine:.1f}x "
            f"| {kept:.0f} | {kept / mine:.1f}x |"
        )
    mine, again, kept = (speeds[way] for way in (OURS, AGAIN, KEPT))
    lines.append(
        f"| tokens a second | {mine:.1f} | {again:.1f} | {mine / again:.2f}x "
        f"| {kept:.1f} | {mine / kept:.2f}x |"
    )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--repeats", type=int, default=5, help="conversations, after a warm-up")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    result = measure(
        args.shape, torch.device(args.device), getattr(torch, args.dtype), args.repeats
    )
    print(table(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
