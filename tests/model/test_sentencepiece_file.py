"""A tokenizer.model is read as SentencePiece itself reads it, runs of spaces and all.

It is made here, of LLaMA's pieces in token_ids.json, each at its place and with its rank.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece.sentencepiece_model_pb2
from hypothesis import example, given, settings, strategies as st
from transformers import PreTrainedTokenizerBase

from llava_chat.errors import CheckpointError
from llava_chat.model.sentencepiece_file import MODEL_NAME, read_sentencepiece

# Made by protobuf, so that no checker knows what it holds.
schema: Any = sentencepiece.sentencepiece_model_pb2
DATA: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "token_ids.json").read_text("utf-8")
)
PIECES = [piece for piece, _ in DATA["pieces"]]  # by score
JOINED_LAST = -1e9  # the score of LLaMA's runs of spaces
Write = Callable[..., Path]


def fill(model: Any, size: int) -> None:
    """Add pieces that nothing is joined to."""
    for number in range(len(model.pieces), size):
        model.pieces.add(piece=f"\x01{number}", type=model.SentencePiece.UNUSED)


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Make a folder with LLaMA's tokenizer.model, cut down, and with configuration files."""

    def write(*, add_dummy_prefix: bool = True, kind: str = "BPE", **configs: Any) -> Path:
        model, piece = schema.ModelProto(), schema.ModelProto.SentencePiece
        model.trainer_spec.model_type = schema.TrainerSpec.ModelType.Value(kind)
        model.trainer_spec.byte_fallback = True
        model.normalizer_spec.name = "identity"
        model.normalizer_spec.remove_extra_whitespaces = False
        model.normalizer_spec.add_dummy_prefix = add_dummy_prefix
        model.pieces.add(piece="<unk>", type=piece.UNKNOWN)
        for name in ("<s>", "</s>"):
            model.pieces.add(piece=name, type=piece.CONTROL)
        for byte in range(256):
            model.pieces.add(piece=f"<0x{byte:02X}>", type=piece.BYTE)
        number_of = dict(DATA["pieces"])
        for rank, text in sorted(enumerate(PIECES), key=lambda each: number_of[each[1]]):
            fill(model, number_of[text])
            score = -rank if text.strip("▁") else JOINED_LAST
            model.pieces.add(piece=text, score=score, type=piece.NORMAL)
        fill(model, 32000)
        folder = tmp_path_factory.mktemp("llama")
        (folder / MODEL_NAME).write_bytes(model.SerializeToString())
        for name, content in configs.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        return folder

    return write


Encode = Callable[[str], list[int]]


def pair(folder: Path) -> tuple[PreTrainedTokenizerBase, Encode]:
    """What is read, and SentencePiece's own encoding of the same file."""
    from sentencepiece import SentencePieceProcessor

    theirs = SentencePieceProcessor(model_file=str(folder / MODEL_NAME))
    return read_sentencepiece(folder), theirs.encode


@pytest.fixture(scope="module")
def llama(write: Write) -> tuple[PreTrainedTokenizerBase, Encode]:
    return pair(write())


@settings(max_examples=200, deadline=None)
@given(
    text=st.lists(
        st.sampled_from([" ", "  ", "\n    ", "\t", "###", "🦩", *PIECES]) | st.text(max_size=3),
        max_size=12,
    ).map("".join)
)
@example(text="a  b   c" + " " * 40 + "d  ")
def test_ids_are_sentencepieces_own(
    llama: tuple[PreTrainedTokenizerBase, Encode], text: str
) -> None:
    ours, theirs = llama
    # transformers takes a space that the text begins with for the mark; llava_chat.tokens does not.
    text = "a" + text.replace("▁", " ")
    assert ours(text, add_special_tokens=False, split_special_tokens=True).input_ids == theirs(text)


@pytest.mark.parametrize(
    ("model_type", "tokenizer_class"),
    [
        ("llava", "LlamaTokenizer"),
        ("llava_llama", None),
        ("share4v", "LlamaTokenizerFast"),
        (None, None),
    ],
)
def test_whatever_the_files_beside_it_call_the_model(
    write: Write, model_type: str | None, tokenizer_class: str | None
) -> None:
    ours, theirs = pair(
        write(
            config={"model_type": model_type} if model_type else {},
            tokenizer_config={"tokenizer_class": tokenizer_class} if tokenizer_class else {},
            added_tokens={"<im_end>": 32002, "<im_patch>": 32000, "<im_start>": 32001},
        )
    )
    text = "A chat  between a USER"
    assert ours(text, add_special_tokens=False).input_ids == theirs(text)
    assert (ours.bos_token_id, ours.eos_token_id) == (1, 2)
    assert ours.convert_tokens_to_ids(["<im_start>", "<im_end>"]) == [32001, 32002]


def test_a_model_that_marks_no_beginning(write: Write) -> None:
    ours, theirs = pair(write(add_dummy_prefix=False))
    assert ours("What is", add_special_tokens=False).input_ids == theirs("What is")


def test_another_kind_of_model_is_refused(write: Write) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.model is no BPE"):
        read_sentencepiece(write(kind="UNIGRAM"))
