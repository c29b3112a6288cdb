"""Small tokenizers of the two kinds that models come with, and a checkpoint.

The tokenizers are real: trained here with the `tokenizers` library, wrapped by transformers as a
checkpoint's tokenizer.json is. The checkpoint has random weights, so what it says means nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import CLIPVisionConfig, LlamaConfig, PreTrainedTokenizerFast

from llava_chat.model.checkpoint import Checkpoint
from llava_chat.model.llava import LlavaConfig, LlavaModel
from llava_chat.model.preprocessing import Preprocessing

IMAGE_TOKEN = "<image>"
CHATML = ["<|im_start|>", "<|im_end|>"]
PICTURE_MARKS = ["<im_start>", "<im_end>"]
LLAMA_3 = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
TEXT = [
    "A chat between a curious user and an artificial intelligence assistant.",
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    "You are a helpful language and vision assistant.",
    "USER: What is in the picture? ASSISTANT: A large red circle. USER: And its colour?",
    "Human: Where is the star? Assistant: Below the square. a### b### ###",
    "[INST] <<SYS>>\nYou are here.\n<</SYS>>\n\nHow many? [/INST] Three. [INST] Why? [/INST]",
    "system\n user\n assistant\n Question\n Answer\n <Image> </Image>",
] * 3


def llama_tokenizer(prepend_scheme: str, adds_bos: bool) -> Tokenizer:
    """BPE with byte fallback and a mark at the start of words, `<s>` 1, `</s>` 2."""
    trained = Tokenizer(BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    trained.train_from_iterator(TEXT, BpeTrainer(vocab_size=400, show_progress=False))
    learned = json.loads(trained.to_str())["model"]
    # "\n" is a byte token there, as in LLaMA: no longer token holds it.
    merges = [pair for pair in learned["merges"] if "\n" not in "".join(pair)]
    pieces = [piece for piece in learned["vocab"] if "\n" not in piece]
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocab = {piece: place for place, piece in enumerate([*first, *pieces])}
    tokenizer = Tokenizer(
        BPE(vocab, [tuple(m) for m in merges], byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme, split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    return tokenizer


def byte_level_tokenizer(
    special: Sequence[str] = ("<|endoftext|>", *CHATML, *LLAMA_3),
) -> Tokenizer:
    """BPE on bytes, as Qwen's and Llama 3's; with the special tokens of both, if none are named."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=500,
        initial_alphabet=alphabet,
        special_tokens=list(special),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def llama_like_tokenizer(
    prepend_scheme: str = "always", adds_bos: bool = False, added: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """One of LLaMA's kind, with `<image>` and others as added special tokens."""
    return PreTrainedTokenizerFast(
        tokenizer_object=llama_tokenizer(prepend_scheme, adds_bos),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=[IMAGE_TOKEN, *added],
        clean_up_tokenization_spaces=False,
    )


def qwen_like_tokenizer() -> PreTrainedTokenizerFast:
    """One of Qwen's and Llama 3's kind."""
    return PreTrainedTokenizerFast(
        tokenizer_object=byte_level_tokenizer(),
        bos_token="<|begin_of_text|>",
        eos_token="<|endoftext|>",
        additional_special_tokens=[IMAGE_TOKEN, *CHATML, *LLAMA_3],
        clean_up_tokenization_spaces=False,
    )


def random_checkpoint(
    tokenizer: PreTrainedTokenizerFast, context_tokens: int = 1024, layers: int = 2
) -> Checkpoint:
    """A LLaVA of some ten thousand weights, the same at every call.

    Its greedy replies never end by themselves. More layers make it slower, for tests that have to
    find a reply still being written.
    """
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=24,
        patch_size=8,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=context_tokens,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=0,
    )
    config = LlavaConfig(vision, text, image_token_id=tokenizer.get_vocab()[IMAGE_TOKEN])
    torch.manual_seed(0)
    model = LlavaModel(config).eval()
    for parameter in model.projector.parameters():
        parameter.data *= 4  # so that the words depend on what the picture shows
    # The end token's logit is always 0, so some other word is likelier.
    model.language_model.lm_head.weight.data[text.eos_token_id] = 0
    return Checkpoint(
        model=model,
        tokenizer=tokenizer,
        id="tiny",
        revision="0",
        template="vicuna_v1",
        description="random weights",
        pixels=Preprocessing.of(config),
    )
