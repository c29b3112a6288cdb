"""From the name of a model to the folder that holds it.

Nothing is downloaded unless a Hub id was given. Imports huggingface_hub, when one was, and errors.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from llava_chat.errors import CheckpointError

BUNDLED_NAME = "scenes"
BUNDLED_FOLDER = Path(__file__).resolve().parents[2] / "assets" / BUNDLED_NAME

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model")
_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True)
class Located:
    """A checkpoint's folder, the name to show for it, and what tells its versions apart."""

    folder: Path
    id: str
    revision: str


def locate(name: str, *, download: bool = True) -> Located:
    """Find `scenes`, a folder, or a Hub id, which is downloaded when `download` allows it.

    Raises CheckpointError when there is no such model.
    """
    if name == BUNDLED_NAME:
        if not BUNDLED_FOLDER.is_dir():
            raise CheckpointError(
                f"The bundled model is not in {BUNDLED_FOLDER}; make it with "
                "`python -m llava_chat train scenes`, or name another model."
            )
        return Located(BUNDLED_FOLDER, BUNDLED_NAME, fingerprint(BUNDLED_FOLDER))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Located(folder, folder.resolve().name, fingerprint(folder))
    if folder.exists():
        raise CheckpointError(f"{name} is a file; name the folder of the checkpoint.")
    if not _HUB_ID.fullmatch(name):
        raise CheckpointError(
            f"There is no folder {name}; name `{BUNDLED_NAME}`, a folder, or a Hub id such as "
            "llava-hf/llava-1.5-7b-hf."
        )
    snapshot = _snapshot(name, download)
    return Located(snapshot, name, snapshot.name)


def _snapshot(hub_id: str, download: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        patterns = list(_HUB_FILES)
        found = snapshot_download(hub_id, allow_patterns=patterns, local_files_only=not download)
    except (OSError, ValueError, RuntimeError) as error:  # HTTP errors are OSErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        how = "could not be downloaded" if download else "was not downloaded yet"
        raise CheckpointError(
            f"There is no folder {hub_id}, and the Hugging Face model of that name {how}: {reason}"
        ) from error
    return Path(found)


def fingerprint(folder: Path) -> str:
    """12 hex digits that change with the configuration or the weights in a folder.

    Of each weight file its size and a megabyte from its start, middle and end are hashed, so that
    a large model costs no minute: weights that were trained further differ everywhere.
    """
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        if not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as opened:
            for start in sorted({0, size // 2, max(size - _SAMPLE_BYTES, 0)}):
                opened.seek(start)
                digest.update(opened.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:12]
