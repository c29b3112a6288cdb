"""Every format is read by what it is made for: this project's training, TRL, datasets, csv."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Image as ImageFeature, List, load_dataset
from trl.data_utils import (
    is_conversational,
    maybe_extract_prompt,
    maybe_unpair_preference_dataset,
    prepare_multimodal_messages,
)

from llava_chat.feedback import Correction, Feedback, Rating
from llava_chat.feedback.export import export_feedback
from llava_chat.feedback.export.tables import plain
from llava_chat.image import Picture
from llava_chat.store import ConversationStore, ReplyRecord
from llava_chat.training.data import read_instructions
from tests.feedback.conftest import Talk, begin_talk, new_id
from tests.feedback.export.conftest import FORMULA

Export = Callable[[str], Path]


@pytest.fixture
def export(store: ConversationStore, tmp_path: Path) -> Export:
    def export_as(form: str) -> Path:
        export_feedback(store, form, tmp_path / form)
        return tmp_path / form

    return export_as


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _loaded(folder: Path) -> Dataset:
    """The rows as `datasets` reads them, their pictures opened."""
    loaded = load_dataset(
        "json",
        data_files=str(folder / "feedback.jsonl"),
        split="train",
        cache_dir=str(folder.parent / "cache"),
    )
    opened = loaded.map(lambda row: {"images": [str(folder / name) for name in row["images"]]})
    return opened.cast_column("images", List(ImageFeature()))


def test_llava_is_what_finetune_reads(
    export: Export, said: Talk, red: Picture, left_out: Callable[[Path], dict[str, int]]
) -> None:
    folder = export("llava")
    rows = read_instructions(folder / "feedback.json", folder)
    # Bob's first reply stands alone; the second brought a picture later, which the format lacks.
    corrected, liked = rows
    assert corrected.turns == (("What is it?", "A red\rpicture.\n- really"),)
    assert corrected.conversation().turns[0].images == (red,)
    assert liked.turns == (("Hello 😀", "reply 0"),) and liked.sources == ()
    assert left_out(folder) == {
        "neither liked nor corrected": 1,
        "several pictures, or one that came later": 1,
    }


@pytest.fixture
def left_out() -> Callable[[Path], dict[str, int]]:
    def read(folder: Path) -> dict[str, int]:
        told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["left_out"]
        return dict(told)

    return read


def test_llava_teaches_no_answer_that_somebody_disliked(
    export: Export,
    store: ConversationStore,
    feedback: Feedback,
    left_out: Callable[[Path], dict[str, int]],
) -> None:
    feedback.decide("ann", True)
    talks = [begin_talk(store, "ann", None, text=text, versions=1) for text in ("a", "b", "c")]
    for talk in talks:
        asked = store.add_user("ann", talk.id, "more", ())
        later = store.add_reply("ann", talk.id, asked.id, "liked", (), "stop", None)
        feedback.rate("ann", talk.id, later.id, Rating(new_id(), True))
    disliked, corrected, typed = talks
    feedback.rate("ann", disliked.id, disliked.reply.id, Rating(new_id(), False))
    feedback.rate("ann", corrected.id, corrected.reply.id, Rating(new_id(), False))
    feedback.correct("ann", corrected.id, corrected.reply.id, Correction(new_id(), "better"))
    asked = store.add_user("ann", typed.id, "<image> typed", ())
    reply = store.add_reply("ann", typed.id, asked.id, "hm", (), "stop", None)
    feedback.rate("ann", typed.id, reply.id, Rating(new_id(), True))
    folder = export("llava")
    found = [row.turns for row in read_instructions(folder / "feedback.json", folder)]
    assert found == [
        (("b", "better"), ("more", "liked")),
        (("c", "reply 0"), ("more", "liked")),
    ]
    assert left_out(folder) == {
        "neither liked nor corrected": 1,
        "an earlier reply is disliked and not corrected": 1,
        "part of a longer conversation": 1,
        "<image> typed as text": 1,
    }


def test_dpo_is_what_trl_takes(export: Export, said: Talk, red: Picture) -> None:
    rows = _rows(export("dpo") / "feedback.jsonl")
    assert rows[0] == {
        "prompt": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {
                "role": "user",
                "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}],
            },
        ],
        "chosen": [
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "A red\rpicture.\n- really"}],
            }
        ],
        "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "reply 0"}]}],
        "images": [f"pictures/{red.id}.png"],
    }
    told = [(row["chosen"], row["rejected"]) for row in rows[1:]]
    assert [(c[0]["content"][0]["text"], r[0]["content"][0]["text"]) for c, r in told] == [
        ("reply 1", "reply 0")
    ]


def test_trl_checks_and_fills_the_rows(
    export: Export, said: Talk, red: Picture, tmp_path: Path
) -> None:
    for row in _loaded(export("dpo")):
        assert is_conversational(row) and maybe_extract_prompt(row) == row
        filled = prepare_multimodal_messages(row["prompt"], images=row["images"])
        pictures = [p for m in filled for p in m["content"] if p["type"] == "image"]
        assert [picture["image"].size for picture in pictures] == [(red.width, red.height)]
        prepare_multimodal_messages(row["chosen"], images=[])
    assert len(maybe_unpair_preference_dataset(_loaded(tmp_path / "dpo"))) == 4


def test_kto_has_a_row_for_each_judgement(export: Export, said: Talk) -> None:
    rows = list(_loaded(export("kto")))
    assert [row["label"] for row in rows] == [False, True, True, True]
    for row in rows:
        assert is_conversational(row) and set(row) == {"prompt", "completion", "label", "images"}
        prepare_multimodal_messages(row["prompt"], images=row["images"])
    assert rows[3]["prompt"][-1]["role"] == "user" and len(rows[3]["images"]) == 1


def test_csv_is_text_again_after_a_spreadsheet(export: Export, said: Talk) -> None:
    with (export("csv") / "feedback.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert all(cell[:1] not in tuple("=+-@\t\r") for cell in row.values())
    by_reply = {row["reply_id"]: {key: plain(value) for key, value in row.items()} for row in rows}
    first = by_reply[said.reply.id]
    assert (first["liked"], first["reasons"], first["comment"]) == ("no", "style", FORMULA)
    assert first["correction"] == "A red\rpicture.\n- really"
    assert {row["comment"] for row in by_reply.values()} >= {"\t@tab", ""}
    assert by_reply[said.replies[1].id]["ranking"].split() == [
        said.replies[1].id,
        said.replies[0].id,
    ]


@pytest.mark.parametrize("sign", [*"=+-@\t\r\n'", "\uff1d"])
def test_a_cell_of_any_sign_survives(
    sign: str, export: Export, feedback: Feedback, talk: Talk
) -> None:
    correction = f'{sign}1+1, "quoted"\n{sign}'
    feedback.correct("ann", talk.id, talk.reply.id, Correction(new_id(), correction))
    with (export("csv") / "feedback.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["correction"].startswith("'") and plain(row["correction"]) == correction


def test_parquet_is_loaded_with_its_pictures(
    export: Export, said: Talk, red: Picture, tmp_path: Path
) -> None:
    loaded = load_dataset(
        "parquet",
        data_files=str(export("parquet") / "feedback.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    rows = {row["reply_id"]: row for row in loaded}
    first = rows[said.reply.id]
    assert (first["liked"], first["reasons"], first["comment"]) == (False, ["style"], FORMULA)
    (picture,) = first["images"]
    assert picture.convert("RGB").tobytes() == red.rgb().tobytes()
    assert json.loads(first["row"])["correction"]["text"] == first["correction"]
    assert rows[said.replies[1].id]["ranking"] == ["reply 1", "reply 0"]


def test_a_picture_that_is_lost_leaves_its_rows_out(
    export: Export,
    said: Talk,
    store: ConversationStore,
    red: Picture,
    record: ReplyRecord,
    left_out: Callable[[Path], dict[str, int]],
) -> None:
    source = store.picture(red.id).source
    assert isinstance(source, Path)
    source.unlink()
    folder = export("jsonl")
    assert left_out(folder) == {"a picture is no longer kept": 2}
    assert len(_rows(folder / "feedback.jsonl")) == 2
