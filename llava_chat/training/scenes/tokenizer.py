"""A byte-pair vocabulary of the LLaMA kind, learned from the talk of the scenes world.

As in LLaMA: pieces begin with a mark where a word begins, any other text falls back to its UTF-8
bytes, <unk>, <s>, </s> are 0, 1, 2. The placeholder of a picture is one more special token.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers as splits, trainers
from transformers import PreTrainedTokenizerFast

from llava_chat.conversation import TEMPLATES
from llava_chat.training.scenes.talk import blind_talk, non_scene_talk, scene_talk
from llava_chat.training.scenes.world import CORE, World, random_scene

SPECIAL = ("<unk>", "<s>", "</s>")
IMAGE_TOKEN = "<image>"
WORD_START = "\u2581"
CONTEXT_TOKENS = 1024
_CORPUS_TALKS = 1200


def _corpus(seed: int, world: World) -> Iterator[str]:
    rng = random.Random(seed)
    system = TEMPLATES["vicuna_v1"].system
    for _ in range(_CORPUS_TALKS):
        talk = scene_talk(random_scene(rng, world), rng, 4, world)
        talk += blind_talk(rng, 2, world) + non_scene_talk(rng, 1, world)
        for exchange in talk:
            yield f"{system} USER: {exchange.question} ASSISTANT: {exchange.answer}"
            yield f"\n{exchange.question}"  # as the first question stands, behind its picture
    # Letters and digits on their own, so that they get pieces as in LLaMA's vocabulary.
    printable = "".join(chr(code) for code in range(33, 127))
    yield from (f"{WORD_START}{letter} {letter}" for letter in printable)


def _learned_pieces(
    vocab_size: int, seed: int, world: World
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary, bytes included, and the merges in order."""
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    learner = Tokenizer(models.BPE(unk_token=SPECIAL[0]))
    # Marks stay apart from words: "circle", "circle?" and "circle." share one piece.
    learner.pre_tokenizer = splits.Sequence(
        [
            splits.Metaspace(replacement=WORD_START, prepend_scheme="always"),
            splits.Split("\n", "isolated"),
            splits.Punctuation("isolated"),
            splits.Digits(individual_digits=True),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(byte_pieces),
        special_tokens=list(SPECIAL),
        show_progress=False,
        max_token_length=16,
    )
    learner.train_from_iterator(_corpus(seed, world), trainer)
    learned = json.loads(learner.to_str())["model"]
    ordered = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
    # As in LLaMA, the line feed has no piece but its byte.
    pieces = [*SPECIAL, *byte_pieces, *(p for p in ordered if p not in {*SPECIAL, "\n"})]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    return {piece: number for number, piece in enumerate(pieces)}, merges


def learn_tokenizer(
    vocab_size: int, *, seed: int = 0, world: World = CORE
) -> PreTrainedTokenizerFast:
    """A transformers tokenizer of at most `vocab_size` pieces, the picture's placeholder the last.

    As with SentencePiece, a leading space of a text is one with the mark of its first word.
    """
    vocabulary, merges = _learned_pieces(vocab_size - 1, seed, world)
    backend = Tokenizer(
        models.BPE(
            vocab=vocabulary, merges=merges, unk_token=SPECIAL[0], fuse_unk=True, byte_fallback=True
        )
    )
    backend.pre_tokenizer = splits.Metaspace(
        replacement=WORD_START, prepend_scheme="always", split=False
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace(WORD_START, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    backend.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    backend.add_special_tokens([AddedToken(IMAGE_TOKEN, normalized=False, special=True)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[0],
        additional_special_tokens=[IMAGE_TOKEN],
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )
