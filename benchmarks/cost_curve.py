"""How the waits grow with the length of a conversation, and with the people who talk at once.

    python benchmarks/cost_curve.py [--shape small] [--device cuda] [--plot FILE] [--json FILE]

For each length a conversation about one picture is answered twice: new, when all of it is read, and
one question later, when only that question is. For each number of people, that many ask at the same
moment about pictures of their own. The plot is an SVG that is legible on light and on dark.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this folder alone is on it

from benchmarks.plot import Panel, svg
from benchmarks.report import Result, head, markdown, number_format, options, tell
from benchmarks.shapes import open_checkpoint
from benchmarks.talk import QUESTION, answered, asked, noise
from benchmarks.ways import Ours, Timing
from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.local import LocalEngine

LENGTHS = (512, 1024, 1536, 2048, 2560, 3072, 3584, 4000)
"""Tokens of the prompt, at most; the nearest that whole turns give is measured."""

PEOPLE = (1, 2, 4, 8, 16)
REPLY_TOKENS = 32
WORDS = " ".join(["large red circle"] * 8)  # of a made-up reply


def conversation_of(engine: LocalEngine, tokens: int, seed: int) -> Conversation:
    """About a picture, as long as it can be with no more than `tokens` to read."""
    number, longest = 0, asked(Conversation(), 0, noise(seed))
    while True:
        number += 1
        longer = asked(answered(longest, WORDS, None), number)
        use = engine.context_use(longer, REPLY_TOKENS)
        if use.prompt_tokens > tokens or use.dropped_turns:
            return longest
        longest = longer


def by_length(way: Ours, tokens: int, repeats: int) -> Result:
    """A conversation of that length, new and going on."""
    new, going_on = [], []
    for seed in range(repeats + 1):
        conversation = conversation_of(way.engine, tokens, seed)
        told = way.reply(conversation, REPLY_TOKENS)
        new.append(told)
        further = Turn("user", QUESTION)
        done = answered(conversation, told.text, told.token_ids)
        going_on.append(way.reply(Conversation((*done.turns, further)), REPLY_TOKENS))
    return {
        "tokens": new[-1].prompt_tokens,
        "first_token_new_ms": first_ms(new[1:]),
        "first_token_going_on_ms": first_ms(going_on[1:]),
        "token_ms": token_ms(going_on[1:]),
    }


def by_people(way: Ours, people: int, repeats: int) -> Result:
    """So many at the same moment, each with a picture that was never seen."""
    told: list[Timing] = []
    for repeat in range(repeats + 1):
        seeds = range(people)
        asking = [
            asked(Conversation(), 0, noise(10_000 * people + 100 * repeat + seed)) for seed in seeds
        ]
        with ThreadPoolExecutor(people) as threads:
            replies = list(threads.map(lambda one: way.reply(one, REPLY_TOKENS), asking))
        told += replies if repeat else []
    return {"people": people, "first_token_ms": first_ms(told), "token_ms": token_ms(told)}


def first_ms(told: Sequence[Timing]) -> float:
    """The median wait for the first token."""
    return round(1000 * median(one.first_s for one in told), 2)


def token_ms(told: Sequence[Timing]) -> float:
    """The median time of a token after the first."""
    return round(median(1000 / one.tokens_per_s for one in told if one.tokens_per_s), 3)


def measure(
    shape: str,
    device: torch.device,
    dtype: torch.dtype,
    lengths: Sequence[int],
    people: Sequence[int],
    repeats: int,
) -> Result:
    """Medians over `repeats`, after one that only warms up."""
    checkpoint = open_checkpoint(shape, device, dtype)
    longest = int(checkpoint.model.config.text.max_position_embeddings)
    engine = LocalEngine(checkpoint, slots=max(people), max_waiting=max(people))
    way = Ours(engine)
    fitting = [tokens for tokens in lengths if tokens <= longest]
    result = {
        "shape": shape,
        "repeats": repeats,
        "lengths": [by_length(way, tokens, repeats) for tokens in fitting],
        "people": [by_people(way, count, repeats) for count in people],
    }
    engine.close()
    return result


def table(result: Result) -> str:
    """Milliseconds, by length and by people."""
    rows = [
        [
            f"{told['tokens']} tokens",
            f"{told['first_token_new_ms']:.0f}",
            f"{told['first_token_going_on_ms']:.0f}",
            f"{told['token_ms']:.1f}",
        ]
        for told in result["lengths"]
    ]
    rows += [
        [
            f"{told['people']} at once",
            f"{told['first_token_ms']:.0f}",
            "",
            f"{told['token_ms']:.1f}",
        ]
        for told in result["people"]
    ]
    names = [f"ms ({result['shape']})", "first token", "of the next turn", "a token"]
    return markdown(names, rows)


def plot(result: Result) -> str:
    """The four curves."""
    lengths = [told["tokens"] for told in result["lengths"]]
    people = [told["people"] for told in result["people"]]
    waits = {
        "new": [told["first_token_new_ms"] for told in result["lengths"]],
        "next turn": [told["first_token_going_on_ms"] for told in result["lengths"]],
    }
    return svg(
        Panel("first token, ms", "tokens of the conversation", lengths, waits),
        Panel(
            "a token, ms",
            "tokens of the conversation",
            lengths,
            {"": [told["token_ms"] for told in result["lengths"]]},
        ),
        Panel(
            "first token, ms",
            "people at once",
            people,
            {"": [told["first_token_ms"] for told in result["people"]]},
        ),
        Panel(
            "a token, ms",
            "people at once",
            people,
            {"": [told["token_ms"] for told in result["people"]]},
        ),
    )


def main() -> None:
    """Measure, print the table, write the JSON and the plot."""
    parser = options(__doc__, shape="small")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="TOKENS")
    parser.add_argument("--people", type=int, nargs="+", default=PEOPLE, metavar="N")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="an SVG")
    args = parser.parse_args()
    device, dtype = torch.device(args.device), number_format(args.dtype)
    told = measure(args.shape, device, dtype, args.lengths, args.people, args.repeats)
    result = head("cost_curve", device, dtype) | told
    tell(result, table(result), args.json)
    if args.plot:
        args.plot.write_text(plot(result), encoding="utf-8")


if __name__ == "__main__":
    main()
