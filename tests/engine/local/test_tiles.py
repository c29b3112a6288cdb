"""LLaVA-1.6 in the engine: a picture's rows depend on its size, and are counted before it is seen.

The tower and the pinpoints have the sizes of the published models, so that the counts are theirs;
its layers are small and random.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from PIL import Image
from transformers import CLIPVisionConfig, LlamaConfig, PreTrainedTokenizerFast

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, GenerationSettings, Looking
from llava_chat.engine.local import LocalEngine
from llava_chat.errors import ContextFullError
from llava_chat.image import Picture, picture_from_image
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.model.layouts.description import GRID_PINPOINTS
from llava_chat.model.llava import LlavaConfig, LlavaModel
from llava_chat.model.preprocessing import Preprocessing

GREEDY = GenerationSettings(temperature=0, max_new_tokens=6)
CONTEXT_TOKENS = 4096
SMALLEST_ROWS = 1176  # of a picture of one pixel: a base view, and two tiles that half of it fills


@pytest.fixture(scope="module")
def tiled(llama_like: PreTrainedTokenizerFast) -> Checkpoint:
    """CLIP 16x1 at 336/14, LLaMA 32x1, the context of Vicuna."""
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=336,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=len(llama_like),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT_TOKENS,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    config = LlavaConfig(
        vision,
        text,
        image_token_id=llama_like.convert_tokens_to_ids("<image>"),
        image_aspect="anyres",
        grid_pinpoints=GRID_PINPOINTS,
    )
    torch.manual_seed(0)
    model = LlavaModel(config).eval()
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.2
    model.language_model.lm_head.weight.data[2] = 0
    return Checkpoint(
        model, llama_like, "tiled", "1", "vicuna_v1", "random weights", Preprocessing.of(config)
    )


@pytest.fixture
def engine(tiled: Checkpoint, make_engine: Callable[..., LocalEngine]) -> LocalEngine:
    """An engine around it."""
    return make_engine(tiled)


def drawn(width: int, height: int, colour: int = 0) -> Picture:
    return picture_from_image(Image.linear_gradient("L").resize((width, height)).point(
        lambda level: level ^ colour
    ))  # fmt: skip


def asked(*pictures: Picture) -> Conversation:
    return Conversation((Turn("user", "What is it?", pictures),), system="Be brief.")


@pytest.mark.parametrize(
    ("size", "rows"),
    [((672, 672), 2928), ((640, 480), 2340), ((1920, 1080), 1948), ((200, 200), 1176)],
)
def test_a_picture_is_counted_exactly_before_anything_is_run(
    engine: LocalEngine,
    finish: Callable[..., Done],
    size: tuple[int, int],
    rows: int,
) -> None:
    smallest = engine.context_use(asked(drawn(1, 1))).prompt_tokens - SMALLEST_ROWS
    conversation = asked(drawn(*size))
    use = engine.context_use(conversation)
    assert use.prompt_tokens - smallest == rows
    done = finish(engine.stream(conversation, GREEDY))
    assert done.prompt_tokens == use.prompt_tokens
    assert (use.context_tokens, use.dropped_turns) == (CONTEXT_TOKENS, 0)


def test_the_next_turn_pays_only_for_what_is_new(
    engine: LocalEngine, finish: Callable[..., Done]
) -> None:
    first_turn = asked(drawn(672, 672))
    first = finish(engine.stream(first_turn, GREEDY))
    turns = (
        *first_turn.turns,
        Turn("assistant", first.text, token_ids=first.token_ids),
        Turn("user", "And where?"),
    )
    second = finish(engine.stream(Conversation(turns, system="Be brief."), GREEDY))
    assert second.reused_tokens >= first.prompt_tokens


def test_the_older_of_two_large_pictures_gives_way(
    engine: LocalEngine, finish: Callable[..., Done]
) -> None:
    turns = (
        *asked(drawn(672, 672)).turns,
        Turn("assistant", "A slope."),
        Turn("user", "And this?", (drawn(672, 672, 255),)),
    )
    conversation = Conversation(turns, system="Be brief.")
    use = engine.context_use(conversation)
    assert (use.dropped_turns, use.dropped_pictures) == (2, 1)
    assert 2928 < use.prompt_tokens < CONTEXT_TOKENS
    looking, *_, done = engine.stream(conversation, GREEDY)
    assert isinstance(looking, Looking) and isinstance(done, Done)
    assert (looking.pictures, done.dropped_turns) == (1, 2)


def test_two_large_pictures_in_one_message_are_refused_in_numbers(engine: LocalEngine) -> None:
    both = asked(drawn(672, 672), drawn(672, 672, 255))
    with pytest.raises(ContextFullError, match=r"takes 58\d\d tokens .* of the model's 4096"):
        engine.context_use(both)


def test_pictures_of_several_sizes_stand_where_they_belong(
    engine: LocalEngine,
    tiled: Checkpoint,
    finish: Callable[..., Done],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What reaches the language model is each picture's own rows, in the order of the pictures."""
    small, wide = drawn(20, 30), drawn(900, 200, 255)
    given: list[torch.Tensor] = []
    embed = tiled.model.embed

    def listening(ids: torch.Tensor, features: torch.Tensor | None = None) -> torch.Tensor:
        given.extend([] if features is None else [features])
        return embed(ids, features)

    monkeypatch.setattr(tiled.model, "embed", listening)
    finish(engine.stream(asked(small, wide), GREEDY))
    with torch.inference_mode():
        rows = [
            tiled.model.picture_rows(tiled.pixels(each), each.width, each.height)
            for each in (small, wide)
        ]
    # 900 x 200 on 1008 x 336: 16 of 24 rows of 72 patches and a newline, and the base view's 576.
    assert [len(each) for each in rows] == [tiled.model.tokens_of(20, 30), 16 * 73 + 576]
    (features,) = given
    assert torch.equal(features, torch.cat(rows))
