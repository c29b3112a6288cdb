"""The key that signs sessions: a setting, or one that this server draws and keeps.

Imports settings and errors.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from llava_chat.errors import LlavaChatError
from llava_chat.settings import MIN_KEY_CHARS, Settings, flag, variables

KEY_BYTES = 32  # 256 bits, as a session's own token


def signing_key(settings: Settings) -> str:
    """The key that signs sessions: the setting, or one kept in the data folder.

    The file is created once, readable by its owner only, and complete from the moment it exists,
    so that processes that start together agree. Raises LlavaChatError when it cannot be kept, or
    is too short to be safe.
    """
    if settings.secret is not None:
        return settings.secret.get_secret_value()
    path = settings.data_dir / "signing-key"
    try:
        if not path.exists():
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            _create_once(path, secrets.token_urlsafe(KEY_BYTES))
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LlavaChatError(
            f"the signing key {path} cannot be kept ({error}); "
            f"choose a writable folder with {flag('data_dir')} or set {variables('secret')[0]}"
        ) from error
    if len(key) < MIN_KEY_CHARS:
        raise LlavaChatError(
            f"the signing key in {path} has {len(key)} characters, and needs {MIN_KEY_CHARS} or "
            f"more; delete the file to have a new one drawn, or set {variables('secret')[0]}"
        )
    return key


def _create_once(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".key-") as draft:
        draft.write(text)  # mkstemp made the file with mode 0600
        draft.flush()
        os.fsync(draft.fileno())  # or a power cut might leave the name and no key
        try:
            os.link(draft.name, path)
        except FileExistsError:
            return  # another process was first; its key holds
