"""`filter-captions` from a shell, with the real spaCy where it is installed."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from llava_chat.__main__ import main
from llava_chat.training.captions.phrases import PIPELINES, noun_phrases, open_tagger
from tests.training.generation.conftest import MADE_UP, coco_file

needs_spacy = pytest.mark.skipif(
    not any(map(find_spec, PIPELINES)),
    reason="spaCy's English pipeline is not installed: pip install -r requirements-dev.txt",
)


@pytest.fixture(scope="module")
def tagger() -> Any:
    return open_tagger()


@needs_spacy
def test_noun_phrases(tagger: Any) -> None:
    captions = ["A Red car and the red car.", "It is raining", "his old dog", "", "x " * 5000]
    cars, rain, dog, nothing, _ = noun_phrases(captions, tagger)
    assert cars == ["red car", "red car"]
    assert (rain, dog, nothing) == ([], ["old dog"], [])


@needs_spacy
@pytest.mark.parametrize("of", ["made up", "coco"])
def test_every_frequent_phrase_stays_covered(
    of: str, tmp_path: Path, tagger: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    described = MADE_UP if of == "made up" else coco_file()
    pictures = [json.loads(line) for line in described.read_text().splitlines()]
    rows = [
        {"image": each["image"], "caption": caption}
        for each in pictures
        for caption in each["captions"]
    ]
    source, output = tmp_path / "rows.jsonl", tmp_path / "kept.jsonl"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    filtered = ["filter-captions", str(source), "--output", str(output)]
    assert main([*filtered, "--least", "2", "--most", "4", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    kept = [json.loads(line) for line in output.read_text().splitlines()]
    assert (figures["captions"], figures["kept"]) == (len(rows), len(kept))
    assert 0 < len(kept) < len(rows)
    frequent = [band for band in figures["bands"] if band["frequency"] != "1"]
    assert all(band["phrases_kept"] == band["phrases"] for band in frequent)
    assert output.with_suffix(".svg").read_text().startswith("<svg")
    if of == "coco":
        return
    assert main([*filtered, "--least", "2", "--most", "4"]) == 0
    assert f"{len(kept)} of {len(rows)} captions" in capsys.readouterr().out


def test_without_spacy_a_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    arguments = ["filter-captions", str(MADE_UP), "--output", str(tmp_path / "kept.jsonl")]
    assert main(arguments) == 2
    assert "pip install 'llava-chat[captions]'" in capsys.readouterr().err


@needs_spacy
def test_a_pipeline_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["filter-captions", str(MADE_UP), "--output", str(tmp_path / "kept.jsonl")]
    assert main([*arguments, "--tagger", "en_core_web_none"]) == 2
    assert "cannot load the pipeline en_core_web_none" in capsys.readouterr().err
    monkeypatch.setattr("llava_chat.training.captions.phrases.PIPELINES", ("en_none",))
    assert main(arguments) == 2
    assert "no English pipeline here: pip install" in capsys.readouterr().err


WRONG = {
    "another kind": (["rows.jsonl", "--output", "kept.tsv"], "--output must end in .jsonl"),
    "no kind": (["rows.csv", "--output", "kept.csv"], "must end in one of"),
    "column 0": (["rows.tsv", "--output", "kept.tsv", "--column", "0"], "--column must be"),
    "seed -1": (["rows.tsv", "--output", "kept.tsv", "--seed", "-1"], "--seed must be at least 0"),
    "no folder": (["rows.tsv", "--output", "none/kept.tsv"], "--output: there is no folder none"),
    "no folder for it": (
        ["rows.tsv", "--output", "kept.tsv", "--plot", "none/kept.svg"], "--plot: there is no",
    ),
    "a plot for rows": (
        ["rows.tsv", "--output", "kept.tsv", "--plot", "rows.tsv"], "--plot: rows.tsv holds",
    ),
    "none": (["rows.tsv", "--output", "kept.tsv", "--most", "0"], "--most must be at least 1"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_wrong_usage_is_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["filter-captions", *arguments]) == 2
    assert sentence in capsys.readouterr().err
