"""Labels lie on the assistant's words and their end, and on nothing else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast

from llava_chat.conversation import Conversation, Turn
from llava_chat.errors import TrainingDataError
from llava_chat.image import Picture, picture_from_image
from llava_chat.tokens import IGNORED
from llava_chat.training.batch import (
    SkippedSample,
    TokenSample,
    collate,
    next_token_loss,
    token_sample,
)

PATCHES = 4
RED = picture_from_image(Image.new("RGB", (2, 2), "red"))
TALK = Conversation(
    (
        Turn("user", "What is it?", (RED,)),
        Turn("assistant", "A large red circle."),
        Turn("user", "How many?"),
        Turn("assistant", "Three."),
    )
)
Make = Callable[..., TokenSample]


def pixels(picture: Picture) -> np.ndarray:
    return np.full((1, 3, 2, 2), picture.rgb().getpixel((0, 0))[0], np.float32)  # type: ignore[index]


@pytest.fixture
def make(llama_like: PreTrainedTokenizerFast) -> Make:
    def make(conversation: Conversation = TALK, **changes: Any) -> TokenSample:
        options: dict[str, Any] = {
            "template": "vicuna_v1",
            "tokens_per_picture": PATCHES,
            "image_token_id": llama_like.get_vocab()["<image>"],
            "pixels": pixels,
            "max_tokens": 512,
        }
        return token_sample(conversation, llama_like, **(options | changes))

    return make


def learned(sample: TokenSample, tokenizer: PreTrainedTokenizerFast) -> str:
    kept = sample.labels != IGNORED
    assert (sample.labels[kept] == sample.ids[kept]).all()
    return str(tokenizer.decode(sample.ids[kept]))


def test_the_words_of_the_assistant_are_learned(
    make: Make, llama_like: PreTrainedTokenizerFast
) -> None:
    sample = make()
    assert learned(sample, llama_like) == "A large red circle.</s> Three.</s>"
    assert (sample.ids == llama_like.get_vocab()["<image>"]).sum() == PATCHES
    assert [picture.max() for picture in sample.pixels] == [255]


def test_stage_1_learns_the_caption_and_its_end(
    make: Make, llama_like: PreTrainedTokenizerFast
) -> None:
    caption = Conversation((Turn("user", "", (RED,)), Turn("assistant", "A red dot.")))
    sample = make(caption, template="plain")
    assert learned(sample, llama_like).strip() == "A red dot."
    assert sample.labels[-1] != IGNORED
    assert len(sample.ids) < PATCHES + 16


def test_a_long_conversation_is_cut(make: Make, llama_like: PreTrainedTokenizerFast) -> None:
    whole = make()
    cut = make(max_tokens=len(whole.ids) - 3)
    assert (cut.ids == whole.ids[:-3]).all() and (cut.labels == whole.labels[:-3]).all()


def test_a_cut_before_the_end_of_a_picture_is_refused(make: Make) -> None:
    first = make()
    end = int(np.flatnonzero(first.labels != IGNORED)[0])
    picture = int(np.flatnonzero(first.ids == first.ids.max())[0])
    for limit in range(picture, picture + PATCHES):
        with pytest.raises(TrainingDataError, match=f"row 7: a picture lies beyond .* {limit}"):
            make(max_tokens=limit, name="row 7")
    with pytest.raises(TrainingDataError, match="row 7: it holds no word of the assistant's"):
        make(max_tokens=end, name="row 7")
    assert make(max_tokens=end + 1).labels[-1] != IGNORED


def test_padding_is_never_learned(make: Make) -> None:
    text = Conversation((Turn("user", "Hi"), Turn("assistant", "Hello")))
    samples = [make(), make(text)]
    for length in (None, 300):
        batch = collate(samples, pad_id=9, length=length)
        longest = length or len(samples[0].ids)
        assert batch.ids.shape == batch.labels.shape == (2, longest)
        for row, sample in enumerate(samples):
            size = len(sample.ids)
            assert batch.ids[row, :size].tolist() == sample.ids.tolist()
            assert batch.labels[row, :size].tolist() == sample.labels.tolist()
            assert set(batch.ids[row, size:].tolist()) <= {9}
            assert set(batch.labels[row, size:].tolist()) <= {IGNORED}
        assert batch.pixels is not None and batch.pixels.shape == (1, 3, 2, 2)
    assert collate(samples[1:]).pixels is None


def test_what_is_skipped_takes_no_row(make: Make) -> None:
    batch = collate([SkippedSample("row 3: broken"), make(name="row 4"), SkippedSample("row 5")])
    assert batch.ids.shape[0] == 1 and batch.names == ("row 4",)
    assert batch.skipped == ("row 3: broken", "row 5")
    nothing = collate([SkippedSample("row 3")], length=7)
    assert nothing.ids.shape == nothing.labels.shape == (0, 7) and nothing.pixels is None
    assert collate([SkippedSample("row 3")]).ids.shape == (0, 0)


def test_the_loss_is_that_of_the_labelled_tokens() -> None:
    torch.manual_seed(0)
    hidden, head = torch.randn(2, 5, 8), torch.nn.Linear(8, 11)
    labels = torch.tensor([[IGNORED, 3, 4, IGNORED, 7], [1, IGNORED, IGNORED, 10, IGNORED]])
    logits = head(hidden)
    expected = torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, 11), labels[:, 1:].reshape(-1), ignore_index=IGNORED
    )
    assert torch.allclose(next_token_loss(hidden, labels, head), expected)
