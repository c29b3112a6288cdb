"""The tokenizer beside the weights: missing, damaged, of another model, of another template."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from llava_chat.errors import CheckpointError, UsageError
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from llava_chat.model.inspection import inspect_checkpoint

Make = Callable[..., Checkpoint]
AVAILABLE = "llava_chat.model.tokenizer_files.is_{}_available"


def refusal(folder: Path) -> str:
    """The sentence that loading ends with, which an inspection lists too."""
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(str(folder))
    sentence = str(error.value)
    assert "\n" not in sentence
    assert inspect_checkpoint(str(folder))["problems"] == [sentence]
    return sentence


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_no_tokenizer(saved: Path) -> None:
    (saved / "tokenizer.json").unlink()
    assert refusal(saved) == f"{saved} holds no tokenizer.json; download it again."


@pytest.mark.parametrize(
    ("there", "lacking"),
    [
        ((), "sentencepiece protobuf"),
        (("sentencepiece",), "protobuf"),
        (("protobuf",), "sentencep"),
    ],
)
def test_a_tokenizer_model_that_the_packages_are_missing_for(
    saved: Path, there: tuple[str, ...], lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (saved / "tokenizer.json").rename(saved / "tokenizer.model")
    for package in ("sentencepiece", "protobuf"):
        monkeypatch.setattr(AVAILABLE.format(package), lambda found=package in there: found)
    sentence = refusal(saved)
    assert "holds only a tokenizer.model" in sentence
    assert f"`pip install {lacking}" in sentence and "AutoTokenizer" in sentence


@pytest.mark.parametrize("text", ["", "{}", '{"model": 1}'])
def test_damaged(saved: Path, text: str) -> None:
    (saved / "tokenizer.json").write_text(text)
    assert "tokenizer" in refusal(saved)


def test_with_code_of_its_own(saved: Path) -> None:
    edit(saved / "tokenizer_config.json", lambda content: content.update(auto_map={}))
    assert "auto_map" in refusal(saved)


@pytest.mark.parametrize("token", ["▁the", "</s>"])
def test_a_picture_token_that_is_a_word(
    saved: Path, llama_like: PreTrainedTokenizerFast, token: str
) -> None:
    word = llama_like.get_vocab()[token]
    edit(saved / "config.json", lambda content: content.update(image_token_index=word))
    assert f"is {word}, which its tokenizer uses for {token!r}" in refusal(saved)


@pytest.fixture
def nameless(make_checkpoint: Make, byte_level: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    """A checkpoint of Llama 3's kind that does not say which template it was trained with."""
    save_checkpoint(make_checkpoint(tokenizer=byte_level), tmp_path / "nameless")
    edit(tmp_path / "nameless" / "config.json", lambda content: content.pop("llava_chat"))
    return tmp_path / "nameless"


def test_a_template_is_known_by_what_the_tokenizer_knows(nameless: Path) -> None:
    assert load_checkpoint(str(nameless)).template == "llava_llama_3"


def test_a_template_is_not_guessed(make_checkpoint: Make, tmp_path: Path) -> None:
    save_checkpoint(make_checkpoint(projector="linear"), tmp_path / "first")
    edit(tmp_path / "first" / "config.json", lambda content: content.pop("llava_chat"))
    sentence = refusal(tmp_path / "first")
    assert "does not say which template" in sentence and "llava_v0" in sentence
    assert "--template" in sentence


def test_the_template_that_is_asked_for_is_taken(nameless: Path, saved: Path) -> None:
    assert load_checkpoint(str(nameless), template="mpt").template == "mpt"
    assert load_checkpoint(str(saved), template="llava_v1").template == "llava_v1"
    with pytest.raises(UsageError, match="no template 'llama'"):
        load_checkpoint(str(nameless), template="llama")


def test_a_checkpoint_may_name_the_usual_one_itself(nameless: Path) -> None:
    edit(
        nameless / "config.json",
        lambda content: content.update(llava_chat={"template": "vicuna_v1"}),
    )
    assert load_checkpoint(str(nameless)).template == "vicuna_v1"
