"""The circle: what annotators correct is what the next adapter says, and people prefer it.

On a store of its own, by what the page itself stands on: an annotator corrects the model's replies
in a project, `train adapter --from-feedback` learns from that, and somebody who does not know which
is which compares both on other pictures. Run as a file it does the first and the last:

    python tests/circle/circle.py annotate --data-dir circle --rows 40
    python -m llava_chat train adapter --from-feedback --project Colours --name crimson \\
        --data-dir circle --pictures 300
    python tests/circle/circle.py compare --data-dir circle --adapter crimson --pictures 200
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from llava_chat.conversation import Conversation
from llava_chat.engine.base import ChatEngine, Done, GenerationSettings, whole_reply
from llava_chat.engine.local import open_engine
from llava_chat.feedback import Comparisons, Feedback, Vote
from llava_chat.feedback.annotation import Annotation, Leading
from llava_chat.feedback.comparisons import name_of
from llava_chat.image import PictureLimits, png_bytes
from llava_chat.model.adapter_folders import AdapterFolders
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore, Member, ReplyRecord
from llava_chat.web.chat.record import record_of
from tests.circle.taught import RIGHT, Corrected, asked, corrections

PROJECT = "Colours"
LEAD, ANNOTATOR, JUDGE = Member("lead", "Lea", "lead"), Member("annotator"), "judge"
FORM = [{"name": "better", "type": "correction", "label": "What should it say?", "required": True}]
AT_ONCE = 16
LEAD_TIME_S = 1.0
SIDES = ("left", "right")
Said = tuple[Done, ReplyRecord]


@contextmanager
def opened(data_dir: Path) -> Iterator[tuple[ConversationStore, ChatEngine]]:
    """The page's store, and the bundled model with the adapters that the page offers."""
    settings = Settings(data_dir=data_dir)
    data_dir.mkdir(parents=True, exist_ok=True)
    store = ConversationStore.open(settings.database, data_dir)
    adapters = AdapterFolders(settings.adapter_folder)
    engine = open_engine("scenes", device="cpu", slots=AT_ONCE, adapters=adapters)
    try:
        yield store, engine
    finally:
        engine.close(grace_s=0)
        store.close()


def replies(
    engine: ChatEngine, rows: Sequence[Corrected], adapter: str | None = None
) -> list[Said]:
    """What the model says to each, greedily, and the record of it."""
    settings = GenerationSettings(temperature=0, adapter=adapter)

    def reply(asked: Conversation) -> Said:
        done = whole_reply(engine.stream(asked, settings))
        return done, record_of(asked, settings, done, done.model or engine.model)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(reply, [row.asked for row in rows]))


def annotate(store: ConversationStore, engine: ChatEngine, rows: Sequence[Corrected]) -> int:
    """A lead makes a project of the model's replies, and an annotator corrects each of them."""
    leading, annotation = Leading.of(store), Annotation.of(store)
    for owner in (ANNOTATOR.owner, JUDGE):
        Feedback.of(store).decide(owner, True)
    plan = {"name": PROJECT, "form": FORM, "overlap": 1}
    project = leading.create(LEAD, plan).id
    lines = [
        json.dumps({"question": row.question, "picture": f"{number}.png", "reply": done.text})
        for number, (row, (done, _)) in enumerate(zip(rows, replies(engine, rows), strict=True))
    ]

    def picture(name: str) -> bytes:
        return png_bytes(rows[int(name.removesuffix(".png"))].picture)

    leading.add(LEAD, project, "jsonl", "\n".join(lines), picture, PictureLimits())
    corrected = 0
    while (given := annotation.next(ANNOTATOR, project)[0]) is not None:
        item = given.item.item
        better = {"better": rows[item.position].answer}
        annotation.submit(ANNOTATOR, item.id, uuid4().hex, better, LEAD_TIME_S)
        corrected += 1
    return corrected


def compare(
    store: ConversationStore, engine: ChatEngine, adapter: str, pictures: int
) -> dict[str, dict[str, Counter[str]]]:
    """Somebody votes for what is right, not knowing whose it is.

    By what was asked: how often each was right, and how often each was preferred.
    """
    told = {}
    for kind, rows in asked(pictures).items():
        right, preferred = Counter[str](), Counter[str]()
        for row, plain, adapted in zip(
            rows, replies(engine, rows), replies(engine, rows, adapter), strict=True
        ):
            sides = [plain, adapted]
            random.Random(row.picture.id).shuffle(sides)
            names = [name_of(record) for _, record in sides]
            are_right = [RIGHT[kind](done.text) for done, _ in sides]
            right.update(name for name, is_right in zip(names, are_right, strict=True) if is_right)
            choice = _choice(*are_right)
            _vote(store, row, sides, choice)
            preferred[names[SIDES.index(choice)] if choice in SIDES else choice] += 1
        told[kind] = {"right": right, "preferred": preferred}
    return told


def _choice(left: bool, right: bool) -> str:
    if left == right:
        return "tie" if left else "both_bad"
    return "left" if left else "right"


def _vote(store: ConversationStore, row: Corrected, sides: Sequence[Said], choice: str) -> None:
    comparisons = Comparisons.of(store)
    left, right = (name_of(record) for _, record in sides)
    comparison = comparisons.begin(JUDGE, left, right)
    kept = store.sides()
    for id, (done, record) in zip((comparison.left_id, comparison.right_id), sides, strict=True):
        question = kept.add_user(JUDGE, id, row.question, (row.picture,))
        kept.add_reply(JUDGE, id, question.id, done.text, done.token_ids, done.finish, record)
    comparisons.vote(JUDGE, comparison.id, Vote(uuid4().hex, 1, choice, LEAD_TIME_S))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("annotate", "compare"))
    parser.add_argument("--data-dir", type=Path, default=Path("circle"))
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--adapter", default="crimson")
    args = parser.parse_args()
    with opened(args.data_dir) as (store, engine):
        if args.command == "annotate":
            print(annotate(store, engine, corrections(args.rows)), "replies corrected")
        else:
            print(json.dumps(compare(store, engine, args.adapter, args.pictures), indent=1))


if __name__ == "__main__":
    main()
