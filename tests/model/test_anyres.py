"""Packing and counting equal transformers' LlavaNext, and the views agree with both."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings, strategies as st
from PIL import Image
from torch import Tensor
from transformers import LlavaNextConfig, PreTrainedTokenizerFast
from transformers.models.llava_next import modeling_llava_next as theirs
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor

from llava_chat.image import views_of
from llava_chat.model.anyres import MAX_TILES, pack, pinpoints_from, token_count, unpadded

# As the configurations of both layouts list them.
PUBLISHED = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
FLAT_FIRST = pinpoints_from(PUBLISHED, 336)
UPRIGHT_FIRST = pinpoints_from(PUBLISHED, 336, width_first=True)
TOWER: dict[str, Any] = {"grid_pinpoints": FLAT_FIRST, "size_px": 336}
NEWLINE = torch.full((2,), -1.0)
SIDES = st.integers(1, 16_384)
# Of 336 x 336 pixels; where transformers and the reference round otherwise; strips; whole grids.
SIZES = [
    (1, 1),
    (200, 200),
    (300, 200),
    (200, 300),
    (335, 336),
    (336, 672),
    (672, 336),
    (672, 672),
    (1008, 336),
    (336, 1008),
    (640, 480),
    (480, 640),
    (704, 396),
    (396, 704),
    (1920, 1080),
    (899, 1024),
    (3, 2000),
    (2000, 3),
    (16_384, 1),
    (1, 16_384),
    (5000, 700),
]


def features(views: int, patches: int = 576) -> Tensor:
    return torch.randn(views, patches, 2, generator=torch.Generator().manual_seed(views))


def packed_by_transformers(given: Tensor, width: int, height: int, config: Any) -> Tensor:
    """By the method of transformers' model, which reads nothing of it but its configuration."""
    (rows,), lengths = theirs.LlavaNextModel.pack_image_features(
        SimpleNamespace(config=config), [given], torch.tensor([[height, width]]), "default", NEWLINE
    )
    assert lengths.tolist() == [len(rows)]
    return rows


@pytest.mark.parametrize("pinpoints", [FLAT_FIRST, UPRIGHT_FIRST], ids=["flat", "upright"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_packs_as_transformers_does(width: int, height: int, pinpoints: Any) -> None:
    config = LlavaNextConfig(image_grid_pinpoints=[list(pair) for pair in pinpoints])
    views = theirs.image_size_to_num_patches((height, width), config.image_grid_pinpoints, 336)
    given = features(views)
    packed = pack(
        given, width, height, grid_pinpoints=pinpoints, size_px=336, newline=NEWLINE.double()
    )
    assert torch.equal(packed, packed_by_transformers(given, width, height, config))
    assert len(packed) == token_count(
        width, height, grid_pinpoints=pinpoints, size_px=336, patches_per_side=24
    )


@pytest.fixture(scope="module")
def processor(llama_like: PreTrainedTokenizerFast) -> LlavaNextProcessor:
    images = LlavaNextImageProcessorPil(size={"shortest_edge": 336}, image_grid_pinpoints=PUBLISHED)
    return LlavaNextProcessor(
        images,
        llama_like,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


@given(width=SIDES, height=SIDES)
@example(49, 1176)
def test_counts_as_transformers_processor_does(
    processor: LlavaNextProcessor, width: int, height: int
) -> None:
    expected = processor._get_num_multimodal_tokens([(height, width)])["num_image_tokens"]
    assert [token_count(width, height, **TOWER, patches_per_side=24)] == expected


@settings(deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), data=st.data())
def test_views_features_and_count_agree_whatever_the_grid(
    width: int, height: int, data: st.DataObject
) -> None:
    side = st.integers(1, 4).map(lambda tiles: 12 * tiles)
    tower = {
        "grid_pinpoints": data.draw(st.lists(st.tuples(side, side), max_size=5)),
        "size_px": 12,
    }
    views = views_of(Image.new("RGB", (width, height)), tower["grid_pinpoints"], 12)
    packed = pack(features(len(views), 9), width, height, **tower, newline=NEWLINE)
    assert len(packed) == token_count(width, height, **tower, patches_per_side=3)
    ends = (packed == NEWLINE).all(1)
    assert not ends[:9].any()
    if lines := int(ends.sum()):
        of_a_line = ends[9:].view(lines, -1)
        assert of_a_line[:, -1].all() and not of_a_line[:, :-1].any()


def test_whole_tiles_are_put_together_line_by_line() -> None:
    # Each feature is where its patch lies in the picture: (x, y).
    patches = torch.cartesian_prod(torch.arange(2.0), torch.arange(2.0)).flip(1)
    corners = torch.tensor([(0, 0), (2, 0), (0, 2), (2, 2)])
    tiles = torch.stack([patches, *(patches + corner for corner in corners)])
    packed = pack(tiles, 4, 4, grid_pinpoints=[(4, 4)], size_px=2, newline=NEWLINE)
    lines = [[[x, y] for x in range(4)] + [[-1, -1]] for y in range(4)]
    assert packed[:4].tolist() == patches.tolist()
    assert packed[4:].view(4, 5, 2).tolist() == lines


def test_a_picture_without_tiles_ends_with_one_newline() -> None:
    given = features(1)
    packed = pack(given, 640, 480, grid_pinpoints=(), size_px=336, newline=NEWLINE)
    assert torch.equal(packed, packed_by_transformers(given, 640, 480, None))
    count = token_count(640, 480, grid_pinpoints=(), size_px=336, patches_per_side=24)
    assert len(packed) == count == 577


def test_gradient_reaches_the_features_that_are_kept_and_the_newline() -> None:
    given, newline = features(5).requires_grad_(), NEWLINE.clone().requires_grad_()
    pack(given, 640, 480, **TOWER, newline=newline).sum().backward()
    assert newline.grad is not None and newline.grad.tolist() == [36, 36]
    assert given.grad is not None and given.grad[..., 0].sum() == 576 + 36 * 48


@pytest.mark.parametrize(("views", "patches"), [(3, 576), (5, 577)])
def test_features_of_other_views_are_refused(views: int, patches: int) -> None:
    with pytest.raises(ValueError, match=r"640 x 480 pixels has 5 views .* but features of"):
        pack(features(views, patches), 640, 480, **TOWER, newline=NEWLINE)


def test_sizes_where_the_reference_rounds_otherwise() -> None:
    """llava_arch.py's unpad_image cuts what the division gives; here are its rows for 704 x 396."""
    cut = int(396 * (48 / 704))
    assert (cut, 396 * 48 / 704) == (26, 27)
    assert 48 - 2 * ((48 - cut) // 2) == 26
    assert unpadded(704, 396, 48, 48) == (28, 48)


def test_the_order_of_the_pinpoints_decides_for_small_pictures_only() -> None:
    def rows(width: int, height: int, pinpoints: Any) -> int:
        tower = {"grid_pinpoints": pinpoints, "size_px": 336, "patches_per_side": 24}
        return token_count(width, height, **tower)

    assert (rows(300, 200, UPRIGHT_FIRST), rows(300, 200, FLAT_FIRST)) == (976, 1464)
    for width in range(10, 1300, 43):
        for height in range(10, 1300, 31):
            if max(width, height) > 336:
                assert rows(width, height, UPRIGHT_FIRST) == rows(width, height, FLAT_FIRST)


def test_pinpoints_of_both_layouts() -> None:
    assert [list(pinpoint) for pinpoint in FLAT_FIRST] == PUBLISHED
    assert [[width, height] for height, width in UPRIGHT_FIRST] == PUBLISHED
    assert pinpoints_from(str([tuple(pair) for pair in PUBLISHED]), 336) == FLAT_FIRST
    assert pinpoints_from([[336, 336 * MAX_TILES]], 336) == ((336, 336 * MAX_TILES),)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [[336]],
        [[336, 672, 3]],
        [[336, 500]],
        [[0, 336]],
        [[-336, 336]],
        [[336.0, 336]],
        [[True, 336]],
        [["336", 336]],
        [[336, 336 * (MAX_TILES + 1)]],
        [[336 * 10**9, 336 * 10**9]],
        "(1x1),...,(6x6)",
        "__import__('os')",
        "(" * 100_000,
        5,
    ],
)
def test_pinpoints_that_cannot_be_used(value: Any) -> None:
    with pytest.raises(ValueError, match="image_grid_pinpoints must be a list of pairs") as no:
        pinpoints_from(value, 336)
    assert len(str(no.value)) < 300
