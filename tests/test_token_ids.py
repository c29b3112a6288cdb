"""Prompts and ids held to the reference's, which token_ids.json holds as data.

How they were found says derive_token_ids.py. The tokenizer here is LLaMA's, cut down to the pieces
that occur in the texts; the last test takes the whole one where it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from transformers import CLIPVisionConfig, LlamaConfig, PreTrainedTokenizerFast

from llava_chat.conversation import Conversation, Turn, prompt
from llava_chat.image import Picture
from llava_chat.model.layouts.description import Description
from llava_chat.model.llava import LlavaConfig
from llava_chat.model.tokenizer_files import load_tokenizer
from llava_chat.templates import TEMPLATES
from llava_chat.tokens import tokenize

IMAGE_ID = -200  # IMAGE_TOKEN_INDEX of the reference
MARKS = {"<im_start>": 32000, "<im_end>": 32001}
FOLDER = "LLAMA_TOKENIZER"

DATA: dict[str, Any] = json.loads(Path(__file__).with_name("token_ids.json").read_text("utf-8"))
CASES: list[dict[str, Any]] = DATA["cases"]
WITH_IDS = [case for case in CASES if "ids" in case]
Case = Mapping[str, Any]


def name_of(case: Case) -> str:
    return f"{case['template']}-{case['conversation']}"


def conversation_of(case: Case, picture: Picture) -> Conversation:
    talk = DATA["conversations"][case["conversation"]]
    turns = [
        Turn(turn["role"], turn["text"], (picture,) * turn.get("pictures", 0))
        for turn in talk["turns"]
    ]
    return Conversation(tuple(turns), talk["system"])


def ids_of(case: Case, tokenizer: PreTrainedTokenizerFast, picture: Picture) -> list[int]:
    found = tokenize(
        conversation_of(case, picture),
        tokenizer,
        template=case["template"],
        picture_tokens=lambda _: 1,
        image_token_id=IMAGE_ID,
    )
    return list(found.ids)


def excerpt_of_llama(prepend_scheme: str) -> PreTrainedTokenizerFast:
    """LLaMA's tokenizer, as transformers converts it, with no other pieces than those in DATA."""
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocab = {piece: number for number, piece in enumerate(first)} | dict(DATA["pieces"]) | MARKS
    merges = [
        (piece[:cut], piece[cut:])
        for piece, _ in DATA["pieces"]  # by score
        for cut in range(len(piece) - 1, 0, -1)
        if piece[:cut] in vocab and piece[cut:] in vocab
    ]
    backend = Tokenizer(BPE(vocab, merges, byte_fallback=True, fuse_unk=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme, split=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=[*MARKS],
    )


@pytest.fixture(scope="module")
def excerpts() -> Mapping[str, PreTrainedTokenizerFast]:
    return {scheme: excerpt_of_llama(scheme) for scheme in ("first", "always")}


def test_every_template_is_among_the_data() -> None:
    assert {case["template"] for case in CASES} == TEMPLATES.keys()


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_prompts_are_the_references(case: Case, pictures: tuple[Picture, ...]) -> None:
    assert prompt(conversation_of(case, pictures[0]), case["template"]) == case["prompt"]


@pytest.mark.parametrize("scheme", ["first", "always"])
@pytest.mark.parametrize("case", WITH_IDS, ids=name_of)
def test_ids_are_the_references(
    case: Case,
    scheme: str,
    excerpts: Mapping[str, PreTrainedTokenizerFast],
    pictures: tuple[Picture, ...],
) -> None:
    assert ids_of(case, excerpts[scheme], pictures[0]) == case["ids"]


def test_ids_differ_from_the_references_only_where_people_type_markers_or_end_in_a_space() -> None:
    differing = {name_of(case) for case in WITH_IDS if "differs" in case}
    spaced = {f"{name}-spacing" for name in TEMPLATES if name.startswith(("llava_v0", "v0_"))}
    typed = {name_of(case) for case in WITH_IDS if case["conversation"] == "markers"}
    assert differing == spaced | typed


def test_ids_are_the_references_with_the_whole_tokenizer(pictures: tuple[Picture, ...]) -> None:
    folder = os.environ.get(FOLDER)
    if folder is None:
        pytest.skip(
            f"{FOLDER} names no folder with LLaMA's tokenizer.model, which is not ours to publish; "
            f"with one: {FOLDER}=FOLDER python -m pytest tests/test_token_ids.py"
        )
    config = LlavaConfig(CLIPVisionConfig(), LlamaConfig(vocab_size=32002), image_token_id=32002)
    whole: Any = load_tokenizer(Path(folder), Description("original", config, {}))
    whole.add_tokens([*MARKS], special_tokens=True)
    for case in WITH_IDS:
        assert ids_of(case, whole, pictures[0]) == case["ids"], name_of(case)
