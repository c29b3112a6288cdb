"""What people get who talk to one model at the same time.

    python benchmarks/many.py [--people 1 2 4 8 16 32] [--shape small] [--device cuda] [--json FILE]

Each person comes at a moment drawn in advance (a Poisson process, the same for every way), shows a
picture of their own, and asks three times, without a pause to think. They are answered by our
engine with as many slots as it is given; by the same one at a time, which keeps as many
conversations; by our engine with a single slot, which keeps the last one only; and by transformers'
`generate` one at a time. Nothing that was computed before a run is there in it.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this folder alone is on it

from benchmarks.apart import GenerateApart, generate_apart
from benchmarks.report import (
    Result,
    head,
    markdown,
    number_format,
    options,
    percentile,
    ratio,
    tell,
)
from benchmarks.shapes import open_checkpoint
from benchmarks.talk import answered, asked, noise
from benchmarks.ways import Ours, Timing, Way
from llava_chat.conversation import Conversation
from llava_chat.engine.local import LocalEngine
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint

PEOPLE = (1, 2, 4, 8, 16, 32)
TURNS = 3
REPLY_TOKENS = 64
SLOTS = 16
MOST_WAITING = 256
SLOW_PEOPLE = 8
MEAN_GAP_S = 0.05  # between two arrivals
ONE_AT_A_TIME, ONE_SLOT, GENERATE = "one at a time", "1 slot", "generate"


@dataclass(frozen=True)
class Behind:
    """A way that answers one after the other; who waits for it, waits for a lock."""

    way: Way
    lock: threading.Lock

    def reply(self, conversation: Conversation, max_new_tokens: int) -> Timing:
        """A greedy reply; the seconds are from the question on."""
        began = time.perf_counter()
        with self.lock:
            waited_s = time.perf_counter() - began
            told = self.way.reply(conversation, max_new_tokens)
        return Timing(
            told.first_s + waited_s, told.last_s + waited_s, told.tokens, told.text, told.token_ids
        )


@dataclass(frozen=True)
class Visit:
    """One person: the moments they came and left, in seconds of the run, and their replies."""

    came_s: float
    left_s: float
    replies: tuple[Timing, ...]


def visit(way: Way, began: float, came_s: float, picture: Picture) -> Visit:
    """Come at the moment that was drawn, ask three times, leave."""
    time.sleep(max(0.0, came_s - (time.perf_counter() - began)))
    conversation, replies = Conversation(), []
    for turn in range(TURNS):
        conversation = asked(conversation, turn + 1, *(() if turn else (picture,)))
        told = way.reply(conversation, REPLY_TOKENS)
        replies.append(told)
        conversation = answered(conversation, told.text, told.token_ids)
    return Visit(came_s, time.perf_counter() - began, tuple(replies))


def run(way: Way, people: int, seed: int) -> list[Visit]:
    """All of them, each in a thread."""
    drawn = random.Random(seed)
    gaps = (drawn.expovariate(1 / MEAN_GAP_S) for _ in range(people - 1))
    moments = list(accumulate(gaps, initial=0.0))
    pictures = [noise(1000 * seed + person) for person in range(people)]
    with ThreadPoolExecutor(people) as threads:
        began = time.perf_counter()
        visits = [
            threads.submit(visit, way, began, came_s, picture)
            for came_s, picture in zip(moments, pictures, strict=True)
        ]
        return [one.result() for one in visits]


@contextmanager
def opened(name: str, checkpoint: Checkpoint, generate: GenerateApart, slots: int) -> Iterator[Way]:
    """A way that has computed nothing yet of what it will be asked, but is warm."""
    if name == GENERATE:
        yield Behind(generate, threading.Lock())
        return
    engine = LocalEngine(
        checkpoint, slots=1 if name == ONE_SLOT else slots, max_waiting=MOST_WAITING
    )
    way = Ours(engine)
    way.reply(asked(Conversation(), 0, noise(0)), 4)
    yield Behind(way, threading.Lock()) if name == ONE_AT_A_TIME else way
    engine.close()


def measured(visits: Sequence[Visit]) -> Result:
    """One run in numbers."""
    replies = [reply for visit in visits for reply in visit.replies]
    first = [reply.first_s for reply in replies]
    stays = [visit.left_s - visit.came_s for visit in visits]
    lasted_s = max(visit.left_s for visit in visits) - min(visit.came_s for visit in visits)
    return {
        "tokens_per_s": sum(reply.tokens for reply in replies) / lasted_s,
        "first_token_p50_s": percentile(first, 50),
        "first_token_p95_s": percentile(first, 95),
        "worst_over_median_stay": max(stays) / median(stays),
    }


def measure(
    shape: str,
    device: torch.device,
    dtype: torch.dtype,
    people: Sequence[int],
    repeats: int,
    slots: int,
) -> Result:
    """Medians over `repeats` runs, in an order that changes.

    Of the two slowest ways one run, and none with more than SLOW_PEOPLE: who answers one after the
    other writes no faster for more of them.
    """
    checkpoint = open_checkpoint(shape, device, dtype)
    usual = (f"{slots} slots", ONE_AT_A_TIME)
    counts: Result = {}
    with generate_apart(shape, device, dtype) as generate:
        for count in people:
            slow = (ONE_SLOT, GENERATE) if count <= SLOW_PEOPLE else ()
            runs: dict[str, list[Result]] = {name: [] for name in (*usual, *slow)}
            for repeat in range(repeats):
                turned = usual if repeat % 2 else usual[::-1]
                for name in turned if repeat else (*turned, *slow):
                    with opened(name, checkpoint, generate, slots) as way:
                        runs[name].append(measured(run(way, count, seed=repeat + 1)))
            counts[str(count)] = {
                name: {key: round(median(one[key] for one in told), 3) for key in told[0]}
                for name, told in runs.items()
            }
    return {
        "shape": shape,
        "repeats": repeats,
        "slots": slots,
        "turns": TURNS,
        "reply_tokens": REPLY_TOKENS,
        "mean_gap_s": MEAN_GAP_S,
        "people": counts,
    }


def table(result: Result) -> str:
    """By number of people: tokens a second with ratios, waits, and how even the stays were."""
    slots = f"{result['slots']} slots"
    rows = []
    for count, told in result["people"].items():
        mine = told[slots]
        speeds = [f"{mine['tokens_per_s']:.0f}"]
        for other in (ONE_AT_A_TIME, ONE_SLOT, GENERATE):
            if other not in told:
                speeds += ["", ""]
                continue
            theirs = told[other]["tokens_per_s"]
            speeds += [f"{theirs:.0f}", ratio(mine["tokens_per_s"], theirs)]
        waits = [
            f"{told[name]['first_token_p50_s']:.2f} / {told[name]['first_token_p95_s']:.2f}"
            for name in (slots, ONE_AT_A_TIME)
        ]
        rows.append([count, *speeds, *waits, f"{mine['worst_over_median_stay']:.2f}"])
    names = [
        f"people ({result['shape']}), tokens a second",
        *(slots, ONE_AT_A_TIME, "", ONE_SLOT, "", GENERATE, ""),
        *(f"first token, s, p50 / p95, {slots}", ONE_AT_A_TIME, "worst / median stay"),
    ]
    return markdown(names, rows)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = options(__doc__, shape="small")
    parser.add_argument("--people", type=int, nargs="+", default=PEOPLE, metavar="N")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--slots", type=int, default=SLOTS)
    args = parser.parse_args()
    device, dtype = torch.device(args.device), number_format(args.dtype)
    told = measure(args.shape, device, dtype, args.people, args.repeats, args.slots)
    result = head("many", device, dtype) | told
    tell(result, table(result), args.json)


if __name__ == "__main__":
    main()
