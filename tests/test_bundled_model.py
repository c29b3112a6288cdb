"""The model that comes with the project answers rightly about drawings that it never saw.

The pictures are drawn here, by other code than the one it was trained with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from transformers import AutoProcessor, LlavaForConditionalGeneration

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, Failed, GenerationSettings
from llava_chat.engine.local import LocalEngine, open_engine
from llava_chat.image import Picture, picture_from_image, read_picture
from llava_chat.model.checkpoint import load_checkpoint
from llava_chat.tokens import tokenize

GREEDY = GenerationSettings(temperature=0, max_new_tokens=120)
ASSETS = Path(__file__).parent.parent / "assets"
EXAMPLES = json.loads((ASSETS / "examples" / "examples.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    engine = open_engine("scenes", device="cpu", dtype="float32")
    yield engine
    engine.close(grace_s=0)


def three_shapes() -> Image.Image:
    picture = Image.new("RGB", (640, 480), "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((60, 60, 240, 240), fill="red")
    pen.rectangle((420, 90, 550, 220), fill="blue")
    pen.polygon([(320, 260), (400, 420), (240, 420)], fill="green")
    return picture


def photograph() -> Image.Image:
    """Grain over soft colours, as no drawing has."""
    soft = Image.effect_noise((48, 36), 120).resize((640, 480), Image.Resampling.BICUBIC)
    grain = Image.effect_noise((640, 480), 60)
    return Image.merge("RGB", (soft, Image.blend(soft, grain, 0.4), grain))


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


def test_three_questions_about_one_drawing(engine: LocalEngine) -> None:
    picture = picture_from_image(three_shapes())
    colour, shape, place = talk(
        engine,
        picture,
        "What colour is the circle?",
        "What shape is the blue object?",
        "Where is the circle?",
    )
    assert "red" in colour
    assert "square" in shape
    assert "top left" in place


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["file"])
def test_the_examples_of_a_first_visit_are_answered_rightly(
    engine: LocalEngine, example: dict[str, str]
) -> None:
    picture = read_picture(ASSETS / "examples" / example["file"])
    (answer,) = talk(engine, picture, example["question"])
    assert example["answer"] in answer


def test_existence_is_told_both_ways(engine: LocalEngine) -> None:
    picture = picture_from_image(three_shapes())
    yes, no = talk(engine, picture, "Is there a green triangle?", "Is there a blue triangle?")
    assert yes.startswith("yes")
    assert no.startswith("no")


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
        pixels = ours.pixels(made.spans[0].picture)[None]
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


def test_the_figures_of_the_readme_are_those_of_the_evaluation() -> None:
    figures = json.loads((ASSETS / "scenes" / "evaluation.json").read_text(encoding="utf-8"))
    readme = (ASSETS.parent / "README.md").read_text(encoding="utf-8")
    shown = readme.split("<!-- evaluation: begin -->")[1].split("<!-- evaluation: end -->")[0]
    rows = [line.split("|") for line in shown.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 10
    for _, kind, asked, right, *_ in rows:
        held = figures["kinds"][kind.strip()]
        assert int(asked) == held["asked"]
        assert right.strip() == f"{held['share']:.1%}"
