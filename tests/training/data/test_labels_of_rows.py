"""From a row's JSON to the labels of a batch: the answers and their ends, and not a word more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from transformers import PreTrainedTokenizerFast

from llava_chat.errors import TrainingDataError
from llava_chat.image import Picture
from llava_chat.templates import TEMPLATES
from llava_chat.tokens import IGNORED
from llava_chat.training.batch import TokenBatch, TokenSample, collate, token_sample
from llava_chat.training.data import open_rows
from tests.test_labels import BYTE_LEVEL, TEXT, Talk, expected, learned_text

ANSWER = TEXT.filter(str.strip)
QUESTION = TEXT.map(lambda text: text.replace("<image>", "<img>"))
TALK: st.SearchStrategy[Talk] = st.lists(
    st.tuples(QUESTION, st.integers(0, 3), ANSWER), min_size=1, max_size=3
)


def row_of(talk: Talk) -> dict[str, object]:
    messages: list[dict[str, str]] = []
    for asked, count, answer in talk:
        messages.append({"from": "human", "value": "<image>" * count + asked})
        messages.append({"from": "gpt", "value": answer})
    names = [f"{number}.png" for number in range(sum(count for _, count, _ in talk))]
    return {"image": names, "conversations": messages}


def texts(batch: TokenBatch, samples: list[TokenSample]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The ids and labels of each text in a batch, cut where its positions begin anew."""
    for row in range(len(batch.ids)):
        positions = np.arange(batch.ids.shape[1])
        if batch.positions is not None:
            positions = batch.positions[row].numpy()
        starts = np.flatnonzero(positions == 0)
        for start, end in zip(starts, [*starts[1:], len(positions)], strict=True):
            yield batch.ids[row, start:end].numpy(), batch.labels[row, start:end].numpy()


@pytest.mark.parametrize("name", TEMPLATES)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(talks=st.lists(TALK, min_size=1, max_size=4), pack=st.booleans(), cut=st.integers(1, 400))
def test_the_labels_of_a_batch_decode_to_the_answers(
    name: str, talks: list[Talk], pack: bool, cut: int, request: pytest.FixtureRequest
) -> None:
    kind = "byte_level" if name in BYTE_LEVEL else "llama_with_marks"
    tokenizer: PreTrainedTokenizerFast = request.getfixturevalue(kind)
    picture: Picture = request.getfixturevalue("pictures")[1]
    folder: Path = request.getfixturevalue("tmp_path")
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row_of(talk)) for talk in talks))
    rows = open_rows(folder / "rows.jsonl", folder)

    def sample_of(number: int, max_tokens: int) -> TokenSample:
        return token_sample(
            rows.instruction(number).conversation(lambda _: picture),
            tokenizer,
            template=name,
            tokens_per_picture=2,
            image_token_id=tokenizer.get_vocab()["<image>"],
            pixels=lambda _: np.zeros((1, 3, 1, 1), np.float32),
            max_tokens=max_tokens,
        )

    samples = [sample_of(number, 10**6) for number in range(len(talks))]
    batch = collate(samples, pad_id=7, pack=pack)
    found = list(texts(batch, samples))
    for ids, labels in found:
        assert ((labels == IGNORED) | (labels == ids)).all()
    decoded = sorted(learned_text(labels.tolist(), tokenizer) for _, labels in found)
    wanted = ["".join(expected(as_read(talk), TEMPLATES[name])) for talk in talks]
    # What is behind the last text of a shared row is padding, of which nothing is learned.
    assert [text for text in decoded if text] == sorted(wanted)
    assert batch.positions is None or (pack and len(batch.ids) < len(samples))

    try:
        part = sample_of(0, cut)
    except TrainingDataError:
        whole = samples[0]
        pictures = np.flatnonzero(whole.ids == tokenizer.get_vocab()["<image>"])
        assert (whole.labels[:cut] == IGNORED).all() or (pictures >= cut).any()
    else:
        assert (part.ids == samples[0].ids[:cut]).all()
        assert (part.labels == samples[0].labels[:cut]).all()


def as_read(talk: Talk) -> Talk:
    """The words of a question with pictures lose the white space around them."""
    return [(asked.strip() if count else asked, count, answer) for asked, count, answer in talk]
