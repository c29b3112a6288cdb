"""`train adapter` from the command line: rows of every kind on a tiny model; what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_chat.__main__ import main
from llava_chat.engine.local import open_engine

COLOURS = ("red", "green", "blue", "white", "black", "gray", "pink", "brown")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """data.json and pairs.jsonl, a row of each about each of eight pictures."""
    folder = tmp_path / "rows"
    folder.mkdir()
    data, pairs = [], []
    for colour in COLOURS:
        Image.new("RGB", (20, 20), colour).save(folder / f"{colour}.png")
        asked, answer = "What is it?", f"A {colour} square."
        said = [
            {"from": "human", "value": f"<image>\n{asked}"},
            {"from": "gpt", "value": answer},
        ]
        data.append({"id": colour, "image": f"{colour}.png", "conversations": said})
        content = [{"type": "image"}, {"type": "text", "text": asked}]
        pairs.append(
            {
                "prompt": [{"role": "user", "content": content}],
                "chosen": [{"role": "assistant", "content": [{"type": "text", "text": answer}]}],
                "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "No."}]}],
                "images": [f"{colour}.png"],
            }
        )
    (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")
    lines = "".join(json.dumps(pair) + "\n" for pair in pairs)
    (folder / "pairs.jsonl").write_text(lines, encoding="utf-8")
    return folder


def arguments(rows: Path, model: Path, output: Path) -> list[str]:
    return [
        *("train", "adapter", "--model", str(model), "--output", str(output), "--device", "cpu"),
        *("--data", str(rows / "data.json"), "--preferences", str(rows / "pairs.jsonl")),
        *("--replay", str(rows / "data.json"), "--keep-old", "3"),
        *("--rank", "2", "--steps", "3", "--batch-size", "2", "--held-out", "0.3"),
    ]


def test_rows_of_every_kind_make_one_adapter(
    rows: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    asked = arguments(rows, tiny_checkpoint, output)
    assert main([*asked, "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert json.loads((output / "report.json").read_text(encoding="utf-8")) == report
    counted = report["rows"]
    # A reply and a pair about one picture fall on the same side.
    assert counted["replies"] == counted["pairs"]
    assert counted["replies held out"] == counted["pairs held out"] == 8 - counted["replies"] > 0
    assert counted["old rows"] == 3 and report["steps"] == 3
    assert report["settings"]["rank"] == 2 and report["settings"]["alpha"] == 4
    assert report["before"]["preferences"]["margin"] == 0
    assert report["after"]["preferences"]["margin"] > 0
    assert report["before"]["old"] == {}
    assert sorted(path.name for path in output.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "report.json",
    ]  # fmt: skip
    assert "pairs: reward margin" in (output / "README.md").read_text(encoding="utf-8")
    engine = open_engine(str(output), device="cpu")
    assert engine.model.revision.count("+") == 1
    engine.close(grace_s=0)
    weights = (output / "adapter_model.safetensors").read_bytes()
    assert main(asked) == 0
    assert capsys.readouterr().out.startswith("| held out | of | before | after |")
    assert (output / "adapter_model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--held-out", "1"), 2, "--held-out must be a share"),
        (("--held-out", "0.999999"), 2, "--held-out leaves no row to learn from"),
        (("--rank", "0"), 2, "--rank must be above 0"),
        (("--lr", "nan"), 2, "--lr must be above 0"),
        (("--keep-old", "-1"), 2, "--keep-old must not be below 0"),
        (("--data", "none.json"), 1, "none.json cannot be read"),
        (("--model", "none"), 1, "There is no folder none"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    rows: Path,
    tiny_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    asked = arguments(rows, tiny_checkpoint, tmp_path / "out")
    assert main([*asked, *more]) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("llava_chat: error: ") and said in last
    assert not list((tmp_path / "out").glob("adapter_*"))


def test_old_rows_of_a_model_that_draws_nothing_have_to_be_given(
    rows: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = arguments(rows, tiny_checkpoint, tmp_path / "out")
    place = asked.index("--replay")
    assert main([*asked[:place], *asked[place + 2 :]]) == 2
    assert "has no questions of its own; give --replay" in capsys.readouterr().err


def test_without_rows_nothing_is_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "adapter", "--output", str(tmp_path / "out")]) == 2
    assert "give --data, --preferences or both" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
