"""The look at all rows before a run, and broken pictures while it lasts."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from llava_chat.errors import TrainingDataError
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.training import survey as surveying
from llava_chat.training.batch import TokenBatch, collate, sample_maker
from llava_chat.training.data import Rows, open_rows
from llava_chat.training.measure import Measure
from llava_chat.training.stream import batches
from llava_chat.training.survey import survey
from tests.training.data.conftest import talk

New = Callable[[], Checkpoint]


def measure_like(checkpoint: Checkpoint) -> Measure:
    return Measure(checkpoint.tokenizer, checkpoint.template, checkpoint.model.config)


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Pictures that are whole, missing and damaged, and texts, of several lengths."""
    Image.new("RGB", (30, 20), "red").save(tmp_path / "whole.png")
    (tmp_path / "damaged.png").write_bytes((tmp_path / "whole.png").read_bytes()[:50])
    made = []
    for number in range(12):
        name = ("whole", None, "missing", "damaged")[number % 4]
        asked = "Hi" if name is None else "<image>\nWhat is it?"
        row = {"conversations": talk(asked, "It is" + " red" * number)}
        made.append(row if name is None else {**row, "image": f"{name}.png"})
    (tmp_path / "rows.json").write_text(json.dumps(made))
    return open_rows(tmp_path / "rows.json", tmp_path)


@pytest.mark.parametrize("workers", [0, 2])
def test_lengths_are_those_that_are_trained_on(
    rows: Rows, new_checkpoint: New, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surveying, "_ROWS_WORTH_A_WORKER", 4)
    monkeypatch.setattr(surveying, "_ROWS_AT_ONCE", 2)
    checkpoint = new_checkpoint()
    make = sample_maker(checkpoint, "vicuna_v1", rows.conversation, 50, rows.where)
    found = survey(rows, measure_like(checkpoint), 50, workers=workers)
    assert found.has_picture.tolist() == [True, False, True, True] * 3
    assert found.missing_count == 3
    assert found.missing.endswith("missing.png") and "row 2, image: there is no" in found.missing
    for number in (0, 1, 4, 5, 8, 9):
        sample = make(number)
        assert found.lengths[number] == len(sample.ids)  # type: ignore[union-attr]
    assert found.lengths.max() == 50


def test_a_wrong_row_stops_before_anything_begins(tmp_path: Path, new_checkpoint: New) -> None:
    measure = measure_like(new_checkpoint())
    path = tmp_path / "rows.jsonl"

    def refused(*rows: object, pictures_only: bool = False) -> str:
        path.write_text("\n".join(map(json.dumps, rows)))
        with pytest.raises(TrainingDataError) as caught:
            survey(open_rows(path, tmp_path), measure, 120, pictures_only=pictures_only)
        return str(caught.value)

    good = {"conversations": talk("Hi", "Hello.")}
    assert "row 1, conversations" in refused(good, {"conversations": talk("Hi")})
    long = {"conversations": talk("a" * 400, "b")}
    assert "row 1: it holds no word of the assistant's to learn within 120" in refused(good, long)
    lost = {"image": "none.png", "conversations": talk("<image>", "b")}
    assert "not one of the pictures is there: " in refused(good, lost, lost)
    assert "row 0, image: there is none" in refused(good, pictures_only=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_is_left_out_and_counted(
    rows: Rows, new_checkpoint: New, workers: int
) -> None:
    make = sample_maker(new_checkpoint(), "vicuna_v1", rows.conversation, 512, rows.where)
    loaded = batches(make, collate, batch_size=4, first=4, workers=workers)
    for batch in islice(loaded, 2):
        assert isinstance(batch, TokenBatch)
        assert len(batch.ids) == len(batch.names) == 2
        assert batch.pixels is not None and len(batch.pixels) == 1
        missing, damaged = batch.skipped
        assert "image: there is no file" in missing and "missing.png" in missing
        assert 'image: The picture "damaged.png" is a damaged' in damaged
    alone = next(batches(make, collate, batch_size=1, first=2, workers=0))
    assert alone.ids.shape == (0, 0) and len(alone.skipped) == 1
