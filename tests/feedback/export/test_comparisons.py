"""Votes on comparisons in every format: what training takes, and what comes back as it went."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Image as ImageFeature, load_dataset
from trl.data_utils import is_conversational, maybe_extract_prompt, prepare_multimodal_messages

from llava_chat.errors import FeedbackError
from llava_chat.feedback import Explanation, Feedback, figures, votes
from llava_chat.feedback.comparisons import comparison_rows
from llava_chat.feedback.export import FORMATS, export_feedback, import_feedback
from llava_chat.image import Picture
from llava_chat.store import ConversationStore, ReplyRecord
from tests.feedback.conftest import new_id
from tests.feedback.test_comparisons import Compared, begin


@pytest.fixture
def voted(
    store: ConversationStore, feedback: Feedback, record: ReplyRecord, red: Picture
) -> Compared:
    """Ann's comparison of two turns, and one of Bob's that ended in a tie."""
    feedback.decide("ann", True)
    compared = begin(store, record, "ann", red)
    compared.vote(1, "right", id := new_id())
    compared.comparisons.explain("ann", compared.id, Explanation(id, ("style",), "=SUM(A1)"))
    compared.ask("And now?")
    compared.vote(2, "left")
    feedback.decide("bob", True)
    begin(store, record, "bob").vote(1, "tie")
    return compared


def _lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "feedback.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_dpo_has_the_better_reply_over_the_other(
    store: ConversationStore, voted: Compared, red: Picture, tmp_path: Path
) -> None:
    told = export_feedback(store, "dpo", tmp_path / "dpo")
    assert told["left_out"] == {
        "neither reply of a comparison was better": 1,
        "the replies of a comparison before this one differ": 1,
    }
    (row,) = _lines(tmp_path / "dpo")
    assert row["chosen"][0]["content"] == [{"type": "text", "text": "right says"}]
    assert row["rejected"][0]["content"] == [{"type": "text", "text": "left says"}]
    assert row["images"] == [f"pictures/{red.id}.png"]
    assert (tmp_path / "dpo" / row["images"][0]).is_file()
    assert is_conversational(row)
    extracted = maybe_extract_prompt(row)
    prepared = prepare_multimodal_messages(extracted["prompt"], images=[object()])
    assert prepared[-1]["role"] == "user"


@pytest.mark.parametrize("form", FORMATS)
def test_the_manifest_counts_comparisons_and_votes(
    form: str, store: ConversationStore, voted: Compared, tmp_path: Path
) -> None:
    counts = export_feedback(store, form, tmp_path / "out", dry_run=True)["counts"]
    assert (counts["comparisons"], counts["people"], counts["replies"]) == (2, 2, 0)
    assert counts["votes"] == {"left": 1, "right": 1, "tie": 1, "both_bad": 0}
    assert counts["reasons"]["style"] == 1
    assert counts["records"] == {"llava": 0, "kto": 0, "dpo": 1}.get(form, 3)


def test_stats_count_them(store: ConversationStore, voted: Compared) -> None:
    counts = figures((), comparison_rows(store))
    assert counts["comparisons"] == 2 and sum(counts["votes"].values()) == 3


def test_there_and_back_gives_the_same_bytes(
    store: ConversationStore, voted: Compared, red: Picture, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    export_feedback(store, "jsonl", first)
    elsewhere = ConversationStore.open(f"sqlite:///{tmp_path}/elsewhere.db", tmp_path / "elsewhere")
    assert import_feedback(elsewhere, first) == {"rows": 3, "new": 3}
    assert import_feedback(elsewhere, first) == {"rows": 3, "new": 0}
    export_feedback(elsewhere, "jsonl", second)
    assert (second / "feedback.jsonl").read_bytes() == (first / "feedback.jsonl").read_bytes()
    assert elsewhere.has_picture(f"export:{_lines(first)[0]['owner']}", red.id)
    told = [(vote.left, vote.right, vote.choice, vote.turn, vote.blind) for vote in votes(store)]
    back = [(v.left, v.right, v.choice, v.turn, v.blind) for v in votes(elsewhere)]
    assert back == told
    elsewhere.close()


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("vote", "choice"), "middle", "choice"),
        (("vote", "turn"), 2, "vote, turn"),
        (("vote", "reasons"), ["ugly"], "reasons"),
        (("vote",), None, "vote"),
        (("left",), None, "left"),
        (("left", "conversation", "id"), "x", "id"),
        (("right", "path"), [], "path"),
        (("right", "name"), 5, "name"),
    ],
)
def test_a_row_that_is_wrong_is_refused_by_its_field(
    path: tuple[str, ...],
    value: object,
    field: str,
    store: ConversationStore,
    voted: Compared,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "out"
    export_feedback(store, "jsonl", folder)
    rows = _lines(folder)
    place: Any = rows[0]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "feedback.jsonl").write_text(text, encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    manifest["files"]["feedback.jsonl"]["sha256"] = digest
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    elsewhere = ConversationStore.open(f"sqlite:///{tmp_path}/elsewhere.db", tmp_path / "elsewhere")
    with pytest.raises(FeedbackError, match=rf"row 0.*{field}"):
        import_feedback(elsewhere, folder)
    elsewhere.close()


def test_tables_have_both_replies(
    store: ConversationStore, voted: Compared, red: Picture, tmp_path: Path
) -> None:
    export_feedback(store, "csv", tmp_path / "csv")
    with (tmp_path / "csv" / "feedback.csv").open(encoding="utf-8", newline="") as file:
        first, second, third = csv.DictReader(file)
    assert (first["reply"], first["other_reply"], first["choice"]) == (
        "left says",
        "right says",
        "right",
    )
    assert (first["blind"], second["blind"], first["turn"], second["turn"]) == (
        "yes",
        "no",
        "1",
        "2",
    )
    assert first["comment"] == "'=SUM(A1)" and first["reasons"] == "style"
    assert first["other_model"] == voted.record.model_id and third["choice"] == "tie"

    export_feedback(store, "parquet", tmp_path / "parquet")
    rows = load_dataset(
        "parquet",
        data_files=str(tmp_path / "parquet" / "feedback.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert rows[0]["choice"] == "right" and rows[0]["blind"] is True and rows[1]["turn"] == 2
    assert isinstance(rows.features["images"].feature, ImageFeature)
    assert rows[0]["images"][0].size == (red.width, red.height)
