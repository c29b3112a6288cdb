"""A tiny, random, complete checkpoint; engines around it; transformers' own class beside it."""

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig as TransformersConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from llava_chat.engine.base import Done, Event, GenerationSettings
from llava_chat.engine.local import LocalEngine
from llava_chat.image import Picture, picture_from_image
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.model.llava import LlavaConfig, LlavaModel
from llava_chat.model.preprocessing import Preprocessing
from llava_chat.tokens import Prompt

PADDING_ROWS = 5
GREEDY = GenerationSettings(temperature=0, max_new_tokens=12)


def tiny_checkpoint(tokenizer: PreTrainedTokenizerFast, context_tokens: int = 4096) -> Checkpoint:
    """CLIP 32x2 at 28/14, LLaMA 64x2. Its greedy replies never end by themselves."""
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer) + PADDING_ROWS,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context_tokens,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    config = LlavaConfig(vision, text, image_token_id=tokenizer.convert_tokens_to_ids("<image>"))
    torch.manual_seed(0)
    model = LlavaModel(config).eval()
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.15
    # The end token's logit is always 0, so some other word is likelier.
    model.language_model.lm_head.weight.data[2] = 0
    return Checkpoint(
        model, tokenizer, "tiny", "1", "vicuna_v1", "random weights", Preprocessing.of(config)
    )


@pytest.fixture(scope="session")
def checkpoint(llama_like: PreTrainedTokenizerFast) -> Checkpoint:
    """The tiny checkpoint; nobody may change it."""
    return tiny_checkpoint(llama_like)


@pytest.fixture
def make_engine(checkpoint: Checkpoint) -> Iterator[Callable[..., LocalEngine]]:
    """Build engines around the tiny checkpoint, or another; they are closed in the end."""
    engines: list[LocalEngine] = []

    def make(source: Checkpoint = checkpoint, **options: Any) -> LocalEngine:
        engines.append(LocalEngine(source, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close(grace_s=0)


@pytest.fixture
def engine(make_engine: Callable[..., LocalEngine]) -> LocalEngine:
    """An engine with the default options."""
    return make_engine()


@pytest.fixture(scope="session")
def make_picture() -> Callable[..., Picture]:
    """Noise that depends on `number` only; pictures of equal size differ in nothing but pixels."""

    def make(number: int, size: tuple[int, int] = (40, 30)) -> Picture:
        noise = random.Random(number).randbytes(size[0] * size[1] * 3)
        return picture_from_image(Image.frombytes("RGB", size, noise))

    return make


@pytest.fixture(scope="session")
def finish() -> Callable[..., Done]:
    """Run a reply to its end and return its Done."""

    def run(events: Iterator[Event]) -> Done:
        *_, last = events
        assert isinstance(last, Done), last
        return last

    return run


@pytest.fixture(scope="session")
def generate(checkpoint: Checkpoint) -> Callable[[Prompt, int], tuple[int, ...]]:
    """Greedy ids that transformers' own LLaVA generates from nothing, with the same weights."""
    twin = transformers_twin(checkpoint.model)

    def run(prompt: Prompt, max_new_tokens: int) -> tuple[int, ...]:
        ids = torch.tensor([prompt.ids])
        pixels = [checkpoint.pixels(span.picture) for span in prompt.spans]
        seen = {"pixel_values": torch.cat(pixels)} if pixels else {}
        produced = twin.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            **seen,
            do_sample=False,
            max_new_tokens=max_new_tokens,
            suppress_tokens=list(checkpoint.suppressed_ids),
        )
        new = produced[0, ids.shape[1] :].tolist()
        return tuple(new[:-1] if new[-1] == 2 else new)

    return run


def transformers_twin(model: LlavaModel) -> LlavaForConditionalGeneration:
    """transformers' LLaVA with the weights of `model`; its unread CLIP layers stay random."""
    config = model.config
    twin = LlavaForConditionalGeneration(
        TransformersConfig(
            vision_config=config.vision,
            text_config=config.text,
            image_token_index=config.image_token_id,
            vision_feature_layer=config.select_layer,
            vision_feature_select_strategy="default",
        )
    ).eval()
    twin.model.vision_tower.load_state_dict(model.tower.vision.state_dict(), strict=False)
    twin.model.language_model.load_state_dict(model.language_model.model.state_dict())
    twin.lm_head.load_state_dict(model.language_model.lm_head.state_dict())
    projector = twin.model.multi_modal_projector
    projector.linear_1.load_state_dict(model.projector[0].state_dict())
    projector.linear_2.load_state_dict(model.projector[2].state_dict())
    return twin


class Gate:
    """Before the tower: a reply that looks at a picture is held there until the gate is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, *_: object) -> None:
        self.reached.set()
        assert self.open.wait(60)


@pytest.fixture
def gate(checkpoint: Checkpoint, make_engine: Callable[..., LocalEngine]) -> Iterator[Gate]:
    """A gate in the checkpoint; it is opened at the end of the test."""
    made = Gate()
    hook = checkpoint.model.tower.register_forward_pre_hook(made)
    yield made
    made.open.set()
    hook.remove()
