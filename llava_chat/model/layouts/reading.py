"""From a folder to its description, whatever layout it has.

Imports the modules beside it, `weight_files` and errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llava_chat.errors import CheckpointError
from llava_chat.model.file_names import CONFIG_NAME
from llava_chat.model.layouts.description import (
    Description,
    UnusableConfig,
    check_buildable,
)
from llava_chat.model.layouts.hf import read_hf
from llava_chat.model.layouts.original import is_original, read_original
from llava_chat.model.layouts.towers import FindTower
from llava_chat.model.weight_files import one_line, read_json


def read_description(folder: Path, find_tower: FindTower) -> Description:
    """What the config.json in a folder says.

    find_tower: gives the folder of a vision tower that is named instead of described. Raises
    CheckpointError when there is no config.json, or it is of a model that cannot be run here.
    """
    path = folder / CONFIG_NAME
    content = read_json(path)
    _check_content(content, path)
    try:
        if is_original(content):
            description = read_original(content, find_tower)
        else:
            description = read_hf(content)
        check_buildable(description.config)
    except CheckpointError:  # of the tower, in a folder of its own
        raise
    except UnusableConfig as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # transformers checks types with exceptions of many kinds
        raise CheckpointError(f"{path} cannot be used: {one_line(error)}") from error
    return description


def _check_content(content: Mapping[str, Any], path: Path) -> None:
    parts = [content]
    for name in ("vision_config", "text_config"):
        part = content.get(name) or {}
        if not isinstance(part, dict):
            raise CheckpointError(f"vision_config and text_config in {path} must be objects.")
        parts.append(part)
    if any("auto_map" in part for part in parts):
        raise CheckpointError(f"{path} asks to run code of its own (auto_map); that is never done.")
    if any(part.get("quantization_config") for part in parts):
        raise CheckpointError(
            f"{path} is of quantised weights; use the model they were made of, with --quantize."
        )


def read_processor_settings(folder: Path) -> dict[str, Any]:
    """preprocessor_config.json, or the image processor in processor_config.json, or nothing.

    Raises CheckpointError when the file holds no JSON object.
    """
    if (folder / "preprocessor_config.json").is_file():
        return read_json(folder / "preprocessor_config.json")
    if (folder / "processor_config.json").is_file():
        nested = read_json(folder / "processor_config.json").get("image_processor", {})
        return nested if isinstance(nested, dict) else {}
    return {}
