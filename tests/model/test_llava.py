"""Our LLaVA computes what transformers' own class computes with the same weights."""

from collections.abc import Callable

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from llava_chat.model.llava import LlavaModel, parameter_count

Make = Callable[..., LlavaModel]
Twin = Callable[[LlavaModel], LlavaForConditionalGeneration]

IMAGE_TOKEN = 64
PATCHES = 9
ROUNDING = 1e-5


def prompt(*pieces: int | str) -> list[int]:
    """Ids, where 'picture' stands for as many placeholders as a picture has patches."""
    ids: list[int] = []
    for piece in pieces:
        ids += [IMAGE_TOKEN] * PATCHES if piece == "picture" else [int(piece)]
    return ids


PROMPTS = {
    "no picture": prompt(1, 5, 6, 7),
    "one picture": prompt(1, 5, "picture", 6, 7, 8),
    "two pictures": prompt(1, "picture", 9, 10, "picture", 11),
}


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", PROMPTS)
def test_logits_equal_transformers(
    name: str, tiny: LlavaModel, make_twin: Twin, pixels: torch.Tensor
) -> None:
    ids = torch.tensor([PROMPTS[name]])
    count = int((ids == IMAGE_TOKEN).sum()) // PATCHES
    seen = pixels[:count] if count else None
    with torch.no_grad():
        theirs = make_twin(tiny)(input_ids=ids, pixel_values=seen).logits
        ours = tiny(tiny.embed(ids, None if seen is None else tiny.image_features(seen)))
    assert theirs.std() > 0.1
    assert (ours - theirs).abs().max() <= ROUNDING


@pytest.mark.parametrize("select_layer", [-1, -2, -4, 2])
@pytest.mark.parametrize("select_feature", ["patch", "cls_patch"])
def test_every_selection_equals_transformers(
    select_layer: int, select_feature: str, make_llava: Make, make_twin: Twin, pixels: torch.Tensor
) -> None:
    model = make_llava(select_layer=select_layer, select_feature=select_feature)
    count = PATCHES + (select_feature == "cls_patch")
    assert model.tokens_per_picture == count
    ids = torch.tensor([[1] + [IMAGE_TOKEN] * count + [5]])
    with torch.no_grad():
        theirs = make_twin(model)(input_ids=ids, pixel_values=pixels[:1]).logits
        ours = model(model.embed(ids, model.image_features(pixels[:1])))
    assert (ours - theirs).abs().max() <= ROUNDING


def test_batch_of_unequal_lengths_equals_transformers_and_each_alone(
    tiny: LlavaModel, make_twin: Twin, pixels: torch.Tensor
) -> None:
    texts = [PROMPTS["one picture"], PROMPTS["no picture"], prompt(1, "picture", 5)]
    longest = max(map(len, texts))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    with torch.no_grad():
        features = tiny.image_features(pixels)
        ours = tiny(tiny.embed(ids, features), attention_mask=mask)
        theirs = make_twin(tiny)(input_ids=ids, pixel_values=pixels, attention_mask=mask).logits
        alone = [
            tiny(tiny.embed(torch.tensor([texts[0]]), features[:1])),
            tiny(tiny.embed(torch.tensor([texts[1]]))),
            tiny(tiny.embed(torch.tensor([texts[2]]), features[1].contiguous())),
        ]
    for row, text in enumerate(texts):
        assert (ours[row, : len(text)] - theirs[row, : len(text)]).abs().max() <= ROUNDING
        assert (ours[row, : len(text)] - alone[row][0]).abs().max() <= ROUNDING


def test_placeholder_beyond_the_vocabulary(make_llava: Make, pixels: torch.Tensor) -> None:
    near, far = make_llava(), make_llava(image_token_id=32_000)
    ids = torch.tensor([PROMPTS["one picture"]])
    with torch.no_grad():
        features = near.image_features(pixels[:1])
        expected = near.embed(ids, features)
        got = far.embed(ids.masked_fill(ids == IMAGE_TOKEN, 32_000), features)
    assert torch.equal(got, expected)


def test_a_wrong_number_of_rows_is_refused(tiny: LlavaModel, pixels: torch.Tensor) -> None:
    ids = torch.tensor([PROMPTS["one picture"]])
    with pytest.raises(ValueError, match="9 picture tokens but 18 rows"):
        tiny.embed(ids, tiny.image_features(pixels))
    with pytest.raises(ValueError, match="9 picture tokens but 0 rows"):
        tiny.embed(ids)


def test_gradient_reaches_projector_and_words_but_never_the_tower(
    tiny: LlavaModel, pixels: torch.Tensor
) -> None:
    tiny.train()
    assert tiny.training and not any(module.training for module in tiny.tower.modules())
    before = [parameter.clone() for parameter in tiny.tower.parameters()]
    tiny.requires_grad_(True)
    ids = torch.tensor([PROMPTS["one picture"]])
    tiny(tiny.embed(ids, tiny.image_features(pixels[:1]))).sum().backward()
    assert all(parameter.grad is None for parameter in tiny.tower.parameters())
    assert all(parameter.grad is not None for parameter in tiny.projector.parameters())
    assert all(parameter.grad is not None for parameter in tiny.language_model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, tiny.tower.parameters(), strict=True))


def test_unread_layers_are_not_built(make_llava: Make) -> None:
    whole, cut = (make_llava(select_layer=layer) for layer in (-1, -3))
    assert len(whole.tower.vision.encoder.layers) == 4
    assert len(cut.tower.vision.encoder.layers) == 2
    assert parameter_count(cut) < parameter_count(whole)
    assert cut.config.vision.num_hidden_layers == 4
