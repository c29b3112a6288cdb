"""Texts that share a row: the logits and the loss of rows of their own, on both attentions."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from llava_chat.model.checkpoint import Checkpoint
from llava_chat.tokens import IGNORED
from llava_chat.training.batch import TokenBatch, TokenSample, collate, next_token_loss

New = Callable[[], Checkpoint]
PICTURE = 4  # rows of features, of the tiny checkpoint's tower


def samples_of(checkpoint: Checkpoint) -> list[TokenSample]:
    """Texts of 1 to 40 tokens, and two pictures with words among them."""
    rng = np.random.default_rng(0)
    image = checkpoint.model.config.image_token_id
    made: list[TokenSample] = []
    for number, length in enumerate((40, 3, 17, 1, 9, 40, 6, 5, 12, 2)):
        ids = rng.integers(3, 300, length)
        ids[ids == image] = 3
        pixels: tuple[np.ndarray, ...] = ()
        if number in (2, 8):
            ids[1 : 1 + PICTURE] = image
            pixels = (rng.standard_normal((1, 3, 28, 28)).astype(np.float32),)
        labels = np.where(rng.random(length) < 0.6, ids, IGNORED)
        made.append(TokenSample(ids, np.where(ids == image, IGNORED, labels), pixels, str(number)))
    return made


def read(checkpoint: Checkpoint, batch: TokenBatch) -> tuple[Tensor, Tensor]:
    """The decoder's hidden states (B, T, D), and the loss."""
    model = checkpoint.model
    features = None if batch.pixels is None else model.image_features(batch.pixels)
    hidden = model.language_model.model(
        inputs_embeds=model.embed(batch.ids, features),
        position_ids=batch.positions,
        use_cache=False,
    ).last_hidden_state
    return hidden, next_token_loss(hidden, batch.labels, model.language_model.lm_head)


def places(batch: TokenBatch, samples: list[TokenSample]) -> Iterator[tuple[int, int, int]]:
    """The row, start and number of each sample's ids in a batch."""
    for number, sample in enumerate(samples):
        size = len(sample.ids)
        wanted = torch.from_numpy(sample.ids)
        for row in range(len(batch.ids)):
            starts = range(batch.ids.shape[1] - size + 1)
            if batch.positions is not None:
                starts = [s for s in starts if batch.positions[row, s] == 0]  # type: ignore[assignment]
            found = [s for s in starts if torch.equal(batch.ids[row, s : s + size], wanted)]
            if found:
                yield row, found[0], number
                break


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_rows_are_read_as_rows_of_their_own(new_checkpoint: New, attention: str) -> None:
    checkpoint = new_checkpoint()
    checkpoint.model.language_model.model.set_attn_implementation(attention)
    checkpoint.model.requires_grad_(True)
    samples = samples_of(checkpoint)
    apart, packed = collate(samples), collate(samples, pack=True)
    assert apart.positions is None and packed.positions is not None
    assert packed.ids.shape == (5, 40) and apart.ids.shape == (10, 40)
    assert sorted(packed.names) == sorted(apart.names)

    wanted, wanted_loss = read(checkpoint, apart)
    found, found_loss = read(checkpoint, packed)
    seen = 0
    for row, start, number in places(packed, samples):
        size = len(samples[number].ids)
        torch.testing.assert_close(found[row, start : start + size], wanted[number, :size])
        seen += 1
    assert seen == len(samples)
    torch.testing.assert_close(found_loss, wanted_loss)
    head = checkpoint.model.language_model.lm_head.weight
    (one,) = torch.autograd.grad(wanted_loss, head)
    (other,) = torch.autograd.grad(found_loss, head)
    torch.testing.assert_close(other, one)
    # Without the positions the texts would see each other, which this very check would notice.
    mixed = read(checkpoint, TokenBatch(packed.ids, packed.labels, packed.pixels))[1]
    assert abs(float(mixed.detach() - wanted_loss.detach())) > 1e-4


def test_a_batch_that_cannot_share_is_left_as_it_is() -> None:
    long = [
        TokenSample(np.arange(5), np.arange(5), ()),
        TokenSample(np.arange(4), np.arange(4), ()),
    ]
    batch = collate(long, pack=True)
    assert batch.positions is None
    assert batch.labels[:, 0].tolist() == [0, 0]
    assert collate(long, pack=True, length=9).ids.shape == (1, 9)


def test_names_are_in_the_order_of_rows_for_a_loss_that_is_none_is_told_by_them() -> None:
    pixels = (np.zeros((1, 1, 1, 1), np.float32),)
    sizes = {"short": 4, "long": 5, "picture": 5}
    made = [
        TokenSample(np.full(size, size), np.arange(size), pixels if name == "picture" else (), name)
        for name, size in sizes.items()
    ]
    batch = collate(made, pack=True)
    assert batch.positions is None and batch.names == ("picture", "long", "short")
    assert [int((row > 0).sum()) for row in batch.ids] == [5, 5, 4]


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=20),
    more=st.none() | st.integers(12, 20),
)
def test_nothing_is_lost_by_packing(sizes: list[tuple[int, bool]], more: int | None) -> None:
    samples, first = [], 1
    for size, shown in sizes:
        ids = np.arange(first, first + size)
        pixels = (np.full((1, 1, 1, 1), float(first), np.float32),) if shown else ()
        samples.append(TokenSample(ids, ids.copy(), pixels, str(first)))
        first += size
    batch = collate(samples, pack=True, length=more)
    kept = batch.ids[batch.ids > 0]
    assert sorted(kept.tolist()) == list(range(1, first))
    # The pictures stand in the order of their rows, each alone in its own.
    firsts = [sample.ids[0] for sample in samples if sample.pixels]
    assert [int(row[0]) for row in batch.ids[: len(firsts)]] == firsts
    assert ([] if batch.pixels is None else batch.pixels.flatten().tolist()) == firsts
    texts = sum(size for size, shown in sizes if not shown)
    shared = len(batch.ids) - len(firsts)
    assert shared * batch.ids.shape[1] < 2 * texts + batch.ids.shape[1]
