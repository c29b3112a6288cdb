"""The model that comes with the project answers rightly about drawings that it never saw.

The pictures are drawn here, by other code than the one it was trained with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from transformers import AutoProcessor, LlavaForConditionalGeneration

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, Failed, GenerationSettings
from llava_chat.engine.local import LocalEngine, open_engine
from llava_chat.evaluation.meaning import box_overlap
from llava_chat.image import Picture, picture_from_image, read_picture
from llava_chat.model.checkpoint import load_checkpoint
from llava_chat.model.quantization import Bits, Quantization
from llava_chat.model.sources import Search, find_sources
from llava_chat.model.weights import load_model
from llava_chat.tokens import tokenize
from tests.drawings import (
    BOXES,
    CONVERSATIONS,
    FURTHER_CONVERSATIONS,
    photograph,
    three_shapes,
)

GREEDY = GenerationSettings(temperature=0, max_new_tokens=120)
ASSETS = Path(__file__).parent.parent / "assets"
EXAMPLES = json.loads((ASSETS / "examples" / "examples.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    engine = open_engine("scenes", device="cpu", dtype="float32")
    yield engine
    engine.close(grace_s=0)


# Of 27, and of 11; the tables in the README say how often it errs on a thousand pictures.
LEAST_RIGHT = 24
LEAST_RIGHT_FURTHER = 9
LEAST_OVERLAP = 0.7


def talk(engine: LocalEngine, picture: Picture | None, *questions: str) -> list[str]:
    turns: tuple[Turn, ...] = ()
    answers = []
    for number, question in enumerate(questions):
        images = (picture,) if picture and number == 0 else ()
        turns += (Turn("user", question, images),)
        for event in engine.stream(Conversation(turns), GREEDY):
            assert not isinstance(event, Failed), event
            if isinstance(event, Done):
                answers.append(event.text)
                turns += (Turn("assistant", event.text, token_ids=event.token_ids),)
    assert len(answers) == len(questions)
    return [answer.lower() for answer in answers]


@pytest.mark.parametrize("bits", [8, 4])
def test_in_fewer_bits_it_says_the_same(engine: LocalEngine, bits: Bits) -> None:
    pytest.importorskip("bitsandbytes", reason="pip install bitsandbytes")
    checkpoint = load_checkpoint("scenes", device="cpu", dtype="float32")
    rounded = load_model(
        find_sources("scenes", Search()),
        device=torch.device("cpu"),
        dtype=torch.float32,
        quantization=Quantization(bits),
    )
    questions = ("What colour is the circle?", "How many objects are there?", "Is there a star?")
    fewer = LocalEngine(replace(checkpoint, model=rounded))
    try:
        picture = picture_from_image(three_shapes())
        assert fewer.model.parameters == engine.model.parameters
        assert fewer.model.dtype == f"float32, layers in {bits} bits"
        assert talk(fewer, picture, *questions) == talk(engine, picture, *questions)
    finally:
        fewer.close(grace_s=0)


def test_questions_about_one_drawing(engine: LocalEngine) -> None:
    picture = picture_from_image(three_shapes())
    colour, count, place, star = talk(
        engine,
        picture,
        "What colour is the circle?",
        "How many objects are there?",
        "Where is the square?",
        "Is there a star?",
    )
    assert "red" in colour
    assert "three" in count
    # Its centre is so near to the line of the upper third that people would say either.
    assert re.search(r"\b(top|on the) right\b", place)
    assert star.startswith("no")


@pytest.mark.parametrize(
    ("conversations", "least_right"),
    [(CONVERSATIONS, LEAST_RIGHT), (FURTHER_CONVERSATIONS, LEAST_RIGHT_FURTHER)],
    ids=["core", "further"],
)
def test_questions_that_nobody_picked_for_it(
    engine: LocalEngine, conversations: tuple[Any, ...], least_right: int
) -> None:
    asked, wrong = 0, []
    for draw, *exchanges in conversations:
        questions = [question for question, _ in exchanges]
        answers = talk(engine, picture_from_image(draw()), *questions)
        for (question, wanted), answer in zip(exchanges, answers, strict=True):
            asked += 1
            if not re.search(wanted, answer):
                wrong.append(f"{draw.__name__}: {question} {answer}")
    assert asked - len(wrong) >= least_right, "\n".join(wrong)


def test_boxes_are_where_things_are(engine: LocalEngine) -> None:
    shares = []
    for draw, name, (left, top, right, bottom) in BOXES:
        picture = picture_from_image(draw())
        (answer,) = talk(engine, picture, f"What is the bounding box of {name}?")
        width, height = picture.width, picture.height
        box = (left / width, top / height, right / width, bottom / height)
        shares.append(box_overlap(answer, box))
    assert sum(shares) / len(shares) >= LEAST_OVERLAP, shares


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["file"])
def test_the_examples_of_a_first_visit_are_answered_rightly(
    engine: LocalEngine, example: dict[str, str]
) -> None:
    picture = read_picture(ASSETS / "examples" / example["file"])
    (answer,) = talk(engine, picture, example["question"])
    assert example["answer"] in answer


def test_another_picture_gives_another_answer(engine: LocalEngine) -> None:
    swapped = Image.new("RGB", (500, 500), "white")
    ImageDraw.Draw(swapped).ellipse((150, 150, 350, 350), fill="blue")
    (answer,) = talk(engine, picture_from_image(swapped), "What colour is the circle?")
    assert "blue" in answer


def test_a_photograph_is_not_taken_for_a_drawing(engine: LocalEngine) -> None:
    (answer,) = talk(engine, picture_from_image(photograph()), "What do you see?")
    assert "does not look like a drawing" in answer
    assert "--model" in answer


def test_without_a_picture_it_asks_for_one(engine: LocalEngine) -> None:
    hello, colour = talk(engine, None, "Hello!", "What colour is the circle?")
    assert "hello" in hello
    assert "do not see a picture" in colour


def test_it_says_what_it_cannot_answer(engine: LocalEngine) -> None:
    (answer,) = talk(engine, None, "What is the capital of France?")
    assert "cannot answer" in answer


def test_transformers_serves_the_folder_as_it_is() -> None:
    ours = load_checkpoint("scenes", device="cpu", dtype="float32")
    folder = ASSETS / "scenes"
    processor = AutoProcessor.from_pretrained(folder)
    theirs: Any = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    drawing = three_shapes()
    text = {"type": "text", "text": "What colour is the circle?"}
    messages = [{"role": "user", "content": [{"type": "image", "image": drawing}, text]}]
    inputs = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    made = tokenize(
        Conversation((Turn("user", text["text"], (picture_from_image(drawing),)),)),
        ours.tokenizer,
        template=ours.template,
        picture_tokens=lambda _: ours.model.tokens_per_picture,
        image_token_id=ours.model.config.image_token_id,
    )
    assert inputs["input_ids"][0].tolist() == list(made.ids)
    with torch.no_grad():
        pixels = ours.pixels(made.spans[0].picture)
        embeds = ours.model.embed(torch.tensor([made.ids]), ours.model.image_features(pixels))
        assert (ours.model(embeds) - theirs(**inputs).logits).abs().max() <= 1e-4
        said = theirs.generate(**inputs, max_new_tokens=20, do_sample=False)
    answer = processor.decode(said[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert "red" in answer.lower()


def test_the_assets_stay_small() -> None:
    files = [path for path in ASSETS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 40_000_000
    shards = list((ASSETS / "scenes").glob("*.safetensors"))
    assert shards
    assert max(path.stat().st_size for path in shards) <= 15_000_000


@pytest.mark.parametrize("name", ["evaluation", "evaluation-further"])
@pytest.mark.parametrize("document", [ASSETS.parent / "README.md", ASSETS / "scenes" / "README.md"])
def test_the_figures_that_are_shown_are_those_of_the_evaluation(name: str, document: Path) -> None:
    figures = json.loads((ASSETS / "scenes" / f"{name}.json").read_text(encoding="utf-8"))
    text = document.read_text(encoding="utf-8")
    shown = text.split(f"<!-- {name}: begin -->")[1].split(f"<!-- {name}: end -->")[0]
    rows = [line.split("|") for line in shown.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 10
    for _, kind, asked, right, *_ in rows:
        held = figures["kinds"][kind.strip()]
        assert int(asked) == held["asked"]
        assert right.strip() == f"{held['share']:.1%}"
