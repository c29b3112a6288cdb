"""From any layout into another, and from several parts into one checkpoint.

Deltas are added to LLaMA, a LoRA adapter is merged, a tower and a projector of their own are taken
in. One weight is in memory at a time and keeps its number format, so that converting there and back
gives the same bits. Imports the modules beside it, torch, templates and errors.
"""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from llava_chat.errors import CheckpointError
from llava_chat.model.adapters import (
    Adapter,
    check_adapter,
    merged_weight,
)
from llava_chat.model.companions import write_companions
from llava_chat.model.layouts.description import Description
from llava_chat.model.layouts.names import HEAD, WORDS, Layout
from llava_chat.model.layouts.reading import read_processor_settings
from llava_chat.model.preprocessing import Preprocessing
from llava_chat.model.sources import (
    Headers,
    Search,
    Sources,
    find_sources,
    named_headers,
)
from llava_chat.model.template_choice import choose_template
from llava_chat.model.tokenizer_files import load_tokenizer, picture_token_id, without_tokens
from llava_chat.model.weight_files import (
    WeightHeader,
    read_weights,
    weight_files,
    write_weights,
)
from llava_chat.model.weights import as_stored, check_weights, empty_model, fold_projector
from llava_chat.progress import Report
from llava_chat.templates import has_picture_marks, template_named

MAX_SHARD_BYTES = 5_000_000_000  # as the Hub's own tools write

ROWS_FIELD = "vocabulary_rows"
"""In the field of our own: rows of the table of words before llava-hf's were added."""

_ROWS_MULTIPLE = 64  # llava-hf pads the table of words to it
_TABLES = (WORDS, HEAD)
_CPU = torch.device("cpu")
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class _Change:
    """What is done to the weights on their way.

    under: LLaMA's, to which the source is a delta. adapter: to be merged. rows: of the tables of
    words in what is written.
    """

    under: Headers
    adapter: Adapter | None
    rows: int


def convert(
    source: str,
    target: Path,
    layout: Layout,
    *,
    base: str | None = None,
    adapter: str | None = None,
    vision_tower: str | None = None,
    template: str | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    report: Report | None = None,
) -> None:
    """Write the checkpoint `source`, whole, into the new folder `target`.

    base: the LLaMA that `source` is a delta to. adapter: merged. Others as for load_checkpoint.
    Raises CheckpointError when a part is missing or does not fit, or the disk is too full.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise CheckpointError(f"{target} is there already; name a new folder.")
    if template is not None:
        template_named(template)
    search = Search(vision_tower, report=report)
    sources = find_sources(source, search, adapter=adapter, is_delta=base is not None)
    description, headers = sources.description, sources.headers()
    tokenizer = load_tokenizer(sources.folder, description)
    spoken = choose_template(description, tokenizer, sources.located.id, asked=template)
    written = _described(description, tokenizer, layout, spoken)
    change = _Change(
        {} if base is None else named_headers(weight_files(search.find(base).folder)),
        sources.lora,
        written.config.text.vocab_size,
    )
    _check(sources, headers, change, target)
    pixels = Preprocessing.read(read_processor_settings(sources.folder), description.config)
    with _new_folder(target) as folder:
        linear = description.config.projector == "linear"
        changed = _changed(headers, change, report)
        if linear and layout == "original":
            changed = _folded(changed)
        stored = (
            part for name, weight in changed for part in as_stored(name, weight, layout, linear)
        )
        write_weights(stored, folder, max_shard_bytes=max_shard_bytes)
        write_companions(
            folder,
            description=written,
            dtype=_most_common_dtype(headers),
            tokenizer=without_tokens(tokenizer, written) if layout == "original" else tokenizer,
            pixels=pixels,
        )


def _described(
    description: Description, tokenizer: PreTrainedTokenizerBase, layout: Layout, template: str
) -> Description:
    """The description of what is written. The tokenizer learns the picture's token for llava-hf.

    llava-hf wants a row for that token, which the authors' models have none for; on the way back
    the rows that were added are dropped.
    """
    config, own = description.config, dict(description.own) | {"template": template}
    rows, image_token_id = config.text.vocab_size, config.image_token_id
    if layout == "original":
        rows = own.pop(ROWS_FIELD, rows)
    elif not 0 <= image_token_id < rows:
        image_token_id = picture_token_id(tokenizer)
        if image_token_id >= rows:
            own[ROWS_FIELD] = rows
            rows = -(-(image_token_id + 1) // _ROWS_MULTIPLE) * _ROWS_MULTIPLE
    text = copy.deepcopy(config.text)
    text.vocab_size = rows
    return replace(
        description,
        layout=layout,
        config=replace(config, text=text, image_token_id=image_token_id),
        own=own,
        picture_marks=description.picture_marks or has_picture_marks(template),
    )


def _check(sources: Sources, headers: Headers, change: _Change, target: Path) -> None:
    """Raise CheckpointError for what would fail after minutes of writing."""
    model = empty_model(sources.description.config, headers)
    check_weights(model, headers, sources)
    if change.adapter is not None:
        check_adapter(change.adapter, model)
    if change.under:
        _check_delta(headers, change.under, sources)
    needed = sum(header.stored_bytes for header in headers.values())
    free = shutil.disk_usage(_existing(target)).free
    if needed > free:
        raise CheckpointError(
            f"{target} needs {needed / 1e9:.1f} GB and its disk has {free / 1e9:.1f} GB left; "
            "choose another disk."
        )


def _check_delta(delta: Headers, under: Headers, sources: Sources) -> None:
    """Raise CheckpointError unless every weight of the language model has what it is added to."""
    words = {name: each for name, each in delta.items() if name.startswith("language_model.")}
    for name, each in {**words, **under}.items():
        if name in words and name in under and _addable(name, words[name].shape, under[name].shape):
            continue
        folder = next(iter(under.values())).file.parent
        raise CheckpointError(
            f"{folder} is not what {sources.located.id} is a delta to: they differ in {each.name}."
        )


def _addable(name: str, delta: tuple[int, ...], under: tuple[int, ...]) -> bool:
    grown = name in _TABLES and delta[1:] == under[1:] and delta[0] > under[0]
    return delta == under or grown


def _existing(path: Path) -> Path:
    return next(each for each in path.absolute().parents if each.is_dir())


def _changed(
    headers: Headers, change: _Change, report: Report | None
) -> Iterator[tuple[str, Tensor]]:
    """(name in LlavaModel, weight as it is to be written), one at a time."""
    lora = {} if change.adapter is None else change.adapter.read(torch.float32)
    for name, weight in read_weights(headers, device=_CPU, dtype=None, report=report):
        if name in change.under:
            weight = _added(weight, change.under[name])
        module = name.removesuffix(".weight")
        if change.adapter is not None and (module, "lora_A") in lora:
            weight = merged_weight(weight, change.adapter, module, lora)
        yield name, _with_rows(weight, change.rows) if name in _TABLES else weight


def _added(delta: Tensor, header: WeightHeader) -> Tensor:
    """Delta + LLaMA's weight; where the delta has more rows, only on those that both have
    (haotian-liu/LLaVA, llava/model/apply_delta.py).
    """
    ((_, under),) = read_weights({"": header}, device=_CPU, dtype=delta.dtype)
    added = delta.clone()
    added[: under.shape[0]] += under
    return added


def _with_rows(table: Tensor, rows: int) -> Tensor:
    """A table of words with rows cut or added. Those added are the mean of the others: so their
    logit is the mean of all, and no reply holds them.
    """
    more = rows - table.shape[0]
    if more <= 0:
        return table[:rows].contiguous()
    mean = table.float().mean(dim=0, keepdim=True).to(table.dtype)
    return torch.cat([table, mean.expand(more, -1)])


def _folded(weights: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """The two layers of llava-hf's linear projector as one again, after everything else."""
    projector: dict[str, Tensor] = {}
    for name, weight in weights:
        if name.startswith("projector."):
            projector[name] = weight
        else:
            yield name, weight
    fold_projector(projector)
    yield from projector.items()


def _most_common_dtype(headers: Mapping[str, WeightHeader]) -> str:
    counted = Counter[str]()
    for header in headers.values():
        counted[header.number_format] += header.count
    return _DTYPES[counted.most_common(1)[0][0]]


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder that becomes `target` when all went well, and is gone otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as name:
        folder = Path(name) / "whole"
        folder.mkdir()
        yield folder
        if target.is_dir():
            target.rmdir()
        os.replace(folder, target)
