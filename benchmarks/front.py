"""What the page and the API add to the engine's own time, turn after turn with pictures.

    python benchmarks/front.py [--turns 30] [--shape bundled] [--device cuda] [--json FILE]

A conversation with a small picture in every question is answered, in turn, by an engine in this
process and by a real server in a process of its own: on its page, with the requests that a browser
makes, and then another one over its /v1/chat/completions. The page keeps with each reply how long
the engine took for it. So a token on the page costs what the server's engine needs for it more than
the one here, and a turn costs what the page's total is more than the engine's. Of the API, which
keeps nothing, it is the client's own times less those of the engine here.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import httpx2
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this folder alone is on it

from benchmarks.openai_http import OpenAIServer, free_port, server_process
from benchmarks.page_client import PageClient, Seen
from benchmarks.report import Result, head, markdown, number_format, options, tell
from benchmarks.shapes import BUNDLED, open_checkpoint
from benchmarks.talk import DESCRIBE, answered, asked, drawing
from benchmarks.ways import Ours, Timing
from llava_chat.conversation import Conversation
from llava_chat.engine.local import LocalEngine
from llava_chat.engine.local.passing import in_passing
from llava_chat.image import png_bytes
from llava_chat.model.checkpoint import Checkpoint, save_checkpoint
from llava_chat.store import ConversationStore
from llava_chat.store.stored import ReplyRecord
from llava_chat.web.session import Sessions

TURNS = 30
LATE_TURNS = 10  # the last of them, when the conversation is long
REPLY_TOKENS = 64
PAGE, API = "the page", "/v1/chat/completions"
GOALS_MS = (2.0, 50.0)
"""A token and a turn."""


@dataclass(frozen=True)
class Added:
    """What came on top of the engine's time in one turn, in milliseconds.

    token_ms: of each token, None where only one came. first_ms: until the first words.
    """

    token_ms: float | None
    first_ms: float
    turn_ms: float


Compare = Callable[[Timing], Added]
"""A reply of the server, to be compared with that of the engine here."""

Ask = Callable[[Conversation], Compare]


@dataclass(frozen=True)
class Server:
    """A running server of ours. data: its folder. secret: what signs its sessions."""

    url: str
    data: Path
    secret: str

    @contextmanager
    def page(self) -> Iterator[Ask]:
        """The newest turn of a conversation is sent to the page, which knows those before it."""
        database = f"sqlite:///{self.data / 'llava_chat.db'}"
        with (
            closing(PageClient(self.url)) as client,
            closing(ConversationStore.open(database, self.data)) as store,
        ):
            owner = Sessions(self.secret.encode()).owner_of_cookie(client.cookie)

            def ask(conversation: Conversation) -> Compare:
                newest = conversation.turns[-1]
                files = [client.upload(png_bytes(picture)) for picture in newest.images]
                seen = client.say(newest.text, *files)
                (kept,) = store.list(owner)
                record = store.load(owner, kept.id).path[-1].record
                if record is None:
                    raise SystemExit("the page kept no reply")
                return partial(by_the_page, seen, record)

            yield ask

    @contextmanager
    def api(self) -> Iterator[Ask]:
        """A whole conversation is sent to the API."""
        model = httpx2.get(f"{self.url}/v1/models", trust_env=False).json()["data"][0]["id"]
        more = {"stream_options": {"include_usage": True}}
        with closing(OpenAIServer(self.url, model, more)) as server:
            yield lambda conversation: partial(by_the_api, server.reply(conversation, REPLY_TOKENS))

    @property
    def has_api(self) -> bool:
        """Whether it does, once its model is there."""
        while (status := httpx2.get(f"{self.url}/readyz", trust_env=False).status_code) == 503:
            time.sleep(0.1)
        if status != 200:
            return False
        return httpx2.get(f"{self.url}/v1/models", trust_env=False).status_code == 200


@contextmanager
def served(
    shape: str, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> Iterator[Server]:
    """`serve` with that model, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="llava-front-") as name:
        folder, port, secret = Path(name), free_port(), secrets.token_urlsafe(32)
        if shape != BUNDLED:
            in_passing(save_checkpoint, checkpoint, folder / "model", dtype=dtype)
        command = [
            *(sys.executable, "-m", "llava_chat", "serve", "--port", str(port)),
            *("--model", "scenes" if shape == BUNDLED else str(folder / "model")),
            *("--data-dir", str(folder), "--device", str(device)),
            *("--dtype", str(dtype).removeprefix("torch.")),
            *("--temperature", "0", "--max-new-tokens", str(REPLY_TOKENS)),
        ]
        url = f"http://127.0.0.1:{port}"
        with server_process(command, f"{url}/", cwd=ROOT, LLAVA_CHAT_SECRET=secret):
            yield Server(url, folder, secret)


def measure(shape: str, device: torch.device, dtype: torch.dtype, turns: int) -> Result:
    """A conversation with each, after one of two turns that only warms up."""
    checkpoint = open_checkpoint(shape, device, dtype)
    with ExitStack() as opened:
        engine = LocalEngine(checkpoint)
        opened.callback(engine.close)
        server = opened.enter_context(served(shape, checkpoint, device, dtype))
        ways = {PAGE: server.page} | ({API: server.api} if server.has_api else {})
        told = {}
        for number, (name, way) in enumerate(ways.items()):
            with way() as ask:
                converse(Ours(engine), ask, 2, seed=1_000_000 + 1000 * number)
            with way() as ask:  # of other pictures than the one before: its engine keeps those
                told[name] = converse(Ours(engine), ask, turns, seed=1000 * number)
    return {
        "shape": shape,
        "turns": turns,
        "added_ms": {name: summary(added) for name, added in told.items()},
    }


def converse(ours: Ours, ask: Ask, turns: int, seed: int) -> list[Added]:
    """What a way adds in each turn; it and the engine here take turns at being first."""
    conversation, told = Conversation(), []
    for turn in range(turns):
        conversation = asked(conversation, turn + 1, drawing(seed + turn), question=DESCRIBE)
        there = ask(conversation) if turn % 2 else None
        here = ours.reply(conversation, REPLY_TOKENS)
        told.append((there or ask(conversation))(here))
        conversation = answered(conversation, here.text, here.token_ids)
    return told


def summary(told: Sequence[Added]) -> dict[str, float]:
    """The medians."""
    kinds = {
        "token": [one.token_ms for one in told if one.token_ms is not None],
        "first_words": [one.first_ms for one in told],
        "turn": [one.turn_ms for one in told],
        "turn_of_the_last": [one.turn_ms for one in told[-LATE_TURNS:]],
    }
    return {kind: round(median(values), 3) for kind, values in kinds.items()}


def by_the_page(seen: Seen, record: ReplyRecord, here: Timing) -> Added:
    """What the page added."""
    first_s = record.first_token_s or record.total_s
    tokens = record.generated_tokens
    token_s = (record.total_s - first_s) / (tokens - 1) if tokens > 1 else None
    return Added(
        _slower_ms(token_s, here),
        1000 * (seen.first_s - first_s),
        1000 * (seen.total_s - record.total_s),
    )


def by_the_api(there: Timing, here: Timing) -> Added:
    """What the API added."""
    token_s = 1 / there.tokens_per_s if there.tokens_per_s else None
    first_ms = 1000 * (there.first_s - here.first_s)
    return Added(_slower_ms(token_s, here), first_ms, first_ms)


def _slower_ms(token_s: float | None, here: Timing) -> float | None:
    if token_s is None or not here.tokens_per_s:
        return None
    return 1000 * (token_s - 1 / here.tokens_per_s)


def table(result: Result) -> str:
    """Milliseconds on top of the engine's own."""
    last = min(LATE_TURNS, result["turns"])
    kinds = ("first_words", "turn", "turn_of_the_last")
    rows = [
        [way, f"{told['token']:.2f}", *(f"{told[kind]:.0f}" for kind in kinds)]
        for way, told in result["added_ms"].items()
    ]
    rows.append(["goal", f"< {GOALS_MS[0]:g}", "", *[f"< {GOALS_MS[1]:g}"] * 2])
    names = ["a token", "first words", f"a turn, of {result['turns']}", f"of the last {last}"]
    return markdown(["added by, ms", *names], rows)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = options(__doc__, shape=BUNDLED)
    parser.add_argument("--turns", type=int, default=TURNS)
    args = parser.parse_args()
    device, dtype = torch.device(args.device), number_format(args.dtype)
    told = measure(args.shape, device, dtype, args.turns)
    result = head("front", device, dtype) | told
    tell(result, table(result), args.json)
    if API not in told["added_ms"]:
        print(f"this server has no {API}")


if __name__ == "__main__":
    main()
