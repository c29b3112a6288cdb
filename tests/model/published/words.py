"""Small real tokenizers with the special tokens of the models that the line is built on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from tests.small_models import byte_level_tokenizer, llama_tokenizer

Words = Literal["llama", "mistral", "yi", "llama_3", "qwen"]

CHATML = ("<|im_start|>", "<|im_end|>")
LLAMA_3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
           "<|eot_id|>")  # fmt: skip
IM_TOKENS = ("<im_patch>", "<im_start>", "<im_end>")

_NAMED: dict[Words, dict[str, str]] = {
    "llama": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"},
    "mistral": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    "yi": {"bos_token": "<s>", "eos_token": "<|im_end|>", "unk_token": "<unk>",
           "pad_token": "<unk>"},
    "llama_3": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "qwen": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
}  # fmt: skip


@cache
def _trained(words: Words) -> str:
    """tokenizer.json of a kind, without what a repository adds."""
    if words in ("llama", "mistral", "yi"):
        made = llama_tokenizer("always", words != "yi")
        if words == "yi":
            made.add_special_tokens(list(CHATML))
        return made.to_str()
    made = byte_level_tokenizer(LLAMA_3 if words == "llama_3" else ("<|endoftext|>", *CHATML))
    if words == "llama_3":
        bos = ("<|begin_of_text|>", made.token_to_id("<|begin_of_text|>"))
        made.post_processor = processors.TemplateProcessing(f"{bos[0]} $A", None, [bos])
    return made.to_str()


def tokenizer_of(words: Words, added: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """A base model's tokenizer; `added` are special tokens at its end, in their order."""
    backend = Tokenizer.from_str(_trained(words))
    backend.add_special_tokens(list(added))
    named = dict(_NAMED[words])
    if "<pad>" in added:
        named["pad_token"] = "<pad>"
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, clean_up_tokenization_spaces=False, **named
    )


def write_tokenizer(words: Words, folder: Path, added: tuple[str, ...] = ()) -> None:
    """tokenizer.json and tokenizer_config.json."""
    tokenizer_of(words, added).save_pretrained(folder)
