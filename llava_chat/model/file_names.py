"""Which files a checkpoint is made of, by their names alone: in a folder, or in a repository.

A repository often holds the same weights several times over; a folder on disk holds what a trainer
left beside them. Imports nothing of the project: names only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class WeightNames:
    """What transformers calls the files of a model's weights, in one of its two formats.

    >>> SAFETENSORS.single, SAFETENSORS.index, PICKLED.shards
    ('model.safetensors', 'model.safetensors.index.json', 'pytorch_model-*.bin')
    """

    stem: str
    suffix: str

    @property
    def single(self) -> str:
        """The one file, where there is only one."""
        return f"{self.stem}{self.suffix}"

    @property
    def index(self) -> str:
        """The file that says which weight is in which shard."""
        return f"{self.single}.index.json"

    @property
    def shards(self) -> str:
        """A pattern for the parts of weights that are in several files."""
        return f"{self.stem}-*{self.suffix}"

    def among(self, names: Iterable[str]) -> tuple[str, ...]:
        """The files of `names` that hold these weights, their index first; () when there are none.

        >>> SAFETENSORS.among(["model-1.safetensors", SAFETENSORS.index, "model.safetensors"])
        ('model.safetensors.index.json', 'model-1.safetensors')
        """
        there = sorted(names)
        if self.index in there:
            return (self.index, *(name for name in there if fnmatchcase(name, self.shards)))
        return (self.single,) if self.single in there else ()


SAFETENSORS = WeightNames("model", ".safetensors")
PICKLED = WeightNames("pytorch_model", ".bin")

CONFIG_NAME = "config.json"
ADAPTER_CONFIG_NAME = "adapter_config.json"
ADAPTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What an adapter to choose may be called: it is in names of models, in records, on the page."""
ADAPTER_NAMES = ("adapter_model.safetensors", "adapter_model.bin")
"""peft's LoRA weights, the first of them that is there."""
NON_LORA_NAME = "non_lora_trainables.bin"
"""What LLaVA's LoRA training trained whole, beside the adapter: the projector."""
PROJECTOR_NAME = "mm_projector.bin"
"""The projector alone: what LLaVA's first stage leaves."""

COMPANIONS = (
    CONFIG_NAME,
    ADAPTER_CONFIG_NAME,
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.*",
)
"""Patterns for what is read beside the weights, by this project or by transformers' tokenizers."""

WEIGHTS = ("*.safetensors", "pytorch_model*.bin", ADAPTER_NAMES[1], NON_LORA_NAME, PROJECTOR_NAME)
"""Patterns for every file of weights that may be read; not for a trainer's own .bin files."""


def is_one_of(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of the patterns.

    >>> is_one_of("chat_template.jinja", COMPANIONS), is_one_of("training_args.bin", WEIGHTS)
    (True, False)
    """
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def chosen_weights(names: Iterable[str]) -> tuple[str, ...]:
    """The files of weights to download of a repository's `names`, each weight once.

    An adapter with what was trained beside it; or a model's weights, as safetensors rather than
    .bin; or a projector alone. () when no file is of a kind that is read.

    >>> chosen_weights(["pytorch_model.bin", "model.safetensors", "tf_model.h5", "m.gguf"])
    ('model.safetensors',)
    >>> chosen_weights(["adapter_config.json", "adapter_model.bin", "non_lora_trainables.bin"])
    ('adapter_model.bin', 'non_lora_trainables.bin')
    >>> chosen_weights(["flax_model.msgpack", "mm_projector.bin", "training_args.bin"])
    ('mm_projector.bin',)
    """
    there = {name for name in names if "/" not in name}
    adapter = next((name for name in ADAPTER_NAMES if name in there), None)
    beside = tuple(name for name in (NON_LORA_NAME, PROJECTOR_NAME) if name in there)
    if adapter is not None:
        return (adapter, *beside)
    return SAFETENSORS.among(there) or PICKLED.among(there) or beside


def chosen_files(names: Iterable[str]) -> tuple[str, ...]:
    """The files to download of a repository's `names`, what is small before the weights.

    >>> chosen_files(["README.md", "model.safetensors", "original/x.json", "config.json"])
    ('config.json', 'model.safetensors')
    """
    there = sorted(name for name in names if "/" not in name)
    return (*(name for name in there if is_one_of(name, COMPANIONS)), *chosen_weights(there))
