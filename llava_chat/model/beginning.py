"""What a LLaVA begins as: a language model, a vision tower, and a projector that knows nothing.

The projector is written as stage 1 of the authors' code leaves a trained one, beside a config.json
that names the parts; so all that can put a trained projector on a language model takes this one
too. Imports the modules beside it, torch and errors.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from llava_chat.errors import CheckpointError
from llava_chat.model.file_names import CONFIG_NAME, PROJECTOR_NAME
from llava_chat.model.layouts.description import UnusableConfig
from llava_chat.model.layouts.original import is_original, original_fields
from llava_chat.model.layouts.towers import read_tower
from llava_chat.model.projector import ProjectorKind, build_projector
from llava_chat.model.sources import Search
from llava_chat.model.weight_files import read_json


@contextmanager
def new_projector(
    language_model: str, vision_tower: str, kind: ProjectorKind, search: Search, *, seed: int = 0
) -> Iterator[Path]:
    """A folder with a new projector between the two, to be put on the language model.

    language_model, vision_tower: a folder or a Hub id. kind: `linear` sees pictures as LLaVA v1,
    cropped (arXiv 2304.08485), `mlp2x_gelu` as LLaVA-1.5, padded (arXiv 2310.03744). Its weights
    are torch's own for new layers. Raises CheckpointError when a part is not here, or is none.
    """
    words = search.find(language_model).folder
    content = read_json(words / CONFIG_NAME)
    if is_original(content) or "vision_config" in content:
        raise CheckpointError(
            f"{language_model} has a projector already; a new one goes on a language model alone."
        )
    tower = search.find(vision_tower).folder
    try:
        fields = content | original_fields(content, str(tower.resolve()), kind)
    except UnusableConfig as error:
        raise CheckpointError(f"{words / CONFIG_NAME}: {error}") from error
    projector = _projector(
        kind, read_tower(tower).hidden_size, _width(words / CONFIG_NAME, content), seed
    )
    with tempfile.TemporaryDirectory(prefix="llava_chat-parts-") as name:
        folder = Path(name)
        (folder / CONFIG_NAME).write_text(json.dumps(fields, indent=2), encoding="utf-8")
        torch.save(
            {f"model.mm_projector.{place}": each for place, each in projector.items()},
            folder / PROJECTOR_NAME,
        )
        yield folder


def _width(config: Path, content: dict[str, object]) -> int:
    width = content.get("hidden_size")
    if not isinstance(width, int) or width < 1:
        raise CheckpointError(
            f"{config}: hidden_size of a language model must be above 0, not {width!r}."
        )
    return width


def _projector(
    kind: ProjectorKind, vision_dim: int, text_dim: int, seed: int
) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return build_projector(kind, vision_dim, text_dim).state_dict()
