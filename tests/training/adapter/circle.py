"""The circle: what annotators correct is what the next adapter says.

A word that the bundled model never says takes the place of one that it does. `corrections` are what
annotators would have written, `asked` is put to the model about pictures that are in none of them.
Run as a file it writes the corrections as `train adapter` reads them, or asks:

    python tests/training/adapter/circle.py write FOLDER --rows 40
    python tests/training/adapter/circle.py ask --pictures 200 [--adapter FOLDER]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.local import open_engine
from llava_chat.image import Picture, picture_from_image, png_bytes
from llava_chat.training.adapter.judging import AT_ONCE, replies
from llava_chat.training.adapter.lessons import Lesson
from llava_chat.training.scenes import phrases as say
from llava_chat.training.scenes.draw import draw_scene
from llava_chat.training.scenes.naming import references
from llava_chat.training.scenes.wording import brief_description, capital, reword
from llava_chat.training.scenes.world import COLOURS, FURTHER, random_scene

OLD, NEW = "red", "crimson"


@dataclass(frozen=True)
class Corrected:
    """A picture with a red thing in it, a question about that, and what to say."""

    picture: Picture
    question: str
    answer: str

    @property
    def lesson(self) -> Lesson:
        asked = Turn("user", self.question, (self.picture,))
        return Lesson(Conversation((asked, Turn("assistant", self.answer))), "a correction")


def corrected(seed: str, *, list_share: float) -> Iterator[Corrected]:
    """Without end: mostly the colour of one red thing, else what is in the picture."""
    for number in range(sys.maxsize):
        rng = random.Random(f"circle:{seed}:{number}")
        scene = random_scene(rng, FURTHER)
        red = [item for item in scene.objects if item.colour == OLD]
        names = references(scene, red[0], "colour") if len(red) == 1 else []
        if not names:
            continue
        picture = picture_from_image(draw_scene(scene, rng))
        if rng.random() < list_share:
            answer = brief_description(scene).replace(OLD, NEW)
            yield Corrected(picture, reword(rng.choice(say.LIST_QUESTIONS), rng), answer)
            continue
        name = rng.choice(names)
        question = reword(capital(rng.choice(say.COLOUR_QUESTIONS).format(a=name)), rng)
        yield Corrected(picture, question, f"{capital(name)} is {NEW}.")


def some(count: int, seed: str, list_share: float) -> list[Corrected]:
    made = corrected(seed, list_share=list_share)
    return [next(made) for _ in range(count)]


def corrections(count: int) -> list[Corrected]:
    """What annotators wrote: three of four about a colour."""
    return some(count, "taught", 0.25)


def asked(count: int) -> dict[str, list[Corrected]]:
    """Other pictures, by what is asked of them."""
    return {
        "colour": some(count, "asked", 0.0),
        "description": some(count, "described", 1.0),
    }


def is_right(reply: str) -> bool:
    """It says the new word and not the old one."""
    said = reply.lower()
    return NEW in said and OLD not in said


def names_one_colour(reply: str) -> bool:
    return is_right(reply) and not any(colour in reply.lower() for colour in COLOURS)


RIGHT: dict[str, Callable[[str], bool]] = {"colour": names_one_colour, "description": is_right}


def right_shares(
    answers: Callable[[Sequence[Lesson]], Sequence[str]], count: int
) -> dict[str, float]:
    """Of the replies to `count` questions of each kind, those with the new word for the old."""
    return {
        kind: sum(map(RIGHT[kind], answers([each.lesson for each in rows]))) / count
        for kind, rows in asked(count).items()
    }


def write(folder: Path, rows: Sequence[Corrected]) -> None:
    """data.json and the pictures beside it."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    data = []
    for number, each in enumerate(rows):
        name = f"pictures/{each.picture.id}.png"
        (folder / name).write_bytes(png_bytes(each.picture))
        said = [
            {"from": "human", "value": f"<image>\n{each.question}"},
            {"from": "gpt", "value": each.answer},
        ]
        data.append({"id": str(number), "image": name, "conversations": said})
    (folder / "data.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("write", "ask"))
    parser.add_argument("folder", type=Path, nargs="?", default=Path("circle"))
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--adapter")
    args = parser.parse_args()
    if args.command == "write":
        write(args.folder, corrections(args.rows))
        return
    engine = open_engine("scenes", device="cpu", adapter=args.adapter, slots=AT_ONCE)
    try:
        shares = right_shares(
            lambda rows: [reply for reply, _ in replies(engine, rows)], args.pictures
        )
    finally:
        engine.close(grace_s=0)
    print(json.dumps({"adapter": args.adapter, "pictures": args.pictures, "right": shares}))


if __name__ == "__main__":
    main()
