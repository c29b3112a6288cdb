"""transformers loads what is saved here as it is, and its whole road gives the same logits."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from llava_chat.conversation import Conversation, Turn, prompt
from llava_chat.image import picture_from_image
from llava_chat.image.views import PAD_COLOUR
from llava_chat.model.chat_template import jinja_chat_template
from llava_chat.model.checkpoint import Checkpoint, save_checkpoint
from llava_chat.model.preprocessing import Preprocessing
from llava_chat.templates import TEMPLATES
from llava_chat.tokens import tokenize

Make = Callable[..., Checkpoint]
TALK = (("user", "What is in the picture?"), ("assistant", "A large red circle."), ("user", "Why?"))


def as_messages(talk: tuple[tuple[str, str], ...], pictures: int) -> list[dict[str, Any]]:
    """A conversation as transformers writes it, the pictures in its first turn."""
    messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in talk]
    messages[0]["content"] = [{"type": "image"}] * pictures + messages[0]["content"]
    return messages


def as_conversation(
    talk: tuple[tuple[str, str], ...], images: list[Image.Image], system: str | None = None
) -> Conversation:
    pictures = tuple(picture_from_image(image) for image in images)
    turns = [Turn(role, text) for role, text in talk]
    turns[0] = Turn("user", talk[0][1], pictures)
    return Conversation(tuple(turns), system=system)


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("adds_bos", [False, True])
@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({}, [(37, 20)]),
        ({"image_aspect": "square"}, [(37, 20)]),
        ({"projector": "linear"}, [(20, 37), (24, 24)]),
        ({"select_feature": "cls_patch", "select_layer": -1, "tied": True}, [(16, 64)]),
    ],
)
def test_the_whole_road_gives_the_same_logits(
    make_checkpoint: Make,
    make_llama_tokenizer: Callable[..., PreTrainedTokenizerFast],
    tmp_path: Path,
    changes: dict[str, Any],
    sizes: list[tuple[int, int]],
    adds_bos: bool,
) -> None:
    ours = make_checkpoint(tokenizer=make_llama_tokenizer(adds_bos=adds_bos), **changes)
    save_checkpoint(ours, tmp_path, max_shard_bytes=200_000)
    images = [noise(*size) for size in sizes]

    processor = AutoProcessor.from_pretrained(tmp_path)
    theirs, report = LlavaForConditionalGeneration.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    text = processor.apply_chat_template(
        as_messages(TALK, len(images)), add_generation_prompt=True, tokenize=False
    )
    inputs = processor(images=images, text=text, return_tensors="pt", add_special_tokens=False)
    made = tokenize(
        as_conversation(TALK, images),
        ours.tokenizer,
        template=ours.template,
        picture_tokens=lambda _: ours.model.tokens_per_picture,
        image_token_id=ours.model.config.image_token_id,
    )
    assert inputs["input_ids"][0].tolist() == list(made.ids)
    pixels = torch.cat([ours.pixels(span.picture) for span in made.spans])
    assert (inputs["pixel_values"] - pixels).abs().max() < 1e-5
    with torch.no_grad():
        expected = theirs(**inputs).logits
        embeds = ours.model.embed(torch.tensor([made.ids]), ours.model.image_features(pixels))
        assert (ours.model(embeds) - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("size", [(37, 20), (20, 37)])
def test_padding_has_the_colour_of_the_checkpoints_own_mean(
    make_checkpoint: Make, tmp_path: Path, size: tuple[int, int]
) -> None:
    made = make_checkpoint()
    ours = replace(made.pixels, mean=(0.5, 0.25, 1.0), std=(0.5, 0.3, 0.2))
    save_checkpoint(replace(made, pixels=ours), tmp_path)
    image = noise(*size)
    processor = AutoProcessor.from_pretrained(tmp_path).image_processor
    expected = processor(images=[image], return_tensors="pt")["pixel_values"][0]
    assert (ours(picture_from_image(image))[0] - expected).abs().max() < 1e-5


def test_the_colour_of_padding_is_one_whatever_the_mean() -> None:
    assert Preprocessing(24).pad_colour == PAD_COLOUR
    assert Preprocessing(24, mean=(-1.0, 1e308, 0.999)).pad_colour == (0, 255, 254)


def test_transformers_generates_from_a_conversation_in_one_call(
    make_checkpoint: Make, tmp_path: Path
) -> None:
    ours = make_checkpoint()
    save_checkpoint(ours, tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    theirs = LlavaForConditionalGeneration.from_pretrained(tmp_path)
    messages = as_messages(TALK, 1)
    messages[0]["content"][0] = {"type": "image", "image": noise(30, 20)}
    inputs = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    assert int((inputs["input_ids"] == ours.tokenizer.bos_token_id).sum()) == 1
    generated = theirs.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert generated.shape[1] == inputs["input_ids"].shape[1] + 3


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("system", [None, "Be kind.", ""])
@pytest.mark.parametrize("pictures", [0, 1, 2])
@pytest.mark.parametrize("asked", ["What is in the picture?", ""])
def test_the_chat_template_writes_our_prompt(
    llama_like: PreTrainedTokenizerFast, name: str, system: str | None, pictures: int, asked: str
) -> None:
    talk = (("user", asked), *TALK[1:])
    messages = as_messages(talk, pictures)
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    template = TEMPLATES[name]
    rendered = llama_like.apply_chat_template(
        messages,
        chat_template=jinja_chat_template(template),
        add_generation_prompt=True,
        tokenize=False,
    )
    expected = prompt(as_conversation(talk, [noise(2, 2)] * pictures, system), name)
    assert rendered == ("<s>" if template.bos and not template.open else "") + expected
