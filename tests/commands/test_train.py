"""`train` from the command line: what is refused before any work, and what is judged after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llava_chat.__main__ import main
from llava_chat.training.scenes.recipe import RECIPES, Part

STAGE = ("--model", "/no/model", "--data", "/no/data.json")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("align", *STAGE, "--output", "FILE"), "--output: the folder FILE cannot be made"),
        (("finetune", *STAGE, "--output", "FILE/below"), "--output: the folder FILE/below"),
        (("scenes", "--output", "FILE"), "--output: the folder FILE cannot be made (it is a file)"),
        (("scenes", "--work", "FILE"), "--work: the folder FILE cannot be made (it is a file)"),
        (("scenes", "--steps", "0"), "--steps must be above 0"),
        (("scenes", "--pictures", "-1"), "--pictures must not be below 0"),
        (("finetune", *STAGE, "--output", "out", "--seed", "-1"), "--seed must not be below 0"),
    ],
)
def test_what_cannot_be_asked_for_is_wrong_usage(
    arguments: tuple[str, ...],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("not a folder", encoding="utf-8")
    assert main(["train", *arguments, "--device", "cpu"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"llava_chat: error: {named}")


def test_a_wrong_dtype_is_told_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["train", "align", *STAGE, "--output", str(tmp_path / "out"), "--dtype", "int3"])
    assert left.value.code == 2
    assert "--dtype: invalid choice: 'int3'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_called_scenes_is_judged_itself(
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    part = Part(steps=1, batch_size=1, lr=1e-3)
    short = replace(
        RECIPES["cpu"], finetune=part, turns=1, max_tokens=700, workers=0, compile_decoder=False
    )
    monkeypatch.setitem(RECIPES, "cpu", short)
    # With no bundled model there is only one that can be judged.
    monkeypatch.setattr("llava_chat.model.location.BUNDLED_FOLDER", tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    arguments = ("--further", str(tiny_checkpoint), "--work", "work", "--output", "scenes")
    assert main(["train", "scenes", *arguments, "--device", "cpu", "--pictures", "1"]) == 0
    assert capsys.readouterr().out.startswith("| kind of question |")
