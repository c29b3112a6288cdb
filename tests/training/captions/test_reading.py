"""Captions of JSONL, JSON and TSV, and the rows that are kept, as they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from llava_chat.errors import LlavaChatError, TrainingDataError, UsageError
from llava_chat.training.captions.reading import CaptionFile

FILES = {
    "rows.jsonl": '{"id": 1,  "caption": "A cat."}\n\n{"caption": "A d\\u00f6g.", "id": 2}\r\n'
                  '{"caption": "An owl."}',
    "rows.tsv": "A cat.\thttp://a\nA dög.\thttp://b\r\nAn owl.\n",
    "rows.json": '[{"caption": "A cat."}, {"caption": "A dög.", "n": [1, null]},\n'
                 '{"caption": "An owl."}]',
    "llava.json": json.dumps([
        {"id": text, "conversations": [{"from": "human", "value": "?\n<image>"},
                                       {"from": "gpt", "value": text}]}
        for text in ("A cat.", "A dög.", "An owl.")
    ]),
}  # fmt: skip


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_bytes(text.encode())
    return file


@pytest.mark.parametrize(("name", "text"), FILES.items(), ids=FILES.keys())
def test_captions_in_order(name: str, text: str, tmp_path: Path) -> None:
    source = CaptionFile(written(tmp_path, name, text))
    assert list(source.captions()) == ["A cat.", "A dög.", "An owl."]


def test_kept_lines_are_as_they_were(tmp_path: Path) -> None:
    for name in ("rows.jsonl", "rows.tsv"):
        source = CaptionFile(written(tmp_path, name, FILES[name]))
        kept = "".join(source.kept(np.array([True, True, False])))
        lines = [line.rstrip("\r") for line in FILES[name].split("\n") if line]
        assert kept == "".join(f"{line}\n" for line in lines[:2])


def test_kept_rows_of_a_list_are_a_list(tmp_path: Path) -> None:
    source = CaptionFile(written(tmp_path, "rows.json", FILES["rows.json"]))
    for chosen in ([True, True, False], [False, False, True], [False] * 3):
        kept = "".join(source.kept(np.array(chosen)))
        rows = json.loads(FILES["rows.json"])
        assert json.loads(kept) == [row for row, keep in zip(rows, chosen, strict=True) if keep]


def test_another_field_or_column(tmp_path: Path) -> None:
    rows = written(tmp_path, "rows.jsonl", '{"text": "A cat."}')
    table = written(tmp_path, "rows.tsv", "http://a\tA cat.\n")
    assert list(CaptionFile(rows, field="text").captions()) == ["A cat."]
    assert list(CaptionFile(table, column=2).captions()) == ["A cat."]


WRONG: dict[str, tuple[str, str, type[LlavaChatError], str]] = {
    "another kind": ("rows.csv", "", UsageError, "must end in one of"),
    "no JSON": ("rows.jsonl", '{"caption": "A cat."}\n{', TrainingDataError, "row 1: "),
    "no list": ("rows.json", "{}", TrainingDataError, "a list of rows"),
    "no object": ("rows.json", "[1]", TrainingDataError, "row 0: a row must be an object"),
    "a text": ("rows.jsonl", '"A cat."', TrainingDataError, "row 0: a row must be an object"),
    "no caption": ("rows.jsonl", "{}", TrainingDataError, "row 0, caption: .*--field"),
    "no text": ("rows.jsonl", '{"caption": 1}', TrainingDataError, "row 0, caption: .*--field"),
    "a key twice": ("rows.jsonl", '{"a": 1, "a": 2}', TrainingDataError, "'a' stands twice"),
    "one column": ("rows.tsv", "A cat.\n", TrainingDataError, "row 0: there is no column 2"),
    "no UTF-8": ("rows.tsv", "\udcff", TrainingDataError, "not UTF-8"),
}


@pytest.mark.parametrize(("name", "text", "kind", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named(
    name: str, text: str, kind: type[LlavaChatError], sentence: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(kind, match=sentence):
        list(CaptionFile(file, column=2).captions())


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="cannot be read"):
        list(CaptionFile(tmp_path / "none.tsv").captions())
