"""A tokenizer.model read as SentencePiece itself reads it.

The released LLaVA checkpoints hold no other tokenizer. transformers converts it when it loads one,
and up to 5.23 makes three mistakes that a model answers worse for and nobody sees: for model_type
`llava` it takes no word-start mark at the beginning, it takes the pieces' ids for the order in
which they are joined (`SentencePieceExtractor`), and so makes other ids of every double space and
indented line, and it does not heed a model without a mark at the beginning. Imports transformers,
tokenizers and errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenizers import Tokenizer
from transformers import LlamaTokenizer, PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import SentencePieceExtractor

from llava_chat.errors import CheckpointError

MODEL_NAME = "tokenizer.model"
_BPE = 2  # TrainerSpec.ModelType in sentencepiece_model.proto

Merge = tuple[str, str]


def read_sentencepiece(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of the tokenizer.model in a folder, and of the settings beside it.

    Needs the packages sentencepiece and protobuf. Raises CheckpointError for a model that is no
    BPE, and what transformers and protobuf raise for a damaged one.
    """
    model = SentencePieceExtractor(str(folder / MODEL_NAME)).proto
    if model.trainer_spec.model_type != _BPE:
        raise CheckpointError(f"{folder / MODEL_NAME} is no BPE, as LLaMA's and Mistral's are.")
    tokenizer: PreTrainedTokenizerBase = LlamaTokenizer.from_pretrained(
        folder, local_files_only=True, add_prefix_space=model.normalizer_spec.add_dummy_prefix
    )
    scores = {piece.piece: piece.score for piece in model.pieces}
    backend: Tokenizer = tokenizer.backend_tokenizer
    written = json.loads(backend.to_str())
    merges = [(left, right) for left, right in written["model"]["merges"]]
    written["model"]["merges"] = merges_by_score(merges, scores)
    backend.model = Tokenizer.from_str(json.dumps(written)).model
    return tokenizer


def merges_by_score(merges: Iterable[Merge], scores: Mapping[str, float]) -> list[Merge]:
    """The merges whose result has the highest score first, and of equals the longest left part.

    So of pairs that are alike the leftmost is joined first, and grows to the right.

    >>> merges_by_score([("▁", "▁"), ("▁", "d")], {"▁▁": -1e9, "▁d": -11.0})
    [('▁', 'd'), ('▁', '▁')]
    """

    def rank(merge: Merge) -> tuple[float, int, int]:
        left, right = merge
        return -scores[left + right], -len(left), -len(right)

    return sorted(merges, key=rank)
